"""Frames by number and by time, as torchcodec's users ask for them."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import torch
from torch import Tensor

from garv_gsplat.frame import Frame, FrameBatch
from garv_gsplat.grids import Window
from garv_gsplat.views import Views, frames_at_once
from garv_gsplat.volume import VideoInfo


class FrameAccess(ABC):
    """The calls of `VideoDecoder` that give frames; its docstring says what they have in common."""

    metadata: VideoInfo
    """size and timing of the video"""
    dimension_order: str
    """of frames: "NCHW" or "NHWC\""""
    device: torch.device
    """where frames are"""

    @property
    @abstractmethod
    def _views(self) -> Views:
        """What is drawn from."""

    def __len__(self) -> int:
        return self.metadata.frames

    def __getitem__(self, key: int | slice) -> Tensor:
        """The frame of an index, uint8, or the frames of a slice; negative indices count from the end."""
        if isinstance(key, slice):
            return self._decode(range(len(self))[key], None, None, torch.uint8)
        if isinstance(key, float):
            raise TypeError(f"an index is a whole number, got {key}; get_frame_at renders between frames, too")
        return self._ordered(self._views.frame(self.metadata.frame_number(key)))

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
        for chosen in self._batches(indices, batch, crop, size):
            yield self._decode(chosen, crop, size, dtype)

    def reader(
        self,
        indices: Iterable[float] | None = None,
        *,
        threads: int = 1,
        batch: int | None = None,
        crop: Window | None = None,
        size: tuple[int, int] | None = None,
        dtype: torch.dtype = torch.uint8,
    ) -> Iterator[Tensor]:
        """What `frames` gives, decoded by threads while the frames before are in use.

        threads: how many; as many batches and one more are ready ahead.
        """
        if threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        # Threads have streams of their own; what they draw is to be in order with what the caller does with it.
        stream = torch.cuda.current_stream(self.device) if self.device.type == "cuda" else None

        def decode(chosen: Sequence[float]) -> Tensor:
            with torch.cuda.stream(stream):
                return self._decode(chosen, crop, size, dtype)

        pool, ahead = ThreadPoolExecutor(threads), deque()
        try:
            for chosen in self._batches(indices, batch, crop, size):
                ahead.append(pool.submit(decode, chosen))
                if len(ahead) > threads + 1:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _batches(
        self, indices: Iterable[float] | None, batch: int | None, crop: Window | None, size: tuple[int, int] | None
    ) -> list[Sequence[float]]:
        """Numbers of frames for one draw after the other; what all of them need is read here, at once."""
        if batch is not None and batch < 1:
            raise ValueError(f"batch must be at least 1 frame, got {batch}")
        chosen = range(len(self)) if indices is None else [self.metadata.frame_number(i) for i in indices]
        _, window = self._views.prepare(chosen, crop, size)
        batch = batch or frames_at_once(*window[2:])
        return [chosen[start : start + batch] for start in range(0, len(chosen), batch)]

    @property
    def frames_per_launch(self) -> int:
        """Frames that are decoded at once."""
        return frames_at_once(self.metadata.width, self.metadata.height)

    def _batch(
        self, chosen: Sequence[float], crop: Window | None, size: tuple[int, int] | None, dtype: torch.dtype
    ) -> FrameBatch:
        data = self._decode(chosen, crop, size, dtype)  # first, so that a GPU has begun
        whole = torch.tensor([int(i) for i in chosen], dtype=torch.int64)
        pts, durations = (times[whole] for times in self._times)
        for k, number in enumerate(chosen):
            if not isinstance(number, int):
                pts[k] = float(self.metadata.seconds(number))
        return FrameBatch(data, pts, durations)

    @cached_property
    def _times(self) -> tuple[Tensor, Tensor]:
        """When each frame is shown, and for how long, in seconds [T] float64: fractions take longer than frames do."""
        info = self.metadata
        moments = ([float(time(k)) for k in range(info.frames)] for time in (info.seconds, info.frame_duration))
        pts, durations = (torch.tensor(seconds, dtype=torch.float64) for seconds in moments)
        return pts, durations

    def _decode(
        self, chosen: Sequence[float], crop: Window | None, size: tuple[int, int] | None, dtype: torch.dtype
    ) -> Tensor:
        return self._ordered(self._views.draw(chosen, crop, size, dtype))

    def _ordered(self, images: Tensor) -> Tensor:
        """Images [..., H, W, C] in the decoder's order of dimensions, without a copy."""
        return images.permute(*range(images.ndim - 3), -1, -3, -2) if self.dimension_order == "NCHW" else images
