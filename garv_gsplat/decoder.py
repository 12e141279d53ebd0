"""Decoding a `.garv`: any frame, in any order, without the ones before it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import BinaryIO, Literal

import torch
from torch import Tensor

from garv_gsplat.access import FrameAccess
from garv_gsplat.codec import GarvFile
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.regions import colors_at
from garv_gsplat.rendering import DECODING_TAU
from garv_gsplat.views import Views
from garv_gsplat.volume import Box, VideoInfo


class VideoDecoder(FrameAccess):
    """Frames of a `.garv` as tensors on the device, by the names that torchcodec has for them.

    ::

        decoder = VideoDecoder("clip.garv")
        decoder[0]                                    # uint8 [3, H, W]
        decoder[-10:]                                 # uint8 [10, 3, H, W]
        decoder.get_frames_at([5, 2, 7.5]).data       # uint8 [3, 3, H, W]; 7.5 is half way from frame 7 to 8
        decoder.get_frame_played_at(1.2).pts_seconds  # when the frame is shown that is seen at 1.2 s
        decoder.get_frame_at(5, crop=(320, 180, 640, 360), size=(160, 90), dtype=torch.float32)

    What gives frames takes three arguments more:

    crop: (x, y, w, h) in pixels, by default the whole frame. Only these are computed.
    size: (w, h) that the crop is shown at, larger or smaller; smaller is antialiased and as bright on the whole.
    dtype: torch.uint8, or torch.float16 or torch.float32 from 0 to 1.

    Threads may share a decoder. A pickled one opens its path or URL anew, for example in the workers of a DataLoader.

    They raise ValueError for a crop that is empty or leaves the video, a size below 1x1, and another dtype.
    """

    def __init__(
        self,
        source: str | os.PathLike | bytes | BinaryIO | GarvFile | VideoGaussians,
        *,
        device: torch.device | str | None = None,
        dimension_order: Literal["NCHW", "NHWC"] = "NCHW",
        tau: float = DECODING_TAU,
    ) -> None:
        """Open a `.garv`: a path, an http(s) URL, its bytes or a file object; or decode Gaussians that are at hand.

        Of a file only what frames need is read, when they are first asked for; after a few parts all the rest.

        device: where frames are decoded and stay; a GPU if there is one, else the CPU.
        dimension_order: of frames, which are [B, C, H, W] or [B, H, W, C].
        tau: grey levels of 255 below which a Gaussian is left out of a tile of 16x16 pixels; 0 leaves out nothing.

        Raises GarvFormatError for what is not a whole `.garv`, OSError where the file cannot be read.
        """
        if dimension_order not in ("NCHW", "NHWC"):
            raise ValueError(f'dimension_order must be "NCHW" or "NHWC", got {dimension_order!r}')
        if not tau >= 0:
            raise ValueError(f"tau must not be negative, got {tau}")
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.dimension_order = dimension_order
        source = source if isinstance(source, (VideoGaussians, GarvFile)) else GarvFile(source)
        self.metadata: VideoInfo = source.info
        """size and timing of the video, also by the names that torchcodec's metadata has for them"""
        self.num_gaussians = len(source) if isinstance(source, VideoGaussians) else source.num_gaussians
        self._tau = tau
        self._opened_in = os.getpid()
        self._all_views: Views | None = Views(source, tau, self.device)

    @property
    def _views(self) -> Views:
        """What is drawn from. Raises ValueError once closed, RuntimeError where CUDA is lost."""
        if self._all_views is None:
            raise ValueError("the decoder is closed; open the file again")
        if os.getpid() != self._opened_in and self.device.type == "cuda":
            raise RuntimeError(
                "the decoder was opened on a GPU before this process was forked, and CUDA does not survive that; open "
                'it in the new process, or start processes by "spawn" (DataLoader: multiprocessing_context="spawn")'
            )
        return self._all_views

    def close(self) -> None:
        """Close the file and give back the memory; nothing can be decoded any more."""
        if self._all_views is not None:
            self._all_views.source.close()
            self._all_views = None

    def __enter__(self) -> VideoDecoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self):
        arguments = {"device": self.device, "dimension_order": self.dimension_order, "tau": self._tau}
        return partial(VideoDecoder, **arguments), (self._views.source.source,)

    def line_scan(
        self, axis: str, at: float, *, size: tuple[int, int] | None = None, dtype: torch.dtype = torch.uint8
    ) -> Tensor:
        """A row or a column over all of time, as one image [C, h, w] or [h, w, C] (GaRV eq. 7).

        axis: "y" shows row y = `at`, columns x and rows t; "x" shows column x = `at`, columns t and rows y.
        at: counted from 0, with a fraction between two rows or columns.
        size: (w, h) of the image, by default a pixel for each pixel and frame. Smaller ones are antialiased.

        Raises ValueError for another axis and a row or column outside of the video.
        """
        return self._ordered(self._views.scan(axis, at, size, dtype))

    def slice_plane(
        self,
        origin: Sequence[float],
        u: Sequence[float],
        v: Sequence[float],
        size: tuple[int, int],
        *,
        dtype: torch.dtype = torch.uint8,
    ) -> Tensor:
        """Any plane of the volume over x, y and t, as one image [C, h, w] or [h, w, C].

        Pixel (i, j) shows the point origin + i u + j v. Points are (x, y, t) as pixel and frame numbers, so
        ``slice_plane((0, 0, 5), (1, 0, 0), (0, 1, 0), (W, H))`` is frame 5 and a u of (1, 0, 0.1) leans it into time.
        Outside of the video the Gaussians go on as they fade. Longer steps than one are antialiased, except where
        `metadata.motion` says that the camera moves: there a pixel shows its point alone.

        Raises ValueError for steps that span no plane.
        """
        return self._ordered(self._views.plane(origin, u, v, size, dtype))

    @torch.no_grad()
    def sample(self, points: Sequence[Sequence[float]] | Tensor) -> Tensor:
        """Colours float32 [P, C], from 0 to 1, at scattered points [P, 3]: (x, y, t) as pixel and frame numbers.

        Points that share x and y are a pixel's trace over time. Raises ValueError for points outside of the video.
        """
        points = torch.as_tensor(points, dtype=torch.float32)
        if points.ndim != 2 or points.shape[1] != 3:
            raise ValueError(f"points must be [P, 3], an x, y, t each, got {list(points.shape)}")
        info = self.metadata
        if len(points) == 0:
            return torch.zeros(0, info.channels, device=self.device)
        ends = points.new_tensor([info.width, info.height, info.frames]) - 1
        outside = ~((points >= 0) & (points <= ends)).all(1)
        if outside.any():
            raise ValueError(
                f"point {points[outside][0].tolist()} is not in the video: x is 0 to {info.width - 1}, "
                f"y 0 to {info.height - 1}, t 0 to {info.frames - 1}"
            )
        low, high = (tuple((end + 0.5).tolist()) for end in (points.amin(0), points.amax(0)))
        return colors_at(self._views.reaching(low, high), points, self._tau / 255).float().clamp(0, 1)

    def cropped(self, box: Box) -> VideoDecoder:
        """A decoder of the video inside of a box, which holds only the Gaussians that this needs.

        Its frame 0 is the first in the box, its pixel (0, 0) the box's top left one. The box's ends are rounded to
        pixels and frames; `Box.from_pixels` makes one of them. Raises ValueError for a box that leaves the video.
        """
        gaussians = self._views.cropped(box)
        return VideoDecoder(gaussians, device=self.device, dimension_order=self.dimension_order, tau=self._tau)
