"""Colours: what a file says about them is read, obeyed, and written again."""

from __future__ import annotations

from dataclasses import replace

import av
import numpy as np
import pytest
import torch

from garv_gsplat.metrics import psnr
from garv_gsplat.video import VideoError, VideoWriter, read_info, read_video, video_from_array
from garv_gsplat.volume import ColorInfo
from tests import media

BT709, BT601, BT601_625, BT2020 = 1, 6, 5, 9
MATRICES = [BT709, BT601, BT601_625, BT2020]
ROUNDING = 2
"""grey levels that RGB moves by way of 8-bit YUV: half a level of Y and half of a chroma, which count 1.16 and up to
2.14 times (BT.2020's blue, limited range), and RGB's own half"""
NOISE = np.random.default_rng(0).integers(0, 256, (2, 47, 63, 3), dtype=np.uint8)
"""of odd size, which VideoWriter keeps in 4:4:4"""


def write(path, frames, color, crf=0):
    info = replace(video_from_array(frames).info, color=color)
    with VideoWriter(path, info, crf=crf) as out:
        out.write(frames)
    return path


def difference(a, b):
    return np.abs(np.asarray(a).astype(int) - np.asarray(b)).max()


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", MATRICES)
def test_reading_undoes_matrix_and_range(tmp_path, matrix, full_range):
    """PyAV's rgb24 is what H.273 says it is."""
    color = ColorInfo(BT2020, 16, matrix, full_range)
    path = media.make_tagged(tmp_path / "in.mp4", NOISE, color)
    video = read_video(path)
    assert video.info.color == color
    assert video.info == read_info(path)
    assert difference(video.frames, NOISE) <= ROUNDING


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [*MATRICES, 4, 7])
def test_writing_does_it_again(tmp_path, matrix, full_range, suffix):
    color = ColorInfo(BT2020, 14, matrix, full_range)
    path = write(tmp_path / f"out{suffix}", NOISE, color)
    assert read_info(path).color == color
    assert difference(read_video(path).frames, NOISE) <= ROUNDING


@pytest.mark.parametrize(
    ("written", "tag", "wrong"),
    [
        (ColorInfo(1, 1, BT709, False), "colorspace", BT601),
        (ColorInfo(1, 1, BT601, False), "colorspace", BT709),
        (ColorInfo(1, 1, BT709, False), "color_range", 2),
        (ColorInfo(1, 1, BT709, True), "color_range", 1),
    ],
)
def test_a_wrong_tag_would_be_seen(tmp_path, written, tag, wrong):
    with av.open(str(write(tmp_path / "out.mp4", NOISE, written))) as container:
        frame = next(container.decode(video=0))
    planes = [np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : plane.width] for plane in frame.planes]
    # a frame of its own, because FFmpeg has a format yuvj444p, too, that is full range whatever its tag says
    copy = av.VideoFrame.from_ndarray(np.stack(planes), format="yuv444p")
    copy.colorspace, copy.color_range = frame.colorspace, frame.color_range
    assert difference(copy.to_ndarray(format="rgb24"), NOISE[0]) <= ROUNDING
    setattr(copy, tag, wrong)
    assert difference(copy.to_ndarray(format="rgb24"), NOISE[0]) > 7 * ROUNDING


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", MATRICES)
def test_even_sizes_lose_chroma_only(tmp_path, matrix, full_range):
    frames = media.pattern(4, 320, 180)
    path = write(tmp_path / "out.mp4", frames, ColorInfo(1, 1, matrix, full_range), crf=12)
    video = read_video(path)
    assert video.info.color == ColorInfo(1, 1, matrix, full_range)
    assert psnr(video.frames, torch.from_numpy(frames)) > 42  # as without a colour in test_video_writer


@pytest.mark.parametrize("height", [48, 720])
def test_untagged_source(tmp_path, height):
    """Read as BT.601 by PyAV, whatever the size; the written file says what it was written as."""
    path = media.make_video(tmp_path / "in.mp4", media.pattern(2, 63, height - 1))
    video = read_video(path)
    assert video.info.color == ColorInfo()
    copy = tmp_path / "out.mp4"
    with VideoWriter(copy, video.info, crf=0) as out:
        out.write(video.frames)
    assert read_info(copy).color == ColorInfo(BT709, BT709, BT601, False)
    assert difference(read_video(copy).frames, video.frames) <= ROUNDING


@pytest.mark.parametrize(
    ("color", "height", "expected"),
    [
        (ColorInfo(), 720, ColorInfo(BT709, BT709, BT709, False)),
        (ColorInfo(BT2020, 2, 2, None), 48, ColorInfo(BT2020, BT709, BT601, False)),
        (ColorInfo(2, 18, 2, True), 48, ColorInfo(BT709, 18, BT601, True)),
        (ColorInfo(BT2020, 16, 14, False), 48, ColorInfo(BT2020, 16, BT601, False)),
        (ColorInfo(1, 13, 0, True), 48, ColorInfo(BT709, 13, BT601, False)),
    ],
    ids=["nothing said", "primaries alone", "no matrix", "ICtCp, which swscale does not make", "RGB"],
)
def test_what_is_unspecified_or_not_yuv_is_chosen(tmp_path, color, height, expected):
    frames = np.zeros((1, height, 16, 3), np.uint8)
    assert read_info(write(tmp_path / "out.mp4", frames, color)).color == expected


@pytest.mark.parametrize(
    ("make", "name", "expected"),
    [
        (media.make_mjpeg, "in.mkv", ColorInfo(2, 2, BT601_625, True)),
        (media.make_grey, "in.mkv", ColorInfo()),
        (
            lambda path: media.make_video(path, codec="libx264rgb", pixel_format="rgb24"),
            "in.mkv",
            ColorInfo(2, 2, 0, True),
        ),
        (lambda path: media.make_images(path), "in", ColorInfo()),
    ],
)
def test_sources_of_other_kinds(tmp_path, make, name, expected):
    path = make(tmp_path / name)
    assert read_video(path).info.color == read_info(path).color == expected


def test_colours_that_cannot_be_converted(tmp_path):
    path = media.make_tagged(tmp_path / "in.mp4", NOISE, ColorInfo(1, 1, 8, False))
    for read in (read_video, read_info):
        with pytest.raises(VideoError, match="matrix 8 of ITU-T H.273") as error:
            read(path)
        media.assert_one_line(error.value, path)
