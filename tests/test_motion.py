"""Videos whose plane moves: every way to look at one against Gaussians that were moved themselves."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import pytest
import torch

from garv_gsplat import GarvFile, VideoDecoder, load, rasterization, views
from garv_gsplat.codec import encode, partition
from garv_gsplat.grids import NATIVE, boxes
from garv_gsplat.motion import after, apply, box_in_plane, inverse, maps_at, pixel_maps, points_in_plane, unit_maps
from garv_gsplat.volume import Box
from tests.motion_truth import INFO, frame_of, moving, panning, still_at

ERROR = 2.5 / 255  # of 8 bits, of the threshold of decoding and of records in half precision


@pytest.fixture(scope="module")
def gaussians():
    return moving()


@pytest.fixture(scope="module")
def decoder(gaussians) -> VideoDecoder:
    return VideoDecoder(gaussians, device="cpu", dimension_order="NHWC")


def close(found: torch.Tensor, wanted: torch.Tensor, most: float = ERROR) -> bool:
    found = found.double() / (255 if found.dtype == torch.uint8 else 1)
    return found.shape == wanted.shape and (found.cpu() - wanted).abs().max() < most


# Maps


def test_maps_invert_and_follow_each_other(gaussians):
    maps, points = pixel_maps(gaussians.info).double(), torch.rand(8, 2).double() * 90
    assert torch.allclose(apply(inverse(maps), apply(maps, points)), points)
    assert torch.allclose(apply(after(maps, inverse(maps)), points), points)
    assert torch.allclose(apply(after(maps[:1], maps), points), apply(maps[:1], apply(maps, points)))
    assert torch.allclose(torch.tensor(unit_maps(maps, 96, 64)), torch.tensor(gaussians.info.motion), atol=1e-6)


def test_maps_are_made_once(gaussians):
    info = gaussians.info
    assert info.maps.shape == (8, 6) and info.maps.tolist() == [[*row] for row in info.motion]
    assert info.maps is info.maps and replace(info, frame_rate=30) == replace(info, frame_rate=30)
    assert replace(info, motion=None).maps is None


def test_maps_between_frames_are_in_proportion(gaussians):
    maps = pixel_maps(gaussians.info)
    found = maps_at(maps, torch.tensor([-3.0, 0.5, 2.75, 7.5, 20.0]))
    wanted = torch.stack([maps[0], maps[0], 0.75 * maps[2] + 0.25 * maps[3], maps[7], maps[7]])
    assert torch.allclose(found, wanted)


@pytest.mark.parametrize(
    ("motion", "message"),
    [
        (((1, 0, 0, 1, 0, 0),) * 7, "six numbers a frame"),
        (((1, 0, 0, 1, 0),) * 8, "six numbers a frame"),
        (((1, 0, 0, -1, 0, 0),) * 8, "must not fold the plane"),
        (((float("nan"), 0, 0, 1, 0, 0),) * 8, "must be finite"),
        (((1, 0, 0, 1, float("inf"), 0),) * 8, "must be finite"),
    ],
)
def test_what_is_no_motion_is_refused(motion, message):
    with pytest.raises(ValueError, match=message):
        replace(INFO, motion=motion)


# Frames


@pytest.mark.parametrize("frame", [0, 3, 6, 2.25])
def test_frames(gaussians, decoder, frame):
    wanted = frame_of(gaussians, frame)
    assert close(decoder.get_frame_at(frame).data, wanted)
    assert close(rasterization(gaussians, [(frame + 0.5) / 8], tau=0.0)[0].clamp(0, 1), wanted, 1e-4)


def test_crops_and_sizes(gaussians, decoder):
    whole = frame_of(gaussians, 5)
    assert close(decoder.get_frame_at(5, crop=(30, 11, 40, 33)).data, whole[11:44, 30:70])
    larger = frame_of(gaussians, 5, size=(192, 128))
    assert close(decoder.get_frame_at(5, size=(192, 128)).data, larger)
    smaller = frame_of(gaussians, 5, size=(48, 32))
    assert close(decoder.get_frame_at(5, size=(48, 32)).data, smaller)


def test_frames_at_once_and_one_by_one(decoder):
    assert torch.equal(decoder[2:6], torch.stack([decoder[k] for k in range(2, 6)]))


@pytest.mark.parametrize(("axis", "at"), [("y", 20), ("y", 33.5), ("x", 40), ("x", 70.25)])
def test_line_scans(gaussians, decoder, axis, at):
    shift = {"x0": at % 1 / 96, "x1": 1 + at % 1 / 96} if axis == "x" else {"y0": at % 1 / 64, "y1": 1 + at % 1 / 64}
    frames = torch.stack([frame_of(gaussians, k, crop=Box(**shift)) for k in range(8)])
    wanted = frames[:, int(at)] if axis == "y" else frames[:, :, int(at)].transpose(0, 1)
    for dtype in (torch.uint8, torch.float32):
        assert close(decoder.line_scan(axis, at, dtype=dtype), wanted)


def test_line_scans_of_other_sizes(gaussians, decoder):
    longer = decoder.line_scan("y", 20, size=(48, 16), dtype=torch.float32)
    between = decoder.get_frame_at(2.25, size=(48, 64), dtype=torch.float32).data[20]
    assert longer.shape == (16, 48, 3)
    assert (longer[5] - between).abs().max() < 1e-3  # (5 + 0.5) / 2 - 0.5
    shorter = decoder.line_scan("x", 40, size=(3, 64), dtype=torch.float32)
    moments = [(k + 0.5) * 8 / 9 - 0.5 for k in range(3, 6)]  # three to each column, as 8 frames are more than twice 3
    columns = torch.stack([frame_of(gaussians, moment)[:, 40] for moment in moments])
    assert close(shorter[:, 1], columns.mean(0))


@pytest.mark.parametrize(("axis", "size"), [("y", None), ("x", None), ("y", (48, 16)), ("x", (3, 64))])
def test_line_scans_by_many_launches(decoder, axis, size):
    wanted = decoder.line_scan(axis, 40.5, size=size)
    with mock.patch.object(views, "_PIXELS_AT_ONCE", 3 * 32 * 96):
        assert torch.equal(decoder.line_scan(axis, 40.5, size=size), wanted)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda decoder: decoder.line_scan("y", 3, size=(0, 5)), "size must be at least 1x1, got 0x5"),
        (lambda decoder: decoder.line_scan("x", 3, size=(0, 5)), "size must be at least 1x1, got 0x5"),
        (lambda decoder: decoder.line_scan("y", 64), "y is 0 to 63"),
        (lambda decoder: decoder.slice_plane((0, 0, 5), (1, 0, 0), (2, 0, 0), (96, 64)), "must span a plane"),
        (lambda decoder: decoder.slice_plane((0, 0), (1, 0, 0), (0, 1, 0), (96, 64)), "each, got"),
        (lambda decoder: decoder.slice_plane((0, 0, 5), (1, 0, 0), (0, 1, 0), (96, 0)), "at least 1x1, got 96x0"),
    ],
)
def test_slices_that_are_none_are_refused(gaussians, decoder, call, message):
    for each in (decoder, VideoDecoder(still_at(gaussians, 3), device="cpu")):
        with pytest.raises(ValueError, match=message):
            call(each)


def test_points_and_planes(gaussians, decoder):
    wanted = frame_of(gaussians, 5)
    points = torch.tensor([[10.0, 20.0, 5.0], [95.0, 0.0, 5.0], [40.0, 63.0, 5.0]])
    assert close(decoder.sample(points), torch.stack([wanted[20, 10], wanted[0, 95], wanted[63, 40]]), 1e-3)
    plane = decoder.slice_plane((0, 0, 5), (1, 0, 0), (0, 1, 0), (96, 64), dtype=torch.float32)
    assert close(plane, wanted, 1e-3)
    leaning = decoder.slice_plane((3, 10, 2), (1, 0, 0), (0, 1, 0.5), (90, 9), dtype=torch.float32)
    rows = [frame_of(gaussians, 2 + 0.5 * j)[10 + j, 3:93] for j in range(9)]
    assert close(leaning, torch.stack(rows), 1e-3)


# Files


@pytest.mark.parametrize("codec", ["rans", "paper16-8-8"])
def test_files_keep_the_motion(gaussians, codec):
    data = encode(gaussians, codec)
    assert load(data).info == gaussians.info
    assert GarvFile(data).version == 2
    assert GarvFile(encode(still_at(gaussians, 3))).version == 1


def test_a_box_in_the_plane_holds_what_frames_see(gaussians):
    maps = pixel_maps(gaussians.info)
    for low, high in (((10.0, 5.0, 2.5), (40.0, 60.0, 2.5)), ((0.0, 0.0, 0.5), (96.0, 64.0, 6.2))):
        first, last = (torch.tensor(end) for end in box_in_plane(maps, low, high))
        points = torch.tensor(low) + torch.rand(500, 3) * (torch.tensor(high) - torch.tensor(low))
        inside = points_in_plane(gaussians.info, points)
        assert (inside >= first).all() and (inside <= last).all()
    assert box_in_plane(None, low, high) == (low, high)


def test_a_crop_of_a_long_pan_reads_little():
    info = replace(INFO, motion=tuple((1.0, 0.0, 0.0, 1.0, 0.12 * (4 - k), 0.0) for k in range(8)))
    maps = pixel_maps(info)
    asked = [*boxes(range(8), NATIVE, (0, 0, 10, 10), maps)]
    assert [low[2] for low, _ in asked] == [k + 0.5 for k in range(8)]
    assert all(high[0] - low[0] < 12.1 for low, high in asked)
    assert abs(asked[0][0][0] - (-1 - 0.12 * 4 * 96)) < 1e-3


@pytest.fixture(scope="module")
def many_chunks() -> bytes:
    """A moving file whose chunks are small in time and space."""
    gaussians = panning(0.6, 4000)
    brief = replace(gaussians, cholesky=gaussians.cholesky * torch.tensor([0.1, 0.1, 0.1, 0.4, 0.4, 0.4]))
    with mock.patch.multiple(partition, SHORTEST=1, SMALLEST=32, LARGEST=100):
        return encode(brief)


@pytest.mark.parametrize(
    "look",
    [
        lambda decoder: decoder[0],
        lambda decoder: decoder.get_frames_in_range(2, 5, crop=(0, 40, 12, 12)).data,
        lambda decoder: decoder.get_frames_at([6.5, 1], crop=(70, 40, 26, 24), size=(13, 12)).data,
        lambda decoder: decoder.line_scan("x", 80.5),
        lambda decoder: decoder.line_scan("y", 3, size=(20, 5)),
        lambda decoder: 255 * decoder.sample([[5, 5, 2.5], [6, 7, 3]]),
        lambda decoder: decoder.slice_plane((0, 0, 3), (1, 0, 0), (0, 1, 0.1), (12, 12)),
        lambda decoder: decoder.cropped(Box.from_pixels(INFO, 0, 0, 16, 16, 6, 8))[1],
    ],
)
def test_what_is_read_is_enough(many_chunks, look):
    whole, lazy = (VideoDecoder(source, device="cpu") for source in (load(many_chunks), many_chunks))
    assert (look(lazy).double() - look(whole).double()).abs().max() <= 1
    read = sum(map(len, lazy._views.source.parts))
    assert 0 < read < 0.9 * whole.num_gaussians, "some is left unread"
