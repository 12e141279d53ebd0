"""VideoWriter: what is written reads back, and nothing half-written is left."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from garv_gsplat.metrics import psnr
from garv_gsplat.video import VideoError, VideoWriter, read_info, read_video, video_from_array, writer
from garv_gsplat.volume import ColorInfo, VideoInfo
from tests import media

DEMO = Path(__file__).parents[1] / "examples" / "data" / "demo_bunny_320x180_48f.mp4"


def write(path: Path, frames: np.ndarray | torch.Tensor, info: VideoInfo | None = None, **options: float) -> Path:
    with VideoWriter(path, info or video_from_array(frames).info, **options) as out:
        for k in range(0, len(frames), 5):
            out.write(frames[k : k + 5])
    return path


def untagged(info: VideoInfo) -> VideoInfo:
    """Without what the writer says about colours where nobody said anything."""
    return replace(info, color=ColorInfo())


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".MP4"])
@pytest.mark.parametrize(
    ("width", "height", "least"),
    # even sizes share one chroma among 2x2 pixels, which costs the most where the picture has the fewest of them
    [(320, 180, 42), (1280, 720, 42), (64, 48, 37), (2, 2, 20), (33, 21, 42), (33, 20, 42), (1, 1, 42)],
)
def test_round_trip(tmp_path, suffix, width, height, least):
    frames = media.pattern(2 if width > 1000 else 12, width, height)
    path = write(tmp_path / f"out{suffix}", frames)
    video = read_video(path)
    assert untagged(video.info) == video_from_array(frames).info
    assert video.notes == ()
    assert psnr(video.frames, torch.from_numpy(frames)) > least
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("crop", [(180, 320), (179, 319)])
def test_natural_video_keeps_40_db(tmp_path, crop):
    source = read_video(DEMO).frames[:16, : crop[0], : crop[1]]
    path = write(tmp_path / "out.mp4", source)
    assert psnr(read_video(path).frames, source) > 40


@pytest.mark.parametrize(("width", "height", "matrix"), [(64, 48, (6, 5)), (16, 720, (1,))])
def test_colours_are_tagged(tmp_path, width, height, matrix):
    path = write(tmp_path / "out.mp4", media.pattern(1, width, height))
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert frame.colorspace in matrix
    assert frame.color_range == 1
    assert frame.format.name == "yuv420p"


@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_stay(tmp_path, level):
    frames = np.full((2, 16, 16, 3), level, np.uint8)
    np.testing.assert_array_equal(read_video(write(tmp_path / "out.mp4", frames)).frames.numpy(), frames)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(2997, 100), Fraction(1, 2), Fraction(120)])
def test_rates(tmp_path, suffix, rate):
    frames = media.pattern(12, 16, 16)
    info = VideoInfo(16, 16, 12, frame_rate=rate)
    assert untagged(read_info(write(tmp_path / f"out{suffix}", frames, info))) == info


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_rate_is_kept(tmp_path, suffix):
    source = read_video(media.make_variable_rate(tmp_path / "in.mp4"))
    path = write(tmp_path / f"out{suffix}", source.frames, source.info)
    assert untagged(read_info(path)) == source.info


def test_times_without_a_common_denominator_are_kept_to_the_microsecond(tmp_path):
    times = [Fraction(0), Fraction(1, 30011), Fraction(2, 19997), Fraction(1, 7), Fraction(1, 3)]
    info = VideoInfo(16, 16, 5, Fraction(12), tuple(times))
    got = read_info(write(tmp_path / "out.mp4", media.pattern(5, 16, 16), info)).timestamps
    assert max(abs(a - b) for a, b in zip(got, times)) <= Fraction(1, 1_000_000)


def test_crf_sets_the_size(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    fine, coarse = (write(tmp_path / f"{crf}.mp4", frames, crf=crf) for crf in (5, 40))
    assert fine.stat().st_size > 2 * coarse.stat().st_size


@pytest.mark.parametrize(
    ("name", "info", "options", "message"),
    [
        ("out.avi", {}, {}, "cannot write '.avi' files; let the name end in .mp4 or .mkv"),
        ("out", {}, {}, "let the name end in"),
        ("missing/out.mp4", {}, {}, "there is no folder"),
        ("out.mp4", {"channels": 4}, {}, "the video has 4"),
        ("out.mp4", {}, {"crf": 60}, "crf is 60"),
    ],
)
def test_refused_before_any_work(tmp_path, name, info, options, message):
    with pytest.raises(VideoError, match=message):
        VideoWriter(tmp_path / name, VideoInfo(16, 16, 1, **info), **options)
    assert list(tmp_path.iterdir()) == []


def test_missing_encoder(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "ENCODER", "no-such-encoder")
    with pytest.raises(VideoError, match="no H.264 encoder"):
        VideoWriter(tmp_path / "out.mp4", VideoInfo(16, 16, 1))


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_exception_leaves_what_was_there(tmp_path, failure):
    path = tmp_path / "out.mp4"
    path.write_text("before")
    with pytest.raises(failure), VideoWriter(path, VideoInfo(64, 48, 12)) as out:
        out.write(media.pattern()[:6])
        raise failure
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("out.mp4", "before")]


def test_existing_file_is_replaced(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_text("before")
    write(path, media.pattern())
    assert read_info(path).frames == 12
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (media.pattern(2), "2 of 3 frames were written"),
        (media.pattern(4), "frame 4 of 3"),
        (media.pattern(3, 32, 32), r"give \[frames, 48, 64, 3\] uint8"),
        (media.pattern(3).astype(np.float32), "float32; give"),
        (torch.zeros(3, 48, 64, 3), "float32; give"),
        (media.pattern(3)[0], "give"),
    ],
)
def test_wrong_frames_leave_nothing(tmp_path, frames, message):
    with pytest.raises(VideoError, match=message), VideoWriter(tmp_path / "out.mp4", VideoInfo(64, 48, 3)) as out:
        out.write(frames)
    assert list(tmp_path.iterdir()) == []


def test_write_outside_the_block(tmp_path):
    out = VideoWriter(tmp_path / "out.mp4", VideoInfo(64, 48, 12))
    with pytest.raises(VideoError, match="not open"):
        out.write(media.pattern())


def test_x264_is_silent(tmp_path, capfd):
    write(tmp_path / "out.mp4", media.pattern())
    assert capfd.readouterr() == ("", "")
