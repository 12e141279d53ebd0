"""video: folders of images, and arrays that are in memory already."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from garv_gsplat.video import (
    VideoError,
    estimate_bytes,
    read_info,
    read_video,
    video_from_array,
)
from tests import media


def test_images_are_sorted_by_number(tmp_path):
    frames = media.pattern(12, 21, 13)
    folder = media.make_images(tmp_path / "shots", frames)
    (folder / "notes.txt").write_text("not an image")
    (folder / ".hidden.png").write_text("not an image")
    seen = []
    video = read_video(folder, on_frame=seen.append)
    np.testing.assert_array_equal(video.frames.numpy(), frames)
    assert video.info == read_info(folder)
    assert (video.info.frame_rate, video.info.timestamps, video.notes) == (25, None, ())
    assert seen == list(range(1, 13))


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"])
def test_image_formats(tmp_path, suffix):
    folder = media.make_images(tmp_path / "shots", media.pattern(2), suffix)
    assert read_video(folder).info.frames == 2


def test_images_window_and_rate(tmp_path):
    folder = media.make_images(tmp_path / "shots")
    video = read_video(folder, start=0.5, duration=0.5, frame_rate=10)
    np.testing.assert_array_equal(video.frames.numpy(), media.pattern()[5:10])
    assert video.info == read_info(folder, start=0.5, duration=0.5, frame_rate=10)
    assert video.info.frame_rate == 10
    with pytest.raises(VideoError, match="frame_rate is 0"):
        read_video(folder, frame_rate=0)
    with pytest.raises(VideoError, match="no frame from 9 s"):
        read_video(folder, start=9)


def test_single_image(tmp_path):
    media.make_images(tmp_path, media.pattern(1))
    video = read_video(tmp_path / "frame1.png")
    np.testing.assert_array_equal(video.frames.numpy(), media.pattern(1))


def test_exif_orientation(tmp_path):
    stored = media.pattern(1, 24, 16)[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    video = read_video(tmp_path)
    np.testing.assert_array_equal(video.frames[0].numpy(), np.rot90(stored, -1))
    assert video.info == read_info(tmp_path)
    assert "EXIF" in video.notes[0]


def test_image_modes(tmp_path):
    grey = np.linspace(0, 65535, 12 * 16).reshape(12, 16)
    Image.fromarray(grey.astype(np.uint16)).save(tmp_path / "a.png")
    Image.fromarray((grey / 257).astype(np.uint8)).save(tmp_path / "b.png")
    rgba = np.repeat((grey / 257).astype(np.uint8)[..., None], 4, axis=2)
    Image.fromarray(rgba).save(tmp_path / "c.png")
    video = read_video(tmp_path)
    expected = np.repeat((grey / 257)[..., None], 3, axis=2)
    for frame in video.frames.numpy():
        np.testing.assert_allclose(frame, expected, atol=1)
    assert set(video.notes) == {
        "16-bit images: taken as 8-bit RGB",
        "grey images: taken as 8-bit RGB",
        "images with transparency: it is dropped",
    }


def test_images_of_mixed_sizes(tmp_path):
    folder = media.make_mixed_images(tmp_path / "shots")
    for read in (read_video, read_info):
        with pytest.raises(VideoError, match=r"frame1.png is 64x48, frame2.png is 32x20") as error:
            read(folder)
        media.assert_one_line(error.value, folder)


def test_folder_without_images(tmp_path):
    with pytest.raises(VideoError, match="a folder without images") as error:
        read_video(tmp_path)
    media.assert_one_line(error.value, tmp_path)


def test_damaged_image(tmp_path):
    folder = media.make_images(tmp_path / "shots", media.pattern(2))
    media.cut(folder / "frame2.png", 0.5)
    with pytest.raises(VideoError, match="frame2.png: the image is damaged"):
        read_video(folder)


def test_float_image(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(VideoError, match="save it with 8 or 16 bits"):
        read_video(tmp_path)


@pytest.mark.parametrize("channels", [1, 3, 8])
def test_from_array(channels):
    array = np.zeros((4, 6, 5, channels), np.uint8)
    video = video_from_array(array, frame_rate=29.97)
    assert (video.info.width, video.info.height, video.info.frames) == (5, 6, 4)
    assert (video.info.channels, video.info.frame_rate) == (channels, Fraction(2997, 100))
    array[0] = 7  # memory is shared
    assert (video.frames[0] == 7).all()
    assert estimate_bytes(video.info) == array.nbytes


def test_from_tensor_and_from_awkward_arrays():
    array = media.pattern(4)
    assert torch.equal(video_from_array(torch.from_numpy(array)).frames, torch.from_numpy(array))
    np.testing.assert_array_equal(video_from_array(array[::-1]).frames.numpy(), array[::-1])
    array.flags.writeable = False
    np.testing.assert_array_equal(video_from_array(array).frames.numpy(), array)


@pytest.mark.parametrize(
    ("array", "rate", "message"),
    [
        (np.zeros((4, 4, 3), np.uint8), 25, r"shape \(4, 4, 3\)"),
        (np.zeros((0, 4, 4, 3), np.uint8), 25, "shape"),
        (np.zeros((1, 4, 4, 9), np.uint8), 25, "shape"),
        (np.zeros((1, 4, 4, 3), np.float32), 25, "holds float32; give uint8"),
        (torch.zeros(1, 4, 4, 3), 25, "holds torch.float32; give uint8"),
        (np.zeros((1, 4, 4, 3), np.uint8), -1, "frame_rate is -1"),
        (np.zeros((1, 4, 4, 3), np.uint8), float("nan"), "frame_rate is nan"),
    ],
)
def test_bad_array(array, rate, message):
    with pytest.raises(VideoError, match=message):
        video_from_array(array, rate)
