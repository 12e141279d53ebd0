"""Colours: what a video file says about them, and the YUV that frames are written in.

PyAV's `rgb24` obeys what a frame says: swscale undoes the frame's matrix and range, and takes BT.601 and the limited
range (16 to 235) where these are unspecified. It leaves primaries and transfer alone.
"""

from __future__ import annotations

import av
from av.video.codeccontext import VideoCodecContext

from garv_gsplat.volume import UNSPECIFIED, ColorInfo, VideoInfo

# ITU-T H.273. BT.709 has the number 1 as primaries, as transfer and as matrix.
RGB = 0
BT709 = 1
SMPTE170M = 6
"""BT.601 of 525 lines; 5, of 625 lines, is the same matrix"""
MATRICES = frozenset({BT709, 4, 5, SMPTE170M, 7, 9})
"""those that swscale converts"""


def read_color(frame: av.VideoFrame | VideoCodecContext) -> ColorInfo:
    """What a frame or stream says about its colours; a decoded frame repeats the stream, or else the container."""
    codes = (frame.color_primaries, frame.color_trc, frame.colorspace)
    # FFmpeg numbers what H.273 does not know (V-Log) from 256 on
    known = [code if code <= 255 else UNSPECIFIED for code in codes]
    return ColorInfo(*known, {1: False, 2: True}.get(frame.color_range))


def written_color(info: VideoInfo) -> ColorInfo:
    """The YUV that a file of these frames holds, and says that it holds: the source's, with nothing left unspecified.

    A matrix that swscale cannot make is replaced.
    """
    color = info.color
    # players that ignore the tag take small videos for BT.601 and large ones for BT.709
    usual = BT709 if info.height >= 720 else SMPTE170M
    return ColorInfo(
        BT709 if color.primaries == UNSPECIFIED else color.primaries,
        BT709 if color.transfer == UNSPECIFIED else color.transfer,
        color.matrix if color.matrix in MATRICES else usual,
        bool(color.full_range) and color.matrix != RGB,  # RGB's range says nothing about YUV
    )
