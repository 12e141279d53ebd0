"""Decoding a `.garv`: any frame, in any order, without the ones before it."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import BinaryIO, Literal

import torch
from torch import Tensor

from garv_gsplat.codec import GarvFile
from garv_gsplat.frame import Frame, FrameBatch
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.rendering import DECODING_TAU
from garv_gsplat.views import Views, Window, frames_at_once
from garv_gsplat.volume import VideoInfo


class VideoDecoder:
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
        """size and timing of the video"""
        self.num_gaussians = len(source) if isinstance(source, VideoGaussians) else source.num_gaussians
        self._tau = tau
        self._opened_in = os.getpid()
        self._all_views: Views | None = Views(source, tau, self.device)

    @property
    def _views(self) -> Views:
        """What is drawn from. Raises ValueError once closed, RuntimeError where CUDA is lost."""
        if self._all_views is None:
            raise ValueError("the decoder is closed; open the file again")
        if self.device.type == "cuda" and os.getpid() != self._opened_in:
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

    def __len__(self) -> int:
        return self.metadata.frames

    def __getitem__(self, key: int | slice) -> Tensor:
        """The frame of an index, uint8, or the frames of a slice; negative indices count from the end."""
        if isinstance(key, slice):
            return self._decode(range(len(self))[key], None, None, torch.uint8)
        if isinstance(key, float):
            raise TypeError(f"an index is a whole number, got {key}; get_frame_at renders between frames, too")
        return self._decode([self.metadata.frame_number(key)], None, None, torch.uint8)[0]

    def __iter__(self) -> Iterator[Tensor]:
        """Every frame in turn."""
        for batch in self.frames():
            yield from batch

    def get_frame_at(
        self,
        index: float,
        *,
        crop: Window | None = None,
        size: tuple[int, int] | None = None,
        dtype: torch.dtype = torch.uint8,
    ) -> Frame:
        """The frame of a number, which may have a fraction; negative ones count from the end.

        Raises IndexError for a number outside of the video, TypeError for what is no number.
        """
        return self.get_frames_at([index], crop=crop, size=size, dtype=dtype)[0]

    def get_frames_at(
        self,
        indices: Sequence[float] | Tensor,
        *,
        crop: Window | None = None,
        size: tuple[int, int] | None = None,
        dtype: torch.dtype = torch.uint8,
    ) -> FrameBatch:
        """The frames of numbers [B], in that order; `get_frame_at` says which there are."""
        chosen = [self.metadata.frame_number(i) for i in (indices.tolist() if isinstance(indices, Tensor) else indices)]
        return self._batch(chosen, crop, size, dtype)

    def get_frames_in_range(
        self,
        start: int,
        stop: int,
        step: int = 1,
        *,
        crop: Window | None = None,
        size: tuple[int, int] | None = None,
        dtype: torch.dtype = torch.uint8,
    ) -> FrameBatch:
        """Every `step`-th frame from start to before stop. Raises IndexError where they leave the video."""
        start, stop, step = map(operator.index, (start, stop, step))
        if not (0 <= start <= stop <= len(self) and step >= 1):
            raise IndexError(
                f"frames {start} to {stop} in steps of {step} do not exist: start and stop rise within "
                f"0 to {len(self)}, step is at least 1"
            )
        return self._batch(range(start, stop, step), crop, size, dtype)

    def get_frame_played_at(
        self,
        seconds: float,
        *,
        crop: Window | None = None,
        size: tuple[int, int] | None = None,
        dtype: torch.dtype = torch.uint8,
    ) -> Frame:
        """The frame that is shown at a moment. Raises ValueError for one outside of the video."""
        return self.get_frame_at(self.metadata.frame_at(seconds), crop=crop, size=size, dtype=dtype)

    def get_frames_played_at(
        self,
        seconds: Sequence[float] | Tensor,
        *,
        crop: Window | None = None,
        size: tuple[int, int] | None = None,
        dtype: torch.dtype = torch.uint8,
    ) -> FrameBatch:
        """The frames that are shown at moments [B]. Raises ValueError for one outside of the video."""
        moments = seconds.tolist() if isinstance(seconds, Tensor) else seconds
        return self._batch([self.metadata.frame_at(moment) for moment in moments], crop, size, dtype)

    def get_frames_played_in_range(
        self,
        start_seconds: float,
        stop_seconds: float,
        *,
        fps: float | None = None,
        crop: Window | None = None,
        size: tuple[int, int] | None = None,
        dtype: torch.dtype = torch.uint8,
    ) -> FrameBatch:
        """The frames that are shown from one moment to before another.

        fps: so many frames a second instead, evenly spaced from the start on and each rendered at its own moment.

        Raises ValueError where the moments leave the video.
        """
        return self._batch(self.metadata.frames_between(start_seconds, stop_seconds, fps), crop, size, dtype)

    def frames(
        self,
        indices: Iterable[float] | None = None,
        *,
        batch: int | None = None,
        crop: Window | None = None,
        size: tuple[int, int] | None = None,
        dtype: torch.dtype = torch.uint8,
    ) -> Iterator[Tensor]:
        """The whole video, or the frames of given numbers, one after the other.

        batch: frames at a time; by default as many as one launch decodes.
        """
        batch = self.frames_per_launch if batch is None else batch
        if batch < 1:
            raise ValueError(f"batch must be at least 1 frame, got {batch}")
        chosen = range(len(self)) if indices is None else [self.metadata.frame_number(i) for i in indices]
        self._views.prepare(chosen, crop, size)  # reads at once what all of them need
        for start in range(0, len(chosen), batch):
            yield self._decode(chosen[start : start + batch], crop, size, dtype)

    @property
    def frames_per_launch(self) -> int:
        """Frames that are decoded at once."""
        return frames_at_once(self.metadata.width, self.metadata.height)

    def _batch(
        self, chosen: Sequence[float], crop: Window | None, size: tuple[int, int] | None, dtype: torch.dtype
    ) -> FrameBatch:
        info = self.metadata
        pts = torch.tensor([float(info.seconds(i)) for i in chosen], dtype=torch.float64)
        durations = torch.tensor([float(info.frame_duration(int(i))) for i in chosen], dtype=torch.float64)
        return FrameBatch(self._decode(chosen, crop, size, dtype), pts, durations)

    def _decode(
        self, chosen: Sequence[float], crop: Window | None, size: tuple[int, int] | None, dtype: torch.dtype
    ) -> Tensor:
        images = self._views.draw(chosen, crop, size, dtype)
        return images.permute(0, 3, 1, 2) if self.dimension_order == "NCHW" else images
