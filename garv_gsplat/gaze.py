"""Regions of a video that matter more than the rest, such as where a viewer looks."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf, sqrt

import numpy as np
import torch
from torch import Tensor

from garv_gsplat.volume import Box, VideoInfo

Window = tuple[float, float, float, float]
"""left, top, width, height in pixels"""


@dataclass(frozen=True)
class Region:
    """The union of boxes. What touches an end of the video goes on beyond it, as Gaussians do."""

    boxes: tuple[Box, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "boxes", tuple(self.boxes))
        if not self.boxes:
            raise ValueError("a region must hold some of the video, got no box")

    @classmethod
    def moving(cls, info: VideoInfo, places: Iterable[tuple[float, Window]]) -> Region:
        """A window that moves: where it is at given seconds, in proportion between them, at rest before and after.

        Raises ValueError for no places, and for times that do not rise.
        """
        times, windows = [], []
        for seconds, window in places:
            times.append(float(seconds))
            windows.append(np.array(window, np.float64))
        if not times or any(b <= a for a, b in zip(times, times[1:])):
            raise ValueError(f"the times of a moving region must rise, and there must be one; got {times}")
        return cls.of_frames(info, [_between(times, windows, float(info.seconds(k))) for k in range(info.frames)])

    @classmethod
    def of_frames(cls, info: VideoInfo, windows: Sequence[Window]) -> Region:
        """A window for each frame; where it leaves the picture it is cut off.

        Raises ValueError for another number of windows than frames, and where none shows anything.
        """
        if len(windows) != info.frames:
            raise ValueError(f"windows must be one a frame ({info.frames}), got {len(windows)}")
        cells = [[cell] if (cell := _cut(window, info.width, info.height)) else [] for window in windows]
        return cls(_boxes_of_frames(cells, info.width, info.height))

    @classmethod
    def from_mask(cls, mask: Tensor | np.ndarray) -> Region:
        """Where a mask [T, H, W], or [H, W] for all of time, is true; at any resolution, a coarse one is quicker.

        Raises ValueError for another shape, and for a mask that is false everywhere.
        """
        mask = np.asarray(mask.cpu() if isinstance(mask, Tensor) else mask).astype(bool)
        mask = mask[None] if mask.ndim == 2 else mask
        if mask.ndim != 3:
            raise ValueError(f"mask must be [T, H, W] or [H, W], got {list(mask.shape)}")
        return cls(_boxes_of_frames([_rectangles(frame) for frame in mask], mask.shape[2], mask.shape[1]))

    @classmethod
    def random(cls, info: VideoInfo, part: float = 0.04, hold: float = 0.5, seed: int = 0) -> Region:
        """A gaze that jumps every `hold` seconds: windows of the video's shape that hold `part` of its pixels."""
        chance, side = random.Random(seed), sqrt(part)
        width, height = (max(1, round(side * n)) for n in (info.width, info.height))
        looks: dict[int, Window] = {}
        for frame in range(info.frames):
            look = int(info.seconds(frame) / hold)
            if look not in looks:
                place = chance.randint(0, info.width - width), chance.randint(0, info.height - height)
                looks[look] = (*place, width, height)
        return cls.of_frames(info, [looks[int(info.seconds(k) / hold)] for k in range(info.frames)])

    @cached_property
    def columns(self) -> Tensor:
        """The boxes as `ops.region_weights` wants them [7, K] float64; what touches an end of the video goes on."""
        ends = np.array([(box.x0, box.y0, box.t0, box.x1, box.y1, box.t1) for box in self.boxes]).T
        low, high = ends[:, ends[2].argsort(kind="stable")].reshape(2, 3, -1)
        low, high = np.where(low > 0, low, -inf), np.where(high < 1, high, inf)
        return torch.from_numpy(np.concatenate([low, high, np.maximum.accumulate(high[2:], 1)])).contiguous()

    def mask(self, info: VideoInfo) -> Tensor:
        """Which pixels lie in the region [T, H, W] bool: those whose centres do."""
        mask = torch.zeros(info.frames, info.height, info.width, dtype=torch.bool)
        for box in self.boxes:
            ends = [(round(a * n), round(b * n)) for n, (a, b) in zip(mask.shape[::-1], map(box.range, "xyt"))]
            mask[tuple(slice(*pair) for pair in reversed(ends))] = True
        return mask


def _between(times: Sequence[float], windows: Sequence[np.ndarray], seconds: float) -> np.ndarray:
    after = bisect_right(times, seconds)
    if after in (0, len(times)):
        return windows[max(0, after - 1)]
    part = (seconds - times[after - 1]) / (times[after] - times[after - 1])
    return (1 - part) * windows[after - 1] + part * windows[after]


def _cut(window: Window, width: int, height: int) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom of what is left of a window inside of the picture."""
    x, y, w, h = window
    left, top, right, bottom = max(0.0, x), max(0.0, y), min(float(width), x + w), min(float(height), y + h)
    return (left, top, right, bottom) if left < right and top < bottom else None


def _rectangles(mask: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Left, top, right, bottom of rectangles that make up a mask [H, W]: runs of rows that are alike."""
    found, growing = [], {}
    for y, row in enumerate([*mask, np.zeros(mask.shape[1], bool)]):
        runs = np.flatnonzero(np.diff(np.pad(row, 1))).reshape(-1, 2).tolist()
        still = {(left, right): growing.get((left, right), y) for left, right in runs}
        found += [(left, top, right, y) for (left, right), top in growing.items() if (left, right) not in still]
        growing = still
    return found


def _boxes_of_frames(cells: Sequence[list], width: int, height: int) -> tuple[Box, ...]:
    """Boxes of the rectangles of each frame; those of frames that are alike become one."""
    boxes, start, frames = [], 0, len(cells)
    for k in range(1, frames + 1):
        if k < frames and cells[k] == cells[start]:
            continue
        for left, top, right, bottom in cells[start]:
            boxes.append(Box(left / width, top / height, start / frames, right / width, bottom / height, k / frames))
        start = k
    return tuple(boxes)
