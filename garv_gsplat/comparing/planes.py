"""What an encoder is given: the source's own planes where it takes them."""

from __future__ import annotations

from collections.abc import Set

import av
from av.video.format import VideoFormat
from av.video.reformatter import ColorRange, Colorspace, Interpolation


def choose_format(frame: av.VideoFrame, taken: Set[str], odd_sizes: bool) -> str:
    """The pixel format to encode a frame in.

    That of the frame where the encoder takes it; else 4:2:0, as nearly all video is, of 8 or 10 bits; where that does
    not go with an odd width or height, 4:4:4.

    Args:
        frame: as it was decoded.
        taken: names of the formats that the encoder takes.
        odd_sizes: whether the encoder takes odd widths and heights with subsampled chroma.

    Returns:
        FFmpeg's name for it.
    """
    suffix = "10le" if max(part.bits for part in frame.format.components) > 8 else ""
    own = (frame.format.name, without_range(frame.format.name)) if _is_plain_yuv(frame.format) else ()
    for name in (*own, f"yuv420p{suffix}"):
        if name in taken and (odd_sizes or _divides(VideoFormat(name), frame)):
            return name
    return f"yuv444p{suffix}"


def without_range(name: str) -> str:
    """A pixel format without the letter by which FFmpeg marks some that are of full range."""
    return name.replace("yuvj", "yuv")


def convert(frame: av.VideoFrame, name: str) -> av.VideoFrame:
    """A frame in another pixel format, its matrix and range kept; RGB becomes what players expect of its size."""
    if frame.format.name == name:
        return frame
    if frame.format.is_rgb or frame.format.has_palette:
        matrix = Colorspace.ITU709 if frame.height >= 720 else Colorspace.ITU601
        return frame.reformat(
            format=name, dst_colorspace=matrix, dst_color_range=ColorRange.MPEG, interpolation=Interpolation.AREA
        )
    kept = ColorRange.JPEG if frame.format.name.startswith("yuvj") else frame.color_range
    return frame.reformat(format=name, src_color_range=kept, dst_color_range=kept, interpolation=Interpolation.AREA)


def _is_plain_yuv(format: VideoFormat) -> bool:
    """Grey is not: of a grey video that does not say, FFmpeg takes H.264 for limited range and others for full."""
    return len(format.components) == 3 and not format.is_rgb


def _divides(format: VideoFormat, frame: av.VideoFrame) -> bool:
    """Whether the frame's width and height are multiples of what one chroma value covers."""
    odd_width, odd_height = frame.width % 2, frame.height % 2
    return not (odd_width and format.chroma_width(2) == 1) and not (odd_height and format.chroma_height(2) == 1)
