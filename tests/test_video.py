"""video: frames are PyAV's, times are exact, odd sources work."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from garv_gsplat.video import (
    VideoError,
    estimate_bytes,
    read_info,
    read_video,
)
from garv_gsplat.video import container as container_module
from tests import media

ROOT = Path(__file__).parents[1]


def pyav_frames(path: Path) -> np.ndarray:
    """The source frames by definition."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("make", "shape", "note"),
    [
        (media.make_video, (12, 48, 64, 3), None),
        (media.make_odd_size, (5, 99, 177, 3), None),
        (media.make_one_pixel, (3, 1, 1, 3), None),
        (media.make_one_frame, (1, 48, 64, 3), None),
        (media.make_ten_bit, (4, 48, 64, 3), "10-bit source: taken as 8-bit RGB"),
        (media.make_with_sound, (12, 48, 64, 3), None),
    ],
)
def test_source(tmp_path, make, shape, note, suffix):
    path = make(tmp_path / f"clip{suffix}")
    video = read_video(path)
    assert video.frames.dtype == torch.uint8
    assert tuple(video.frames.shape) == shape
    np.testing.assert_array_equal(video.frames.numpy(), pyav_frames(path))
    assert video.info == read_info(path)
    assert (video.info.frames, video.info.height, video.info.width) == shape[:3]
    assert (video.info.frame_rate, video.info.timestamps) == (25, None)
    assert video.notes == ((note,) if note else ())
    assert estimate_bytes(video.info) == video.frames.numel()


@pytest.mark.parametrize(
    ("make", "name", "notes"),
    [
        (media.make_grey, "clip.mkv", ["grey source: taken as 8-bit RGB"]),
        (media.make_mjpeg, "clip.mkv", []),
        (media.make_mjpeg, "clip.avi", []),
    ],
)
def test_other_codecs(tmp_path, make, name, notes):
    path = make(tmp_path / name)
    video = read_video(path)
    np.testing.assert_array_equal(video.frames.numpy(), pyav_frames(path))
    assert video.info == read_info(path)
    assert list(video.notes) == notes


@pytest.mark.parametrize("codec", ["libvpx", "mpeg4"])
def test_packets_that_are_not_frames(tmp_path, codec):
    """VP8's hidden reference frames and MPEG-4's B-frames must not be counted."""
    options = {"libvpx": {"auto-alt-ref": "1", "lag-in-frames": "10"}, "mpeg4": {"bf": "2"}}[codec]
    path = media.make_video(tmp_path / "clip.mkv", media.pattern(30), codec=codec, options=options)
    video = read_video(path)
    assert video.info == read_info(path)
    assert video.info.frames == 30


def test_raw_stream_without_timestamps(tmp_path):
    path = media.make_video(tmp_path / "clip.h264")
    video = read_video(path, start=0.08)
    assert video.info == read_info(path, start=0.08)
    assert (video.info.frames, video.info.frame_rate) == (10, 25)
    assert "timestamps are missing" in video.notes[0]


def test_pictures_that_come_after_the_sound_in_the_file(tmp_path):
    path = media.make_with_sound(tmp_path / "clip.mkv", sound_first=True)
    video = read_video(path)
    np.testing.assert_array_equal(video.frames.numpy(), pyav_frames(path))
    assert video.info == read_info(path)
    assert video.info.frames == 12


def test_lossless_source_is_read_exactly(tmp_path):
    frames = media.pattern(3, 33, 21)
    video = read_video(media.make_lossless(tmp_path / "clip.mkv", frames))
    np.testing.assert_array_equal(video.frames.numpy(), frames)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation(tmp_path, degrees, mirrored):
    path = media.make_rotated(tmp_path / "phone.mp4", degrees, mirrored)
    video = read_video(path)
    stored = pyav_frames(path)
    if mirrored:
        stored = stored[:, :, ::-1]
    upright = np.rot90(stored, -degrees // 90, axes=(1, 2))
    assert video.info.rotation == degrees // 90 + 4 * mirrored
    np.testing.assert_array_equal(video.frames.numpy(), upright)
    assert video.info == read_info(path)
    assert any("rotation" in note for note in video.notes) == (degrees != 0 or mirrored)


def test_rotation_is_what_ffmpeg_takes_it_for(tmp_path):
    """The matrix the tests write is that of a clockwise turn: FFmpeg reports the counterclockwise angle."""
    with av.open(str(media.make_rotated(tmp_path / "phone.mp4", 90))) as container:
        assert next(container.decode(video=0)).rotation == -90


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_frame_rate(tmp_path, suffix):
    path = media.make_variable_rate(tmp_path / f"clip{suffix}")
    video = read_video(path)
    assert video.info.timestamps == tuple(Fraction(ms, 1000) for ms in media.VARIABLE_TICKS)
    assert video.info.frame_rate == Fraction(7000, 390)
    assert "variable frame rate" in video.notes[0]
    assert video.info == read_info(path)
    part = read_video(path, start=0.07, duration=0.19)
    assert part.info.timestamps == tuple(Fraction(ms, 1000) for ms in (0, 70, 80))
    assert part.info == read_info(path, start=0.07, duration=0.19)


@pytest.mark.parametrize(
    "rate", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(60), Fraction(240), Fraction(1)]
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_constant_rate_survives_the_rounding_of_the_container(tmp_path, rate, suffix):
    path = media.make_video(tmp_path / f"clip{suffix}", media.pattern(40, 16, 16), rate=rate)
    info = read_info(path)
    assert (info.frame_rate, info.timestamps) == (rate, None)
    assert read_video(path, start=float(3 / rate)).info.timestamps is None


def test_first_timestamp_other_than_zero(tmp_path):
    path = media.make_video(tmp_path / "clip.mkv", ticks=range(100, 112), time_base=Fraction(1, 25))
    video = read_video(path, start=0.4)
    assert video.info == read_info(path, start=0.4)
    assert (video.info.frames, video.info.timestamps) == (2, None)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("window", "kept"),
    [
        ({"start": 0.2}, range(5, 12)),
        ({"start": 0.19}, range(5, 12)),
        ({"start": 0.2, "duration": 0.12}, range(5, 8)),
        ({"duration": 0.12}, range(0, 3)),
        ({"max_frames": 4}, range(0, 4)),
        ({"start": 0.4, "max_frames": 4}, range(10, 12)),
        ({"duration": 100, "max_frames": 100}, range(0, 12)),
    ],
)
def test_window(tmp_path, suffix, window, kept):
    path = media.make_video(tmp_path / f"clip{suffix}")
    video = read_video(path, **window)
    np.testing.assert_array_equal(video.frames.numpy(), pyav_frames(path)[kept.start : kept.stop])
    assert video.info == read_info(path, **window)
    assert video.notes == ()


def test_windows_share_out_the_frames_of_a_rounded_rate(tmp_path):
    path = media.make_video(tmp_path / "clip.mkv", media.pattern(61, 16, 16), rate=Fraction(60000, 1001))
    counts = [read_info(path, start=k * 0.25, duration=0.25).frames for k in range(5)]
    assert sum(counts) == 61


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ({"start": 5}, "no frame from 5 s"),
        ({"start": -1}, "start is -1"),
        ({"duration": 0}, "duration is 0"),
        ({"start": float("nan")}, "start is nan"),
        ({"max_frames": 0}, "max_frames is 0"),
        ({"frame_rate": 10}, "leave it out"),
    ],
)
def test_bad_window(tmp_path, window, message):
    path = media.make_video(tmp_path / "clip.mp4")
    for read in (read_video, read_info):
        with pytest.raises(VideoError, match=message) as error:
            read(path, **window)
        media.assert_one_line(error.value, path)


def test_progress(tmp_path):
    seen = []
    read_video(media.make_video(tmp_path / "clip.mp4"), start=0.2, on_frame=seen.append)
    assert seen == list(range(1, 8))


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
def test_info_does_not_decode_everything(tmp_path, monkeypatch, codec):
    monkeypatch.setenv("SVT_LOG", "0")
    path = media.make_video(tmp_path / "clip.mp4", media.pattern(60, 16, 16), codec=codec)
    taken = []
    frames = container_module.Source.frames

    def counting(self):
        for frame in frames(self):
            taken.append(frame.pts)
            yield frame

    monkeypatch.setattr(container_module.Source, "frames", counting)
    assert read_info(path).frames == 60
    assert len(taken) == container_module.CHECKED_FRAMES


def test_name_that_ffmpeg_would_take_for_a_protocol(tmp_path, monkeypatch):
    media.make_video(tmp_path / "clip.mp4").rename(tmp_path / "12:30 %d.mp4")
    monkeypatch.chdir(tmp_path)
    assert read_video("12:30 %d.mp4").info.frames == 12


def test_memory_is_held_once():
    """The peak of a process that collects 384 MB of frames stays well under twice that."""
    script = """
import re, numpy as np, psutil
from garv_gsplat.video.frames import FrameBuffer
frame = np.ones((512, 512, 3), np.uint8)
before = psutil.Process().memory_info().rss
buffer = FrameBuffer(512, 512)
for _ in range(512):
    buffer.append(frame)
video = buffer.finish()
assert video.shape == (512, 512, 512, 3) and bool((video[::100] == 1).all())
# not ru_maxrss, which a process takes over from the one that started it
peak = 1024 * int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
print((peak - before) / 2**20)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert 380 < float(done.stdout) < 1.3 * 384  # the frames themselves, which shows that it was measured
