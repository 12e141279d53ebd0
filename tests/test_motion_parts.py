"""Parts and mixes of videos whose plane moves, in memory, as files, and by the commands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from garv_gsplat import GarvFile, Region, VideoDecoder, VideoGaussians, save
from garv_gsplat.cli import main
from garv_gsplat.codec import encode
from garv_gsplat.gaussians import standard_deviations
from garv_gsplat.mixing import mix_files
from garv_gsplat.motion import magnification
from garv_gsplat.regions import mix, pull_in, spread_of, weights_in
from garv_gsplat.volume import Box
from tests.motion_truth import INFO, frame_of, in_plane, moving, panning, still_at
from tests.test_motion import ERROR, close


@pytest.fixture(scope="module")
def gaussians() -> VideoGaussians:
    return moving()


@pytest.fixture(scope="module")
def decoder(gaussians) -> VideoDecoder:
    return VideoDecoder(gaussians, device="cpu", dimension_order="NHWC")


# Parts and mixes


def test_a_cropped_decoder_shows_the_part(gaussians, decoder):
    part = decoder.cropped(Box.from_pixels(INFO, 30, 11, 40, 33, 2, 6))
    assert len(part) == 4 and part.metadata.width == 40
    for k in range(4):
        assert close(part[k], frame_of(gaussians, k + 2)[11:44, 30:70])
    coded = encode(pull_in(part._views.source.source), step=1e-3)
    stored = VideoDecoder(coded, device="cpu", dimension_order="NHWC")
    assert close(stored[1], frame_of(gaussians, 3)[11:44, 30:70], 2 * ERROR)


def test_mixes_follow_the_frames(gaussians):
    low = replace(moving(seed=1), info=gaussians.info)
    region = Region([Box.from_pixels(INFO, 30, 16, 24, 24)])
    mixed = mix(gaussians, low, region, feather=1.0)
    for k in (1, 6):
        inside, outside = frame_of(gaussians, k), frame_of(low, k)
        shown = frame_of(mixed, k)
        near_high = (shown - inside)[24:32, 38:46].abs().mean()
        assert near_high < 0.3 * (shown - outside)[24:32, 38:46].abs().mean()
    with pytest.raises(ValueError, match="fitted with other motion"):
        mix(gaussians, replace(low, info=INFO), region)


def test_maps_are_where_gaussians_are(gaussians, device):
    there = gaussians.to(device)
    assert there.maps is there.maps and there.maps.device == there.means.device
    tensors = (gaussians.means, gaussians.cholesky, gaussians.colors)
    double = VideoGaussians(*(t.double() for t in tensors), gaussians.info)
    assert torch.equal(double.maps, torch.tensor(gaussians.info.motion, dtype=torch.float64))
    assert torch.equal(there.maps.cpu(), double.maps.float()) and still_at(gaussians, 3).maps is None


@pytest.mark.parametrize("scale", [(0.5, 0.5), (0.25, 0.4)])
def test_sizes_do_not_depend_on_the_plane(gaussians, decoder, scale):
    other = VideoDecoder(in_plane(gaussians, scale), device="cpu", dimension_order="NHWC")
    for size in ((96, 64), (48, 32), (24, 40), (8, 8)):
        found, wanted = (each.get_frame_at(3, size=size, dtype=torch.float32).data for each in (other, decoder))
        assert close(found, wanted.double(), 0.4 / 255), size


def test_what_is_seen_is_measured(gaussians):
    still = still_at(gaussians, 3)
    still = VideoGaussians(*(t.float() for t in (still.means, still.cholesky, still.colors)), still.info)
    region, other = Region([Box(x0=0.4, x1=0.5, t1=0.7)]), in_plane(still, (0.3, 0.6))
    assert torch.allclose(spread_of(other), spread_of(still), rtol=1e-4)
    found, wanted = (weights_in(region, each, spread_of(still), 1.5) for each in (other, still))
    assert torch.allclose(found, wanted, atol=1e-3) and ((wanted > 0) & (wanted < 1)).float().mean() > 0.02
    # and through a map that turns: those who live shortly, as what they see at their mean time
    short = replace(gaussians, cholesky=gaussians.cholesky * torch.tensor([1e-3, 1e-3, 1e-3, 1, 1, 1]))
    at_three = replace(short, means=torch.cat([short.means[:, :2], torch.full((400, 1), 3.5 / 8)], 1))
    wanted = standard_deviations(still_at(at_three, 3).cholesky).log().mean(0).exp().float()
    assert torch.allclose(spread_of(at_three)[:2], wanted[:2], rtol=1e-3)


@pytest.mark.parametrize("way", [0.5, 1.5])
def test_a_part_of_a_long_pan_can_be_stored(way):
    gaussians = panning(way)
    decoder = VideoDecoder(gaussians, device="cpu", dimension_order="NHWC")
    part = decoder.cropped(Box.from_pixels(INFO, 40, 20, 24, 20))._views.source.source
    held = pull_in(part)
    assert ((held.means > -1) & (held.means < 2)).all() and not ((part.means > -1) & (part.means < 2)).all()
    assert magnification(held.info) > magnification(part.info) == 1
    stored = VideoDecoder(encode(held, step=1e-3), device="cpu", dimension_order="NHWC")
    for k in (0, 4, 7):
        assert close(stored[k], frame_of(gaussians, k)[20:40, 40:64], 1.5 * ERROR)


# Files and commands


def test_files_of_one_plane_are_mixed_and_others_not(gaussians):
    low = replace(moving(seed=1), info=gaussians.info)
    region = Region([Box.from_pixels(INFO, 30, 16, 24, 24)])
    files = [GarvFile(encode(each)) for each in (gaussians, low, replace(low, info=INFO))]
    assert GarvFile(mix_files(files[:2], [region]).data).info == files[0].info
    with pytest.raises(ValueError, match="fitted with other motion"):
        mix_files(files[::2], [region])


@pytest.fixture(scope="module")
def file(gaussians, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("moving") / "v.garv"
    save(path, encode(gaussians, step=1e-3))
    return path


def run(*arguments: object) -> None:
    assert main([str(a) for a in arguments]) == 0


def test_commands_show_parts(gaussians, file, tmp_path):
    part = ("--crop", 30, 11, 40, 32, "--size", 20, 16, "--frames", 2, 4, "--fps", 50, "--device", "cpu")
    run("decode", file, "--output", tmp_path / "frames", *part)
    images = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "frames").iterdir())]
    box = Box.from_pixels(INFO, 30, 11, 40, 32)
    assert len(images) == 4
    for image, frame in zip(images, (2, 2.5, 3, 3.5)):
        assert close(torch.tensor(image), frame_of(gaussians, frame, crop=box, size=(20, 16)), 1.5 * ERROR)
    run("scan", file, "--output", tmp_path / "row.png", "--at", 20, "--device", "cpu")
    row = torch.tensor(np.asarray(Image.open(tmp_path / "row.png")))
    assert close(row, torch.stack([frame_of(gaussians, k)[20] for k in range(8)]), 1.5 * ERROR)


def test_commands_cut_and_mix(gaussians, file, tmp_path):
    run("crop", file, tmp_path / "cut.garv", "--crop", 30, 11, 40, 33, "--frames", 2, 6)
    cut = VideoDecoder(tmp_path / "cut.garv", device="cpu", dimension_order="NHWC")
    error = torch.stack([cut[k] / 255 - frame_of(gaussians, k + 2)[11:44, 30:70] for k in range(4)])
    assert len(cut) == 4 and -10 * error.square().mean().log10() > 38
    run("truncate", file, tmp_path / "small.garv", "--size", GarvFile(file).size // 2)
    run("foveate", file, tmp_path / "small.garv", "--output", tmp_path / "mixed.garv", "--roi", 30, 16, 24, 24)
    mixed, small = (
        VideoDecoder(tmp_path / f"{name}.garv", device="cpu", dimension_order="NHWC") for name in ("mixed", "small")
    )
    wanted = frame_of(gaussians, 6)[24:32, 38:46]
    errors = [(each[6][24:32, 38:46] / 255 - wanted).abs().mean() for each in (mixed, small)]
    assert mixed.metadata.motion == gaussians.info.motion and errors[0] < 0.3 * errors[1]
