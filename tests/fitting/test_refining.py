"""Smaller files of larger ones, fitted to what the larger one shows."""

from __future__ import annotations

import pytest
import torch

from garv_gsplat import codec
from garv_gsplat.cli import main
from garv_gsplat.fitting import FitConfig, fit, refine
from garv_gsplat.metrics import psnr
from garv_gsplat.rendering import rasterization
from garv_gsplat.volume import VideoInfo
from tests.codec.samples import fitted_like
from tests.media import pattern

FRAMES = torch.as_tensor(pattern(8, 96, 64, seed=0))


@pytest.fixture(scope="module")
def data() -> bytes:
    return fit(FRAMES, FitConfig(bpp=2.0, batch_frames=4), steps=60, device="cpu").data


def quality(data: bytes) -> float:
    gaussians = codec.load(data)
    images = rasterization(gaussians, gaussians.info.frame_centers())
    return psnr((images.clamp(0, 1) * 255 + 0.5).to(torch.uint8), FRAMES)


def test_it_is_much_nearer_to_the_video_than_a_truncated_one(data, device):
    file, size = codec.GarvFile(data), len(data) // 2
    refined = refine(file, size, 40, device=device)
    assert 0.98 * size < len(refined.data) <= size
    assert refined.steps == 40 and refined.gaussians.info == file.info
    assert quality(refined.data) > quality(codec.truncate(file, size)) + 3  # 6 dB on clips, after more steps


def test_a_fit_goes_on_from_where_it_starts():
    config = FitConfig(num_gaussians=300, relocations=0, batch_frames=4)
    whole = fit(FRAMES, config, steps=60, device="cpu")
    after, anew = (fit(FRAMES, config, start=s, steps=1, device="cpu") for s in (whole.gaussians, None))
    assert quality(after.data) > quality(anew.data) + 2


def test_a_start_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"start must be of the video's .*, \(96, 64, 8, 3\), got \(64, 48, 16, 3\)"):
        fit(FRAMES, start=fitted_like(10, VideoInfo(64, 48, 16)), steps=1, device="cpu")


def test_the_command_keeps_sound_and_size(data, tmp_path, capsys):
    path, smaller = tmp_path / "a.garv", tmp_path / "b.garv"
    codec.save(path, codec.with_tracks(data, bytes(30_000)))
    arguments = ["truncate", str(path), str(smaller), "--size", "6kB", "--refine", "4", "--device", "cpu"]
    assert main(arguments) == 0
    made = codec.GarvFile(smaller)
    assert made.tracks() == bytes(30_000) and 5_850 < made.picture_bytes <= 6_024  # 24: the entry of the sound
    assert capsys.readouterr().out.startswith(f"{smaller}: {made.size:,} bytes of ")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--refine", "0"], "--refine must be at least 1 step, got 0"),
        (["--refine", "2", "--device", "tpu"], "--device must be cpu, cuda or cuda:N"),
    ],
)
def test_bad_arguments_are_one_line(data, tmp_path, capsys, more, message):
    codec.save(tmp_path / "a.garv", data)
    assert main(["truncate", str(tmp_path / "a.garv"), str(tmp_path / "b.garv"), "--size", "8kB", *more]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "b.garv").exists()
