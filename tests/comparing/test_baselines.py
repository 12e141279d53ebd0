"""Baselines: the rate that was asked for, the source's own planes and colours, and nothing but pictures."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from garv_gsplat.comparing import ENCODERS, PRESETS, Baseline, Clip, encode_baseline, read_clip
from garv_gsplat.comparing.planes import convert
from garv_gsplat.measuring import quality
from garv_gsplat.video import VideoError, picture_stream, read_info, rgb_batches
from garv_gsplat.volume import ColorInfo, VideoInfo
from tests import media

FAST = "ultrafast"
MOST = 99
"""bits a pixel that no encoder reaches: it gives its best"""


def encode(source: Path, name: str, bpp: float, path: Path, **arguments) -> tuple[Clip, Baseline]:
    clip = read_clip(source, **arguments)
    return clip, encode_baseline(clip, name, bpp, path, preset=FAST)


def psnr(clip: Clip, path: Path) -> float:
    return quality(rgb_batches(path, 5), clip.video.frames).psnr.mean().item()


def packets(path: Path) -> list[av.Packet]:
    with av.open(str(path)) as container:
        return [packet for packet in container.demux(video=0) if packet.size]


def as_shown(info: VideoInfo) -> VideoInfo:
    """An unspecified range is the limited one, and x265 and SVT-AV1 say so."""
    return replace(info, color=replace(info.color, full_range=bool(info.color.full_range)))


def tagged(path: Path, matrix: int, color_range: int) -> Path:
    """A video whose colours are coded as H.273 says by these numbers, and which says so."""
    swscale = {1: 1, 6: 5}  # its own numbers for the matrices of BT.709 and BT.601
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1", "preset": FAST})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        context = stream.codec_context
        context.colorspace, context.color_range, context.color_primaries, context.color_trc = matrix, color_range, 1, 1
        for k, pixels in enumerate(media.pattern(4)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=swscale[matrix], dst_color_range=color_range)
            frame.pts, frame.time_base = k, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("name", ENCODERS)
def test_the_rate_is_met(tmp_path, name):
    source = media.make_video(tmp_path / "v.mp4", media.pattern(24, 160, 120), options={"crf": "1", "preset": FAST})
    path = tmp_path / "out.mp4"
    clip, baseline = encode(source, name, 0.3, path)
    size = sum(packet.size for packet in packets(path))
    assert picture_stream(path).bytes == size
    assert 8 * size / (24 * 160 * 120) == pytest.approx(0.3, rel=0.05)  # a step of the crf is 3 % on average
    assert (baseline.encoder, baseline.library) == (name, ENCODERS[name].library)
    assert (baseline.preset, baseline.gop) == (FAST, 250)
    assert f"{baseline.crf:g}" in " ".join(baseline.options.values())
    assert psnr(clip, path) > 30
    assert as_shown(read_info(path)) == as_shown(clip.video.info)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.mp4", "v.mp4"]


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize("matrix", [1, 6])
def test_colours_are_the_source_s(tmp_path, name, matrix, color_range):
    path = tmp_path / "out.mp4"
    clip, baseline = encode(tagged(tmp_path / "v.mp4", matrix, color_range), name, MOST, path)
    assert baseline.color == clip.video.info.color == ColorInfo(1, 1, matrix, full_range=color_range == 2)
    assert baseline.native_planes
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_range) == (matrix, color_range)
    assert psnr(clip, path) > 44  # as the planes are; a wrong matrix or range costs more than 10 dB


SOURCES = {
    "10 bit": (media.make_ten_bit, "v.mp4", dict.fromkeys(ENCODERS, "yuv420p10le"), True),
    "motion JPEG": (media.make_mjpeg, "v.mkv", {"x264": "yuvj420p", "x265": "yuvj420p", "av1": "yuv420p"}, True),
    "odd size": (media.make_odd_size, "v.mp4", {"x264": "yuv444p", "x265": "yuv444p"}, True),
    "4:4:4": (media.make_odd_size, "v.mp4", {"av1": "yuv420p"}, False),
    "grey": (media.make_grey, "v.mkv", dict.fromkeys(ENCODERS, "yuv420p"), False),
    "RGB": (lambda path: media.make_lossless(path, media.pattern(3)), "v.mkv", {"x265": "yuv420p"}, False),
    "images": (lambda path: media.make_images(path, media.pattern(3)), "frames", {"x264": "yuv420p"}, False),
    "odd images": (lambda path: media.make_images(path, media.pattern(3, 33, 21)), "f", {"x264": "yuv444p"}, False),
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, row in SOURCES.items() for name in row[2]])
def test_planes_are_the_source_s_where_the_encoder_takes_them(tmp_path, kind, name):
    make, file, formats, native = SOURCES[kind]
    clip, baseline = encode(make(tmp_path / file), name, MOST, tmp_path / "out.mp4")
    assert (baseline.pixel_format, baseline.native_planes) == (formats[name], native)
    assert psnr(clip, tmp_path / "out.mp4") > (42 if native else 36)  # 4:2:0 costs the pattern's colours some


def test_native_frames_are_not_touched(tmp_path):
    clip = read_clip(media.make_ten_bit(tmp_path / "v.mp4"))
    frame = next(clip.native_frames())
    assert convert(frame, "yuv420p10le") is frame
    jpeg = next(read_clip(media.make_mjpeg(tmp_path / "v.mkv")).native_frames())
    np.testing.assert_array_equal(convert(jpeg, "yuv420p").to_ndarray(), jpeg.to_ndarray())


@pytest.mark.parametrize("name", ENCODERS)
def test_a_turned_video_is_turned(tmp_path, name):
    clip, baseline = encode(media.make_rotated(tmp_path / "v.mp4", 90, True), name, MOST, tmp_path / "out.mp4")
    assert baseline.native_planes
    assert as_shown(read_info(tmp_path / "out.mp4")) == as_shown(clip.video.info)
    assert psnr(clip, tmp_path / "out.mp4") > 44


def test_a_part(tmp_path):
    source = media.make_video(tmp_path / "v.mp4", media.pattern(25))
    clip, _ = encode(source, "x264", MOST, tmp_path / "out.mp4", start=0.2, max_frames=4)
    assert read_info(tmp_path / "out.mp4").frames == clip.video.info.frames == 4
    assert psnr(clip, tmp_path / "out.mp4") > 44


@pytest.mark.parametrize("name", ENCODERS)
def test_key_frames_are_the_encoder_s(tmp_path, name):
    """Every frame of motion JPEG is one."""
    encode(media.make_mjpeg(tmp_path / "v.mkv"), name, 0.5, tmp_path / "out.mp4")
    assert [packet.is_keyframe for packet in packets(tmp_path / "out.mp4")].count(True) == 1


def test_x264_does_not_write_about_itself(tmp_path):
    encode(media.make_video(tmp_path / "v.mp4"), "x264", 0.5, tmp_path / "out.mp4")
    assert not any(b"x264" in bytes(packet) for packet in packets(tmp_path / "out.mp4"))


def test_frames_are_not_cut_into_slices(tmp_path):
    """As PyAV's threads would have it: several slices a frame, hence several units in a packet of H.264."""
    source = media.make_video(tmp_path / "v.mp4", media.pattern(3, 160, 320))
    encode(source, "x264", 0.5, tmp_path / "out.mp4")
    for packet in packets(tmp_path / "out.mp4"):
        data = bytes(packet)
        assert int.from_bytes(data[:4], "big") == len(data) - 4


def test_a_rate_out_of_reach_gives_the_nearest(tmp_path):
    _, baseline = encode(media.make_video(tmp_path / "v.mp4"), "x264", 1e-6, tmp_path / "out.mp4")
    assert baseline.crf == 51


@pytest.mark.parametrize("name", ["x265", "av1"])
def test_a_size_that_an_encoder_refuses(tmp_path, name, capfd):
    clip = read_clip(media.make_one_pixel(tmp_path / "v.mp4"))
    with pytest.raises(VideoError, match=f"{name} cannot encode 1x1 .*; leave {name} out") as raised:
        encode_baseline(clip, name, 1, tmp_path / "out.mp4")
    media.assert_one_line(raised.value, tmp_path / "v.mp4")
    assert [p.name for p in tmp_path.iterdir()] == ["v.mp4"]
    assert capfd.readouterr() == ("", "")


def test_an_encoder_that_is_not_there(tmp_path, monkeypatch):
    clip = read_clip(media.make_video(tmp_path / "v.mp4", media.pattern(2)))
    monkeypatch.setitem(ENCODERS, "x264", replace(ENCODERS["x264"], library="libnone"))
    with pytest.raises(
        VideoError, match="x264: this PyAV has no encoder libnone; install PyAV from PyPI or leave it out"
    ):
        encode_baseline(clip, "x264", 1, tmp_path / "out.mp4")


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("name", ENCODERS)
def test_short_videos(tmp_path, name, frames):
    for _ in range(5):  # what x265 does wrong depends on what was in memory
        clip, _ = encode(media.make_video(tmp_path / "v.mp4", media.pattern(frames)), name, 1, tmp_path / "out.mp4")
        assert read_info(tmp_path / "out.mp4").frames == frames


@pytest.mark.parametrize("name", ENCODERS)
def test_presets(tmp_path, name):
    """Faster ones come first, and every encoder knows all of them."""
    assert sorted(PRESETS.values(), reverse=True) == list(PRESETS.values())
    clip = read_clip(media.make_video(tmp_path / "v.mp4", media.pattern(1)))
    for preset in ("superfast", "placebo"):
        assert encode_baseline(clip, name, 1, tmp_path / "out.mp4", preset=preset).preset == preset


def test_nothing_is_written_to_the_terminal(tmp_path, capfd):
    for name in ENCODERS:
        encode(media.make_video(tmp_path / "v.mp4"), name, 0.5, tmp_path / "out.mp4")
    assert capfd.readouterr() == ("", "")
