"""What the decoder's calls take and give beside frame numbers: times, fractions, crops, sizes, types."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from garv_gsplat import views
from garv_gsplat.decoder import VideoDecoder
from garv_gsplat.frame import Frame
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.rendering import rasterization
from garv_gsplat.volume import Box, VideoInfo
from tests.codec.samples import fitted_like

INFO = VideoInfo(60, 36, 9, Fraction(30000, 1001))
VARIABLE = VideoInfo(8, 6, 4, Fraction(25), (Fraction(0), Fraction(1, 30), Fraction(2, 25), Fraction(1, 3)))
GAUSSIANS = fitted_like(200, INFO)
# Records are of half precision (2^-11 of colours up to 1, a few of which overlap), and wide Gaussians are interpolated.
CLOSE = 0.4 / 255


@pytest.fixture(scope="module")
def decoder() -> VideoDecoder:
    return VideoDecoder(GAUSSIANS, device="cpu", tau=0)


def rendered(times: list[float], **arguments) -> torch.Tensor:
    """[B, 3, H, W] by rasterization at times in frames."""
    images = rasterization(GAUSSIANS, [(t + 0.5) / INFO.frames for t in times], tau=0, **arguments)
    return images.clamp(0, 1).permute(0, 3, 1, 2)


def test_frames_have_their_times(decoder):
    batch = decoder.get_frames_at([3, 7.5])
    rate = float(INFO.frame_rate)
    assert batch.pts_seconds.tolist() == pytest.approx([3 / rate, 7.5 / rate], rel=1e-15)
    assert batch.duration_seconds.tolist() == pytest.approx([1 / rate] * 2, rel=1e-15)
    frame = decoder.get_frame_at(-1)
    data, pts, duration = frame
    assert isinstance(frame, Frame) and isinstance(pts, float) and isinstance(duration, float)
    assert torch.equal(data, decoder[8]) and pts == pytest.approx(8 / rate)
    assert "data=[3, 36, 60] torch.uint8, pts_seconds=0.26" in repr(frame)
    assert len(batch) == 2 and torch.equal(batch[1].data, batch.data[1])
    assert [one.pts_seconds for one in batch] == batch.pts_seconds.tolist()


def test_frames_between_frames(decoder):
    batch = decoder.get_frames_at([1.5, 0.25, 4], dtype=torch.float32)
    torch.testing.assert_close(batch.data, rendered([1.5, 0.25, 4]), rtol=0, atol=CLOSE)
    assert torch.equal(decoder.get_frame_at(2.0).data, decoder[2])
    assert torch.equal(decoder.get_frame_at(-1.5).data, decoder.get_frame_at(7.5).data)
    for number in (8.5, -0.5, -9.5, float("nan")):
        with pytest.raises(IndexError, match=f"frame {number} does not exist: the video has 9 frames, 0 to 8, or -9"):
            decoder.get_frame_at(number)


@pytest.mark.parametrize("info", [INFO, VARIABLE])
def test_the_frame_of_every_moment(info):
    decoder = VideoDecoder(fitted_like(20, info), device="cpu")
    pts = decoder.get_frames_in_range(0, info.frames).pts_seconds
    for k, start in enumerate(pts.tolist()):
        assert decoder.get_frame_played_at(start).pts_seconds == start
        later = start + 0.99 * float(info.frame_duration(k))
        assert torch.equal(decoder.get_frame_played_at(later).data, decoder[k])
    assert torch.equal(decoder.get_frames_played_at(pts[[2, 0]]).data, decoder[:][[2, 0]])
    shown = decoder.get_frames_played_in_range(float(pts[1]), float(pts[3]))
    assert shown.pts_seconds.tolist() == pts[1:3].tolist()
    assert len(decoder.get_frames_played_in_range(0, float(info.duration))) == info.frames
    assert len(decoder.get_frames_played_in_range(0.01, 0.01)) == 0


def test_any_frame_rate(decoder):
    end = float(INFO.duration)
    twice = decoder.get_frames_played_in_range(0, end, fps=2 * float(INFO.frame_rate))
    assert torch.equal(twice.data[::2], decoder[:])
    assert torch.equal(twice.data[1], decoder.get_frame_at(0.5).data)
    assert torch.equal(twice.data[-1], decoder[8]), "the last frame stays"
    assert INFO.frames_between(0.1, 0.2, 20) == pytest.approx([0.1 * INFO.frame_rate, 0.15 * INFO.frame_rate])
    assert VARIABLE.frames_between(0, 0.34, 50)[4] == pytest.approx(2)
    with pytest.raises(ValueError, match="fps must be a positive number of frames per second, got 0"):
        decoder.get_frames_played_in_range(0, end, fps=0)


@pytest.mark.parametrize("seconds", [-0.1, 0.3003, float("nan")])
def test_a_moment_outside_names_the_valid_ones(decoder, seconds):
    with pytest.raises(ValueError, match=f"no frame is shown at {seconds} s: the video takes from 0 to 0.3003 s"):
        decoder.get_frame_played_at(seconds)
    with pytest.raises(ValueError, match="no frame is shown"):
        decoder.get_frames_played_at([0.1, seconds])
    with pytest.raises(ValueError, match=f"no frames are shown from 0.2 to {seconds + 0.001} s: the video takes"):
        decoder.get_frames_played_in_range(0.2, seconds + 0.001)


def test_a_crop_is_the_crop_of_the_frame(decoder):
    whole = decoder.get_frames_at([0, 5], dtype=torch.float32).data
    crop = decoder.get_frames_at([0, 5], crop=(11, 7, 40, 29), dtype=torch.float32).data
    torch.testing.assert_close(crop, whole[..., 7:36, 11:51], rtol=0, atol=1e-5)  # sums in another order
    one = decoder.get_frame_at(5, crop=(59, 35, 1, 1))
    assert one.data.shape == (3, 1, 1)


@pytest.mark.parametrize("size", [(60, 36), (120, 72), (30, 18), (17, 50), (7, 3), (1, 1)])
@pytest.mark.parametrize("crop", [None, (7, 5, 44, 20)])
def test_any_size(decoder, crop, size):
    drawn = decoder.get_frames_at([2, 6.5], crop=crop, size=size, dtype=torch.float32).data
    box = None if crop is None else Box.from_pixels(INFO, *crop)
    torch.testing.assert_close(drawn, rendered([2, 6.5], crop=box, size=size), rtol=0, atol=CLOSE)


@pytest.mark.parametrize("size", [(30, 18), (20, 12)])
def test_shrinking_keeps_the_brightness(device, size):
    """Of Gaussians of 2 to 3 pixels, all of which are inside of the picture and nowhere brighter than white."""
    random = torch.Generator().manual_seed(0)
    means = torch.tensor([15.0, 12.0, 0.0]) + torch.rand(40, 3, generator=random) * torch.tensor([30.0, 12.0, 9.0])
    cholesky = torch.tensor([3.0, 0.5, 0.0, 2.0, 0.3, 2.5]).repeat(40, 1)
    gaussians = VideoGaussians.from_pixels(means, cholesky, torch.rand(40, 3, generator=random) / 8, INFO)
    decoder = VideoDecoder(gaussians, device=device, tau=0)
    whole = decoder.get_frames_at(range(9), dtype=torch.float32).data.mean((2, 3))
    small = decoder.get_frames_at(range(9), size=size, dtype=torch.float32).data.mean((2, 3))
    # Samples of a Gaussian of 0.7 of their distance sum up to within 1e-4 of it; records round to half precision.
    torch.testing.assert_close(small, whole, rtol=1e-3, atol=0)


def test_crops_of_one_scale_share_what_is_packed(monkeypatch):
    packed, through = [], views._through
    monkeypatch.setattr(views, "_through", lambda grid, *args: packed.append(grid) or through(grid, *args))
    decoder = VideoDecoder(GAUSSIANS, device="cpu")
    for x in range(8):
        decoder.get_frame_at(3, crop=(x, 2 * x, 20, 10))
        decoder.get_frame_at(3, crop=(x, 2 * x, 20, 10), size=(10, 5))
    assert len(packed) == 3, "the video's own pixels, and half the size from even and from odd columns on"


def test_types(decoder):
    exact = decoder.get_frame_at(4, dtype=torch.float32).data
    half = decoder.get_frame_at(4, dtype=torch.float16).data
    assert half.dtype == torch.float16 and exact.dtype == torch.float32
    assert torch.equal(half, exact.half())
    assert exact.min() >= 0 and exact.max() <= 1
    assert torch.equal((exact * 255).round().byte(), decoder[4])
    with pytest.raises(
        ValueError, match="dtype must be one of torch.uint8, torch.float16, torch.float32, got torch.in"
    ):
        decoder.get_frame_at(4, dtype=torch.int16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crop": (0, 0, 0, 5)}, r"crop must hold a pixel, got \(0, 0, 0, 5\)"),
        ({"crop": (50, 0, 11, 5)}, r"crop \(50, 0, 11, 5\) leaves the video: x \+ w is 0 to 60, y \+ h is 0 to 36"),
        ({"crop": (-1, 0, 5, 5)}, "leaves the video"),
        ({"crop": (0, 0, 5)}, r"crop must be \(x, y, w, h\), got \(0, 0, 5\)"),
        ({"size": (0, 5)}, "size must be at least 1x1, got 0x5"),
        ({"size": (5, 5, 5)}, r"size must be \(w, h\), got"),
    ],
)
def test_crops_and_sizes_that_there_are_not(decoder, arguments, message):
    with pytest.raises(ValueError, match=message):
        decoder.get_frame_at(0, **arguments)
    with pytest.raises(TypeError, match="float"):
        decoder.get_frame_at(0, crop=(0.5, 0, 3, 3))
