"""Decoded frames with their times, named and shaped as torchcodec's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame; `data, pts_seconds, duration_seconds = frame` takes it apart."""

    data: Tensor
    """[C, H, W] or [H, W, C], as the decoder's dimension_order says"""
    pts_seconds: float
    """when it is shown, in seconds from the video's start"""
    duration_seconds: float
    """for how long"""

    def __iter__(self) -> Iterator[Tensor | float]:
        yield from (self.data, self.pts_seconds, self.duration_seconds)

    def __repr__(self) -> str:
        return _describe(self)


@dataclass(frozen=True, eq=False)
class FrameBatch:
    """Frames, as many as len() says; an index or a loop gives each as a `Frame`, a slice some of them."""

    data: Tensor
    """[B, C, H, W] or [B, H, W, C], as the decoder's dimension_order says"""
    pts_seconds: Tensor
    """[B] float64 on the CPU: when each is shown, in seconds from the video's start"""
    duration_seconds: Tensor
    """[B] float64 on the CPU: for how long"""

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, key: int | slice) -> Frame | FrameBatch:
        data, pts, duration = self.data[key], self.pts_seconds[key], self.duration_seconds[key]
        return FrameBatch(data, pts, duration) if pts.ndim else Frame(data, pts.item(), duration.item())

    def __iter__(self) -> Iterator[Frame]:
        return (self[k] for k in range(len(self)))

    def __repr__(self) -> str:
        return _describe(self)


def _describe(frames: Frame | FrameBatch) -> str:
    times = f"pts_seconds={frames.pts_seconds}, duration_seconds={frames.duration_seconds}"
    return f"{type(frames).__name__}(data={list(frames.data.shape)} {frames.data.dtype}, {times})"
