"""What only a sum of Gaussians can do: planes of the volume, single points, regions; and playing ahead."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from garv_gsplat.codec import encode
from garv_gsplat.decoder import VideoDecoder
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.regions import crop_gaussians, pull_in
from garv_gsplat.volume import Box, VideoInfo
from tests.codec.samples import fitted_like

INFO = VideoInfo(60, 36, 20, Fraction(30))
GAUSSIANS = fitted_like(150, INFO)
# Float32 sums of 150 Gaussians of colours up to 1, through maps whose numbers reach 60: a few 2^-24 of each.
ROUNDING = 2e-5
RECORDS = 0.4 / 255  # what is drawn from records of half precision


@pytest.fixture(scope="module")
def decoder() -> VideoDecoder:
    return VideoDecoder(GAUSSIANS, device="cpu", tau=0)


def exact(points: torch.Tensor, gaussians: VideoGaussians = GAUSSIANS) -> torch.Tensor:
    """Colours [..., 3] at points [..., 3] in pixel and frame numbers: eq. 2 in float64, by the inverse of L L^T."""
    means, numbers = (t.double() for t in gaussians.in_pixels())
    lower = torch.zeros(len(means), 3, 3, dtype=torch.float64)
    for k, (row, column) in enumerate(((0, 0), (1, 0), (2, 0), (1, 1), (2, 1), (2, 2))):
        lower[:, row, column] = numbers[:, k]
    inverse = torch.linalg.inv(lower @ lower.mT)
    off = (points.double()[..., None, :] + 0.5 - means)[..., [2, 0, 1]]  # L is in the order t, x, y
    weights = torch.exp(-0.5 * torch.einsum("...ni,nij,...nj->...n", off, inverse, off))
    return (weights @ gaussians.colors.double()).clamp(0, 1).float()


def grid(origin, u, v, size) -> torch.Tensor:
    """The points [h, w, 3] that a plane's pixels show."""
    i, j = torch.arange(size[0])[None, :, None], torch.arange(size[1])[:, None, None]
    return torch.tensor(origin, dtype=torch.float64) + i * torch.tensor(u) + j * torch.tensor(v)


def assert_close(image: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(image.cpu(), wanted.movedim(-1, 0), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(
    ("axis", "at", "shown"),
    [
        ("y", 17, ((0.0, 17, 0), (1, 0, 0), (0, 0, 1), (60, 20))),
        ("y", 0.5, ((0.0, 0.5, 0), (1, 0, 0), (0, 0, 1), (60, 20))),
        ("x", 40.25, ((40.25, 0, 0), (0, 0, 1), (0, 1, 0), (20, 36))),
        ("x", 59, ((59.0, 0, 0), (0, 0, 1), (0, 1, 0), (20, 36))),
    ],
)
def test_line_scans(axis, at, shown, device):
    scan = VideoDecoder(GAUSSIANS, device=device, tau=0).line_scan(axis, at, dtype=torch.float32)
    torch.testing.assert_close(scan.cpu(), exact(grid(*shown)).movedim(-1, 0), rtol=0, atol=RECORDS)


def test_line_scans_of_bytes_and_other_sizes(decoder, device):
    on_device = VideoDecoder(GAUSSIANS, device=device, tau=0)
    rows = [decoder.line_scan("y", at, dtype=torch.float32) for at in (17, 3, 17.5)]
    for at, row in zip((17, 3, 17.5), rows):  # one after the other, as a recorded launch draws them
        assert (on_device.line_scan("y", at).cpu() - 255 * row).abs().max() <= 0.5 + 255 * RECORDS
    stretched = on_device.line_scan("y", 17, size=(60, 60), dtype=torch.float32).cpu()
    torch.testing.assert_close(stretched[:, 1::3], rows[0], rtol=0, atol=RECORDS)
    assert VideoDecoder(GAUSSIANS, device="cpu", dimension_order="NHWC").line_scan("x", 3).shape == (36, 20, 3)


PLANES = {
    "frame": ((0.0, 0, 5.5), (1, 0, 0), (0, 1, 0), (60, 36)),
    "upside down": ((59.0, 35, 5), (-1, 0, 0), (0, -1, 0), (60, 36)),
    "row over time": ((0.0, 9, 0), (1, 0, 0), (0, 0, 0.5), (60, 39)),
    "leaning": ((3.0, 2, 1), (0.8, 0.1, 0.2), (-0.1, 0.7, 0.15), (40, 30)),
    "oblique and skewed": ((10.0, 30, 0), (0.5, -0.4, 0.1), (0.6, -0.2, 0.3), (33, 17)),
}


@pytest.mark.parametrize("name", PLANES)
def test_planes(device, name):
    image = VideoDecoder(GAUSSIANS, device=device, tau=0).slice_plane(*PLANES[name], dtype=torch.float32)
    assert_close(image, exact(grid(*PLANES[name])))


def test_planes_are_antialiased_as_frames_are(decoder):
    plane = decoder.slice_plane((0.5, 1, 5), (2, 0, 0), (0, 3, 0), (30, 12), dtype=torch.float32)
    frame = decoder.get_frame_at(5, size=(30, 12), dtype=torch.float32).data
    torch.testing.assert_close(plane, frame, rtol=0, atol=RECORDS)


def test_points_and_traces(decoder, device):
    points = torch.rand(200, 3, generator=torch.Generator().manual_seed(1)) * torch.tensor([59.0, 35.0, 19.0])
    on_device = VideoDecoder(GAUSSIANS, device=device, tau=0)
    torch.testing.assert_close(on_device.sample(points).cpu(), exact(points), rtol=0, atol=ROUNDING)
    trace = decoder.sample([(30, 20, t) for t in range(20)])
    frames = decoder.get_frames_at(range(20), dtype=torch.float32).data[:, :, 20, 30]
    torch.testing.assert_close(trace, frames, rtol=0, atol=RECORDS)
    assert decoder.sample(torch.zeros(0, 3)).shape == (0, 3)


def test_points_that_are_culled_lose_little():
    """Each of the 150 Gaussians may lose a threshold; most are visited or far below it."""
    points = torch.rand(100, 3, generator=torch.Generator().manual_seed(1)) * torch.tensor([59.0, 35.0, 19.0])
    error = (VideoDecoder(GAUSSIANS, device="cpu").sample(points) - exact(points)).abs()
    assert error.max() < 5 * 0.07 / 255


BOX = Box.from_pixels(INFO, 12, 5, 30, 20, 4, 13)


@pytest.mark.parametrize("of", [GAUSSIANS, encode(GAUSSIANS)], ids=["gaussians", "file"])
def test_a_cropped_decoder_is_that_of_the_part(of, device):
    decoder = VideoDecoder(of, device=device)
    part = decoder.cropped(BOX)
    assert (part.metadata.width, part.metadata.height, len(part)) == (30, 20, 9)
    assert part.num_gaussians < decoder.num_gaussians
    whole = decoder[4:13][..., 5:25, 12:42]
    # Culled by other tiles and on other grids: each is right to within a rounding and the threshold.
    assert (part[:].int() - whole.int()).abs().max() <= 2
    assert (part[:].int() - whole.int()).abs().float().mean() < 0.1
    scan = decoder.line_scan("y", 15)[:, 4:13, 12:42]
    assert (part.line_scan("y", 10).int() - scan.int()).abs().max() <= 2


def test_a_cropped_decoder_keeps_the_times():
    times = tuple(Fraction(k * k, 100) for k in range(20))
    info = VideoInfo(60, 36, 20, Fraction(30), times)
    part = VideoDecoder(fitted_like(20, info), device="cpu").cropped(BOX)
    assert part.metadata.timestamps == tuple(t - times[4] for t in times[4:13])


@pytest.mark.parametrize("threads", [1, 3])
def test_playing_ahead(decoder, threads):
    played = list(decoder.reader(threads=threads, batch=3))
    assert [len(frames) for frames in played] == [3] * 6 + [2]
    assert torch.equal(torch.cat(played), decoder[:])
    some = decoder.reader([3, 9.5], threads=threads, crop=(0, 0, 8, 8), size=(4, 4))
    assert torch.equal(next(some), decoder.get_frames_at([3, 9.5], crop=(0, 0, 8, 8), size=(4, 4)).data)
    stopped = decoder.reader(threads=threads, batch=1)
    next(stopped)
    stopped.close()
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        next(decoder.reader(threads=0))
    with pytest.raises(ValueError, match="dtype must be one of"):
        next(decoder.reader(dtype=torch.int64))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: d.line_scan("t", 3), 'axis must be "x" or "y", got \'t\'; get_frame_at slices across time'),
        (lambda d: d.line_scan("y", 36), "y = 36 is not in the video: y is 0 to 35"),
        (lambda d: d.line_scan("x", -0.5), "x = -0.5 is not in the video: x is 0 to 59"),
        (lambda d: d.line_scan("x", 5, size=(0, 3)), "size must be at least 1x1, got 0x3"),
        (lambda d: d.slice_plane((0, 0, 0), (1, 2, 0), (2, 4, 0), (5, 5)), "u and v must span a plane"),
        (lambda d: d.slice_plane((0, 0, 0), (0, 0, 0), (2, 4, 0), (5, 5)), "u and v must span a plane"),
        (lambda d: d.slice_plane((0, 0), (0, 1, 0), (2, 4, 0), (5, 5)), r"must be \(x, y, t\) each"),
        (lambda d: d.slice_plane((0, 0, 0), (1, 0, 0), (0, 1, 0), (5, 0)), "size must be at least 1x1, got 5x0"),
        (lambda d: d.sample([(1, 2)]), r"points must be \[P, 3\], an x, y, t each, got \[1, 2\]"),
        (lambda d: d.sample([(1, 2, 3), (60, 2, 3)]), r"point \[60.0, 2.0, 3.0\] is not in the video: x is 0 to 59, y"),
        (lambda d: d.cropped(Box(x1=1.1)), "box must hold pixels and frames of the video, which has 60x36 pixels"),
        (lambda d: d.cropped(Box(t0=0.5, t1=0.51)), "t 10 to 10"),
    ],
)
def test_what_is_not_there(decoder, call, message):
    with pytest.raises(ValueError, match=message):
        call(decoder)


@pytest.mark.parametrize(("box", "error"), [((0, 0, 60, 36, 12, 15), 1 / 255), ((20, 10, 24, 16, 8, 13), 4 / 255)])
def test_gaussians_from_far_away_are_pulled_in(box, error):
    """Of a part of a video: what is wide is all but the same, what is narrow does not reach it."""
    far = crop_gaussians(GAUSSIANS, Box.from_pixels(INFO, *box), 0.03 / 255)
    assert ((far.means < -1) | (far.means > 2)).any(1).sum() > 5
    near = pull_in(far)
    assert ((near.means >= -1) & (near.means <= 2)).all()
    inside = ((far.means - 0.5).abs() < 1.49).all(1)
    torch.testing.assert_close(near.cholesky[inside], far.cholesky[inside], rtol=0, atol=0)
    points = grid((0.0, 0, 0), (1, 0, 0), (0, 1, 0), box[2:4])
    for frame in range(box[5] - box[4]):
        points[..., 2] = frame
        torch.testing.assert_close(exact(points, near), exact(points, far), rtol=0, atol=error)
