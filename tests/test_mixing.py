"""Two encodings mixed by region: what is drawn where, in memory and in files, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from unittest import mock

import numpy as np
import pytest
import torch

from garv_gsplat import GarvFile, Region, VideoGaussians, VideoInfo, load, mix, mix_files, rasterization, switch_files
from garv_gsplat.codec import encode, mixing, partition, truncate
from garv_gsplat.gaussians import join
from garv_gsplat.metrics import psnr
from garv_gsplat.regions import spread_of, weights_in
from garv_gsplat.seams import mixed_colors
from garv_gsplat.volume import Box

INFO = VideoInfo(256, 144, 64, 16)
BOX = Box.from_pixels(INFO, 96, 48, 64, 48)
REGION = Region([BOX])
TAU = 1e-3  # grey levels; half of a Gaussian falls below the usual one sooner


def grid(spacing: float, seed: int, info: VideoInfo = INFO) -> VideoGaussians:
    """Gaussians that cover a video evenly, as wide as they are apart, in random greys."""
    axes = [torch.arange(spacing / 2, n, spacing) for n in (info.width, info.height, info.frames)]
    means = torch.cartesian_prod(*axes)
    random = torch.Generator().manual_seed(seed)
    colors = 0.06 * torch.rand(len(means), 1, generator=random).expand(-1, info.channels)
    sigma = torch.tensor([1.0, 0, 0, 1, 0, 1]).expand(len(means), 6) * spacing / 2
    return VideoGaussians.from_pixels(means, sigma, colors.contiguous(), info)


@pytest.fixture(scope="module")
def encodings() -> tuple[VideoGaussians, VideoGaussians]:
    return grid(8, 0), grid(12, 1)


@pytest.fixture(scope="module")
def files(encodings) -> list[GarvFile]:
    """With chunks of 16 frames."""
    with mock.patch.object(partition, "SMALLEST", 300):
        return [GarvFile(encode(gaussians, step=0.02, tracks=b"sound")) for gaussians in encodings]


def frames(gaussians: VideoGaussians) -> torch.Tensor:
    """Every fourth frame [16, H, W, C]."""
    return rasterization(gaussians, INFO.frame_centers()[::4], tau=TAU).clamp(0, 1)


def rows(gaussians: VideoGaussians) -> set[tuple[float, ...]]:
    return {tuple(row) for row in torch.cat([gaussians.means, gaussians.colors], 1).tolist()}


# In memory


def test_inside_is_high_and_far_outside_is_low(encodings):
    high, low = map(frames, encodings)
    mixed, mask = frames(mix(*encodings, REGION)), REGION.mask(INFO)[::4]
    # Of what is weighted down, the nearest is 3.5 standard deviations away, where a Gaussian has exp(-6) of its peak.
    assert (mixed - high)[mask].abs().max() < 1e-3 < (low - high)[mask].abs().max()
    assert torch.equal(mixed[:, :, :32], low[:, :, :32])


def test_the_seam_is_smooth(encodings):
    """In the band both encodings are seen, neither twice: of two that are alike nothing but themselves."""
    high = encodings[0]
    other = replace(high, means=high.means.clone())
    assert torch.allclose(
        frames(mix(high, other, REGION)), frames(high), atol=5e-5
    )  # what TAU leaves out of a few dozen halves


def test_a_wider_feather_takes_more_of_both(encodings):
    high, low = encodings
    counts = [len(mix(high, low, REGION, feather)) for feather in (0.5, 2.0, 4.0)]
    assert len(high) * 0.1 < counts[0] < counts[1] < counts[2] < len(high) + len(low)


def test_what_passes_through_belongs_to_the_region():
    """Its mean is far from the region, but a standard deviation later it is there."""
    x, cholesky = 0.1, torch.tensor([[0.3, 0.4, 0.0, 0.01, 0.0, 0.01]])
    passing = VideoGaussians(torch.tensor([[x, 0.5, 0.5]]), cholesky, torch.ones(1, 3), INFO)
    spread = torch.full((3,), 0.01)
    assert weights_in(REGION, passing, spread) == 1
    assert weights_in(REGION, replace(passing, cholesky=cholesky * torch.tensor([1, 0, 0, 1, 0, 1])), spread) == 0


def test_distances_have_the_unit_of_high(encodings):
    assert torch.allclose(spread_of(encodings[0]) * torch.tensor([256, 144, 64]), torch.tensor(4.0))


def test_on_any_device(encodings, device):
    high, low = (gaussians.to(device) for gaussians in encodings)
    mixed = mix(high, low, REGION)
    assert mixed.means.device.type == device.type
    assert torch.allclose(frames(mixed).cpu(), frames(mix(*encodings, REGION)), atol=1e-4)


# Regions


def test_masks_are_the_boxes_they_show():
    mask = REGION.mask(INFO)
    assert mask.sum() == 64 * 48 * 64 and mask[0, 48, 96] and not mask[0, 47, 96]
    assert torch.equal(Region.from_mask(mask).mask(INFO), mask)
    random = torch.rand(3, 7, 11, generator=torch.Generator().manual_seed(0)) > 0.5
    assert torch.equal(Region.from_mask(random).mask(VideoInfo(11, 7, 3)), random)
    coarse = np.zeros((2, 4), bool)
    coarse[1, 2] = True
    assert Region.from_mask(coarse).boxes == (Box(x0=0.5, y0=0.5, x1=0.75, y1=1.0),)


def test_moving():
    region = Region.moving(INFO, [(1.0, (0, 0, 64, 48)), (2.0, (160, 80, 64, 48))])
    mask = region.mask(INFO)
    corners = [mask[k].nonzero()[0].tolist() for k in (0, 16, 24, 32, 63)]
    assert corners == [[0, 0], [0, 0], [40, 80], [80, 160], [80, 160]]
    assert len(region.boxes) == 17, "frames at rest are one box"


def test_random_gaze():
    region = Region.random(INFO, 0.04, hold=1.0, seed=3)
    mask = region.mask(INFO)
    assert region == Region.random(INFO, 0.04, hold=1.0, seed=3) != Region.random(INFO, 0.04, hold=1.0, seed=4)
    assert torch.allclose(mask.float().mean((1, 2)), torch.tensor(0.04), rtol=0.05)  # sides of whole pixels
    assert len(region.boxes) == 4


def test_what_touches_an_end_goes_on():
    region = Region([Box(x0=0.5, x1=0.6), Box(y0=0.9)])
    means = torch.tensor([[0.5, 0.5, 3.0], [0.3, 0.5, 0.5], [0.7, 0.8, 0.0], [0.0, 1.2, 0.0]])
    points = VideoGaussians(means, torch.full((4, 6), 1e-9), torch.ones(4, 3), INFO)
    distances = torch.tensor([0.0, 2.0, 0.5, 0.0])
    weights = weights_in(region, points, torch.tensor([0.1, 0.2, 1]), feather=1.5)
    assert torch.allclose(weights, (2 - distances / 1.5).clamp(0, 1))


def test_boxes_are_columns_in_the_order_of_their_starts():
    region = Region([Box(t0=0.5), Box(t0=0.25, t1=0.75, x1=0.5), Box(t1=0.5), Box(t0=0.75, t1=0.875)])
    assert region.columns[2].tolist() == [-torch.inf, 0.25, 0.5, 0.75]
    assert region.columns[5].tolist() == [0.5, 0.75, torch.inf, 0.875]
    assert region.columns[6].tolist() == [0.5, 0.75, torch.inf, torch.inf]
    assert region.columns[3].tolist() == [torch.inf, 0.5, torch.inf, torch.inf]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Region([]), "a region must hold some of the video, got no box"),
        (lambda: Region.from_mask(torch.zeros(2, 2)), "got no box"),
        (lambda: Region.from_mask(torch.zeros(2)), r"mask must be \[T, H, W\] or \[H, W\], got \[2\]"),
        (lambda: Region.moving(INFO, []), "the times of a moving region must rise"),
        (lambda: Region.moving(INFO, [(1, (0, 0, 1, 1)), (1, (0, 0, 1, 1))]), r"got \[1.0, 1.0\]"),
        (lambda: Region.moving(INFO, [(0, (300, 0, 5, 5))]), "got no box"),
        (lambda: Region.of_frames(INFO, [(0, 0, 1, 1)]), r"windows must be one a frame \(64\), got 1"),
    ],
)
def test_regions_that_are_none(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Files


@pytest.mark.parametrize("codec", ["rans", "paper16-8-8"])
def test_a_file_holds_the_mix(encodings, codec):
    files = [GarvFile(encode(gaussians, codec)) for gaussians in encodings]
    made = load(mix_files(files, [REGION]).data)
    parts = [file.read() for file in files]
    colors = mixed_colors(parts, [partial(weights_in, REGION, spread=spread_of(parts[0]))])
    wanted = join([replace(part, colors=each) for part, each in zip(parts, colors)])
    assert psnr(frames(made), frames(wanted)) > 45  # colours are rounded once more
    assert {row[:3] for row in rows(made)} <= {row[:3] for row in rows(wanted)}, "means are as they were"


def test_chunks_wholly_on_one_side_are_copied(files):
    """A region in time: the chunks of 16 frames that it leaves untouched are low's, byte for byte."""
    high, low = files
    made = mix_files(files, [Region([Box(t1=0.1)])])
    mixed = GarvFile(made.data)
    assert made.copied_chunks[1] > 0
    coded = {stream.crc: chunk.reach for chunk in low.chunks for stream in chunk.streams if stream.count}
    same = [chunk for chunk in mixed.chunks if any(s.crc in coded for s in chunk.streams)]
    assert len(same) == made.copied_chunks[1] and {c.reach for c in same} <= set(coded.values())
    assert len(mix_files(files, [Region([Box()])]).data) - len(high.source.read(0, high.size)) < 0
    assert rows(load(mix_files(files, [Region([Box()])]).data)) == rows(high.read())


def error(image: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((image - wanted).square().mean())


@pytest.mark.parametrize("moves", [False, True])
def test_seams_are_closed(moves):
    """Beyond the band low's picture is much nearer than by weights alone, and within the region it is still high's."""
    maps = tuple((1.0, 0.02, -0.01, 1.0, 0.002 * k, -0.001 * k) for k in range(INFO.frames)) if moves else None
    info = replace(INFO, motion=maps)
    files = [GarvFile(encode(grid(*each, info), step=0.02)) for each in ((8, 0), (20, 1))]
    parts = [file.read() for file in files]
    high, low, weighted = map(frames, (*parts, mix(*parts, REGION)))
    made = mix_files(files, [REGION], device="cpu").data
    mixed, mask = frames(load(made)), REGION.mask(INFO)[::4]
    far = ~Region([Box.from_pixels(INFO, 68, 20, 120, 104)]).mask(INFO)[::4]
    assert error(mixed[far], low[far]) < 0.2 * error(weighted[far], low[far])
    assert error(mixed[mask], high[mask]) < 1e-3 * error(low[mask], high[mask])
    assert len(made) < 1.03 * sum(file.size for file in files)
    assert mix_files(files, [REGION], device="cpu").data == made


def test_encodings_of_the_same_gaussians_have_no_seam():
    """What a file leaves out of another's Gaussians is drawn in the region, and low's stay as they are."""
    high = GarvFile(encode(grid(8, 0), step=0.02))
    low = truncate(high, high.size // 2)
    parts = [file.read() for file in (high, GarvFile(low))]
    windows = [partial(weights_in, REGION, spread=spread_of(parts[0]))]
    colors = mixed_colors(parts, windows)
    assert torch.equal(colors[0], parts[0].colors * windows[0](parts[0])[:, None])
    assert torch.equal(colors[1], parts[1].colors * (1 - windows[0](parts[1]))[:, None])


def test_switching(files, encodings):
    high, low = files
    made = GarvFile(switch_files([(0, low), (2, high)], 0.5, tracks=b"sound").data)
    assert made.tracks() == b"sound" and made.info == INFO
    drawn, (fine, coarse) = frames(made.read()), map(frames, (file.read() for file in files))
    assert torch.allclose(drawn[-4:], fine[-4:], atol=1e-3)  # tails of Gaussians that are weighted down
    assert torch.allclose(drawn[0], coarse[0], atol=1e-3)
    assert switch_files([(0, low), (1, low)]).files == (low,)
    assert rows(load(switch_files([(0, low)]).data)) == rows(low.read())


def three(files: list[GarvFile]) -> list[GarvFile]:
    return [GarvFile(encode(grid(16, 2))), *files]


def test_three_files(files):
    given = three(files)
    made = switch_files(list(zip((0, 1.5, 3), given)), 0.5)
    assert made.files == (given[1], given[2], given[0]), "the largest first"
    image, alone = frames(load(made.data)), [frames(file.read()) for file in given]
    for index, shown in ((1, 0), (9, 1), (15, 2)):
        errors = [float((image[index] - each[index]).square().mean()) for each in alone]
        assert min(errors) == errors[shown] < 0.5 * sorted(errors)[1]


def test_more_models_than_a_file_holds(files):
    message = "a file holds 2 models, this one would need [3-6]; mix fewer files"
    with mock.patch.object(mixing, "MAX_MODELS", 2), pytest.raises(ValueError, match=message):
        switch_files(list(zip((0, 1.5, 3), three(files))), 0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": 32}, "alike in size and timing; got 256x144 of 3 channels, 64 frames at 16 fps and 256x144"),
        ({"width": 255}, "got 256x144 of 3 channels, 64 frames at 16 fps and 255x144"),
        ({"frame_rate": 30}, "64 frames at 30 fps"),
    ],
)
def test_other_videos_are_refused(encodings, files, change, message):
    other = replace(encodings[1], info=replace(INFO, **change))
    with pytest.raises(ValueError, match=message):
        mix(encodings[0], other, REGION)
    with pytest.raises(ValueError, match=message):
        mix_files([files[0], GarvFile(encode(other))], [REGION])


def test_what_cannot_be_mixed(encodings, files):
    with pytest.raises(ValueError, match="files of one codec can be mixed; bytes is rans and bytes is paper16-8-8"):
        mix_files([files[0], GarvFile(encode(encodings[1], "paper16-8-8"))], [REGION])
    with pytest.raises(ValueError, match="2 files need 1 regions"):
        mix_files(files, [])
    with pytest.raises(ValueError, match="feather must be a positive number of standard deviations, got 0"):
        mix(*encodings, REGION, 0)
    with pytest.raises(ValueError, match="switches must rise from 0 seconds on, got 1"):
        switch_files([(1, files[0])])
    with pytest.raises(ValueError, match="the last switch is at 4 s, but the video ends at 4 s"):
        switch_files([(0, files[0]), (4, files[1])])


def test_parts_are_joined_in_turn(encodings):
    joined = join(encodings)
    assert torch.equal(joined.means[-1], encodings[1].means[-1]) and len(joined) == sum(map(len, encodings))
