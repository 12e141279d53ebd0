"""Makes the small videos, images and broken files that tests read: path in, path out."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from garv_gsplat.volume import ColorInfo

DEFAULT_RATE = Fraction(25)


def pattern(frames: int = 12, width: int = 64, height: int = 48, seed: int = 0) -> np.ndarray:
    """[T, H, W, 3] uint8: smooth moving colours, different in all four corners, so that codecs and turns are told."""
    rng = np.random.default_rng(seed)
    t, y, x = np.meshgrid(np.arange(frames), np.arange(height), np.arange(width), indexing="ij")
    channels = []
    for k in range(3):
        fx, fy, ft = rng.uniform(0.5, 1.5, 3)
        wave = np.sin(2 * np.pi * (fx * x / max(width, 8) + fy * y / max(height, 8) + 0.05 * ft * t) + k)
        ramp = x / width * (k + 1) / 3 + y / height * (3 - k) / 3
        channels.append(60 + 40 * wave + 70 * ramp)
    return np.clip(np.stack(channels, -1), 0, 255).astype(np.uint8)


def make_video(
    path: Path,
    frames: np.ndarray | None = None,
    *,
    rate: Fraction | int = DEFAULT_RATE,
    codec: str = "libx264",
    pixel_format: str = "",
    ticks: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode frames [T, H, W, 3] (default: `pattern()`), at `ticks` of `time_base` where given."""
    frames = pattern() if frames is None else frames
    height, width = frames.shape[1:3]
    even = width % 2 == 0 and height % 2 == 0
    if options is None:
        options = {"crf": "10", "preset": "veryfast"} if codec == "libx264" else {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height = width, height
        stream.pix_fmt = pixel_format or ("yuv420p" if even else "yuv444p")
        base = time_base or 1 / Fraction(rate)
        stream.codec_context.time_base = base
        for k, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame = frame.reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = k if ticks is None else ticks[k], base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def make_odd_size(path: Path) -> Path:
    """5 frames of 177x99."""
    return make_video(path, pattern(5, 177, 99))


def make_one_pixel(path: Path) -> Path:
    """3 frames of 1x1."""
    return make_video(path, pattern(3, 1, 1))


def make_one_frame(path: Path) -> Path:
    """A single frame of 64x48."""
    return make_video(path, pattern(1))


def make_rotated(path: Path, degrees: int = 90, mirrored: bool = False) -> Path:
    """An MP4 of 64x48, 6 frames, with a display matrix: clockwise quarter turns, as phones write them.

    `mirrored` swaps left and right of what is stored, before the turn.
    """
    make_video(path, pattern(6))
    cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    flip = -1 if mirrored else 1
    matrix = (flip * cos, flip * sin, 0, -sin, cos, 0, 0, 0, 1)
    data = bytearray(path.read_bytes())
    header = data.index(b"tkhd") + 4  # version and flags, then 36 bytes of times, ids and volume before the matrix
    one = (1 << 16, 1 << 16, 1 << 30)
    struct.pack_into(">9i", data, header + 40, *(value * one[k % 3] for k, value in enumerate(matrix)))
    path.write_bytes(data)
    return path


VARIABLE_TICKS = (0, 40, 70, 140, 150, 260, 300, 390)
"""milliseconds at which `make_variable_rate` shows its frames"""


def make_variable_rate(path: Path) -> Path:
    """8 frames of 64x48 at uneven times (`VARIABLE_TICKS`)."""
    frames = pattern(len(VARIABLE_TICKS))
    return make_video(path, frames, ticks=VARIABLE_TICKS, time_base=Fraction(1, 1000))


def make_ten_bit(path: Path) -> Path:
    """4 frames in yuv420p10."""
    return make_video(path, pattern(4), pixel_format="yuv420p10le")


def make_grey(path: Path) -> Path:
    """4 frames of one channel (FFV1: use .mkv)."""
    return make_video(path, pattern(4), codec="ffv1", pixel_format="gray")


def make_mjpeg(path: Path) -> Path:
    """4 frames of motion JPEG (use .mkv or .avi)."""
    return make_video(path, pattern(4), codec="mjpeg", pixel_format="yuvj420p")


def make_lossless(path: Path, frames: np.ndarray) -> Path:
    """Exactly these frames (FFV1 in RGB: use .mkv)."""
    return make_video(path, frames, codec="ffv1", pixel_format="bgr0")


LUMA = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""the parts of red and blue in luma, by the code of the matrix (ITU-T H.273, table 4)"""


def make_tagged(path: Path, frames: np.ndarray, color: ColorInfo) -> Path:
    """Frames in 4:4:4, losslessly, in the YUV that `color` says by H.273's equations, and tagged with it."""
    if color.matrix in LUMA:
        red, blue = LUMA[color.matrix]
        r, g, b = np.moveaxis(frames / 255, 3, 0)
        luma = red * r + (1 - red - blue) * g + blue * b
        chroma = [(b - luma) / (2 - 2 * blue), (r - luma) / (2 - 2 * red)]
    else:  # pictures without a meaning
        luma, chroma = frames[..., 0] / 255, [np.zeros(frames.shape[:3])] * 2
    low, luma_scale, chroma_scale = (0, 255, 255) if color.full_range else (16, 219, 224)
    planes = [low + luma_scale * luma, *(128 + chroma_scale * c for c in chroma)]
    yuv = np.clip(np.rint(np.stack(planes, 1)), 0, 255).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv444p"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = color.primaries, color.transfer, color.matrix
        context.color_range = 2 if color.full_range else 1
        for k, pixels in enumerate(yuv):
            frame = av.VideoFrame.from_ndarray(pixels, format="yuv444p")
            frame.pts, frame.time_base = k, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def make_audio_only(path: Path, cover: bool = False) -> Path:
    """A quarter of a second of sound; `cover` adds a picture of the album, which is no video (MP4)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        picture = None
        if cover:
            picture = container.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = 32, 32, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
        _mux_sound(container, stream, 0.25)
        if picture is not None:
            frame = av.VideoFrame.from_ndarray(pattern(1, 32, 32)[0], format="rgb24").reformat(format="yuvj420p")
            frame.pts = 0
            container.mux([*picture.encode(frame), *picture.encode(None)])
    return path


def make_with_sound(path: Path, sound_first: bool = False) -> Path:
    """12 frames at 25 a second, and as much sound, which is the file's second stream or its first."""
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=44100, layout="mono") if sound_first else None
        video = container.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = sound or container.add_stream("aac", rate=44100, layout="mono")
        for pixels in pattern():
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(video.encode(None))
        _mux_sound(container, sound, 0.48)
    return path


def _mux_sound(container: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    size = 1024
    for k in range(int(seconds * 44100 / size)):
        wave = np.sin(np.arange(k * size, (k + 1) * size) * 0.06).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 44100, k * size, Fraction(1, 44100)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def make_truncated(path: Path, keep: float = 0.5) -> Path:
    """A video of 50 frames cut off after the part `keep` of its bytes; an MP4 has its index in front, so it opens."""
    options = {"crf": "18", "preset": "veryfast", "g": "10"}
    with av.open(str(path), "w", container_options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as out:
        stream = out.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for pixels in pattern(50):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode(None))
    return cut(path, keep)


def make_undecodable(path: Path) -> Path:
    """An MP4 with a sound index whose pictures are all noise."""
    make_video(path, pattern(4))
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    size = struct.unpack_from(">I", data, start - 8)[0] - 8
    data[start : start + size] = b"\xff" * size
    path.write_bytes(data)
    return path


def make_text(path: Path) -> Path:
    """A text file, whatever the name says."""
    path.write_text("Dear diary,\nthis is not a video.\n" * 20)
    return path


def make_empty(path: Path) -> Path:
    """A file of no bytes."""
    path.touch()
    return path


def cut(path: Path, keep: float) -> Path:
    """Drop the end of a file, in place; `keep` is the part of its bytes that stays."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def make_images(folder: Path, frames: np.ndarray | None = None, suffix: str = ".png") -> Path:
    """A folder with frame1, frame2 ... frame10 ..., which sort differently by number and by name."""
    frames = pattern() if frames is None else frames
    folder.mkdir(parents=True, exist_ok=True)
    for k, pixels in enumerate(frames):
        Image.fromarray(pixels).save(folder / f"frame{k + 1}{suffix}")
    return folder


def make_mixed_images(folder: Path) -> Path:
    """A folder whose second image has another size than the first."""
    make_images(folder, pattern(1))
    Image.fromarray(pattern(1, 32, 20)[0]).save(folder / "frame2.png")
    return folder


def assert_one_line(error: BaseException, path: Path) -> None:
    """The message names the file or folder and is a single line that says what to do."""
    message = str(error)
    assert path.name in message
    assert "\n" not in message
    assert ";" in message
