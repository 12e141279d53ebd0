"""Frames to a stream that another program reads: y4m, or bare RGB."""

from __future__ import annotations

from typing import BinaryIO

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from torch import Tensor

from garv_gsplat.video.frames import VideoError
from garv_gsplat.volume import VideoInfo


class PipeWriter:
    """Write frames one after the other, as y4m (YUV 4:4:4 of 8 bits at the average rate) or as bare RGB bytes."""

    def __init__(self, stream: BinaryIO, info: VideoInfo, *, raw: bool = False) -> None:
        """Write y4m's header. Raises VideoError for other than 3 channels."""
        if info.channels != 3:
            raise VideoError(f"a stream holds RGB, the video has {info.channels} channels; write images instead")
        self._stream, self._raw = stream, raw
        # y4m names no matrix: readers guess it from the size, as they do for VideoWriter's files
        self._colorspace = Colorspace.ITU709 if info.height >= 720 else Colorspace.ITU601
        rate = info.frame_rate
        if not raw:
            size = f"W{info.width} H{info.height} F{rate.numerator}:{rate.denominator}"
            stream.write(f"YUV4MPEG2 {size} Ip A1:1 C444 XCOLORRANGE=LIMITED\n".encode())

    def write(self, frames: Tensor) -> None:
        """Append frames [B, H, W, 3] uint8, on any device. Raises OSError where nobody reads any more."""
        for pixels in frames.cpu().numpy():
            pixels = np.ascontiguousarray(pixels)
            if self._raw:
                self._stream.write(pixels)
                continue
            rgb = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            yuv = rgb.reformat(
                format="yuv444p", dst_colorspace=self._colorspace, dst_color_range=ColorRange.MPEG
            ).to_ndarray()  # [3, H, W]
            self._stream.write(b"FRAME\n")
            self._stream.write(np.ascontiguousarray(yuv))
