"""Frames one by one: the same as those that `read_video` gives, and the bytes of the pictures alone."""

from __future__ import annotations

import av
import numpy as np
import pytest
import torch

from garv_gsplat.video import VideoError, native_frames, picture_stream, read_video, rgb_batches
from tests import media


@pytest.mark.parametrize(
    "part", [{}, {"start": 0.2}, {"start": 0.1, "duration": 0.2}, {"max_frames": 3}, {"start": 0.2, "max_frames": 99}]
)
@pytest.mark.parametrize("make", [media.make_video, media.make_images])
def test_native_frames_are_those_of_the_part(tmp_path, make, part):
    path = make(tmp_path / "v.mp4")
    pixels = np.stack([frame.to_ndarray(format="rgb24") for frame in native_frames(path, **part)])
    np.testing.assert_array_equal(pixels, read_video(path, **part).frames.numpy())


def test_native_frames_are_as_they_are_stored(tmp_path):
    path = media.make_rotated(tmp_path / "v.mp4", 90)
    assert {(frame.format.name, frame.width, frame.height) for frame in native_frames(path)} == {("yuv420p", 64, 48)}


@pytest.mark.parametrize("batch", [1, 4, 99])
def test_batches(tmp_path, batch):
    path = media.make_rotated(tmp_path / "v.mp4", 90, mirrored=True)
    batches = list(rgb_batches(path, batch))
    assert torch.equal(torch.cat(batches), read_video(path).frames)
    assert [len(frames) for frames in batches] == {1: [1] * 6, 4: [4, 2], 99: [6]}[batch]


def test_bytes_are_those_of_the_pictures(tmp_path):
    path = media.make_with_sound(tmp_path / "v.mp4")
    with av.open(str(path)) as container:
        sizes = {"video": 0, "audio": 0}
        for packet in container.demux():
            sizes[packet.stream.type] += packet.size
    assert sizes["audio"] > 0
    assert picture_stream(path).bytes == sizes["video"]


@pytest.mark.parametrize(("encoder", "codec"), [("libx264", "h264"), ("libx265", "hevc"), ("libsvtav1", "av1")])
def test_codecs_have_one_name(tmp_path, monkeypatch, encoder, codec):
    monkeypatch.setenv("SVT_LOG", "0")
    assert picture_stream(media.make_video(tmp_path / "v.mp4", codec=encoder)).codec == codec


@pytest.mark.parametrize(
    ("make", "message"),
    [(media.make_images, "is made of images"), (media.make_text, "not a video"), (media.make_audio_only, "only audio")],
)
def test_what_has_no_stream_of_pictures(tmp_path, make, message):
    path = make(tmp_path / "v.mp4")
    with pytest.raises(VideoError, match=message) as raised:
        picture_stream(path)
    media.assert_one_line(raised.value, path)
