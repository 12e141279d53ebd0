"""Which pixels of a scaled video a call shows: grids, windows on them, and the boxes of the volume that these need."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor

from garv_gsplat.motion import Point, maps_at, seen_of_plane
from garv_gsplat.volume import VideoInfo

Window = tuple[int, int, int, int]
"""left, top, width, height in pixels"""


class Grid(NamedTuple):
    """The pixels of a video that was scaled: `scale` of them for each of its own, the first one `shift` further on."""

    scale: tuple[float, float]
    """along x and y"""
    shift: tuple[float, float]
    """in pixels of the grid, from 0 to below 1"""


NATIVE = Grid((1.0, 1.0), (0.0, 0.0))
"""the video's own pixels"""


def place(info: VideoInfo, crop: Window | None, size: tuple[int, int] | None) -> tuple[Grid, Window]:
    """The grid whose pixels show `crop` at `size`, and where on it they lie.

    Crops of one scale share a grid, those of the video's own scale all do. Raises ValueError for a crop that is empty
    or leaves the video, and for a size below 1x1; TypeError for what are no whole numbers.
    """
    whole = (0, 0, info.width, info.height)
    crop = whole if crop is None else check_crop(info, crop)
    if size is None:
        return NATIVE, crop
    size = check_size(size)
    scale = tuple(Fraction(n, m) for n, m in zip(size, crop[2:]))
    start = [n * s for n, s in zip(crop[:2], scale)]
    grid = Grid(tuple(map(float, scale)), tuple(float(n % 1) for n in start))
    return grid, (int(start[0]), int(start[1]), *size)


def check_crop(info: VideoInfo, crop: Sequence[int]) -> Window:
    """`crop` as whole numbers. Raises ValueError where it is empty or leaves the video."""
    x, y, width, height = crop = _whole_numbers("crop", crop, "(x, y, w, h)")
    if width < 1 or height < 1:
        raise ValueError(f"crop must hold a pixel, got {crop}: width and height are at least 1")
    if x < 0 or y < 0 or x + width > info.width or y + height > info.height:
        raise ValueError(f"crop {crop} leaves the video: x + w is 0 to {info.width}, y + h is 0 to {info.height}")
    return crop


def check_size(size: Sequence[int]) -> tuple[int, int]:
    """`size` as whole numbers. Raises ValueError where it is below 1x1."""
    width, height = size = _whole_numbers("size", size, "(w, h)")
    if min(size) < 1:
        raise ValueError(f"size must be at least 1x1, got {width}x{height}")
    return size


def check_plane(origin: Sequence[float], u: Sequence[float], v: Sequence[float]) -> tuple[Tensor, Tensor, Tensor]:
    """A point and two steps as vectors [3] float64. Raises ValueError where they are none, or span no plane."""
    if not len(origin) == len(u) == len(v) == 3:
        raise ValueError(f"origin, u and v must be (x, y, t) each, got {origin}, {u} and {v}")
    origin, u, v = (torch.tensor([float(n) for n in point], dtype=torch.float64) for point in (origin, u, v))
    if not torch.linalg.cross(u, v).norm() > 1e-6 * u.norm() * v.norm() > 0 or not origin.isfinite().all():
        raise ValueError(f"u and v must span a plane, got steps {u.tolist()} and {v.tolist()} from {origin.tolist()}")
    return origin, u, v


def _whole_numbers(name: str, values: Sequence[int], form: str) -> tuple[int, ...]:
    values = tuple(map(operator.index, values))
    if len(values) != form.count(",") + 1:
        raise ValueError(f"{name} must be {form}, got {values}")
    return values


def boxes(frames: Sequence[float], grid: Grid, window: Window, maps: Tensor | None) -> Iterator[tuple[Point, Point]]:
    """Boxes around what frames show, and one pixel of the grid more, which is as far as antialiasing looks.

    maps: of all frames [T, 6] in pixels, on the CPU, where the plane moves: boxes are what each frame sees of it then.
    """
    spans = [
        ((start + shift - 1) / scale, (start + shift + count + 1) / scale)
        for start, count, scale, shift in zip(window[:2], window[2:], *grid)
    ]
    (x0, x1), (y0, y1) = spans
    if maps is not None:
        times = maps.new_tensor([*frames]) + 0.5
        seen = seen_of_plane(maps_at(maps, times).numpy(), (x0, y0), (x1, y1)).tolist()
        yield from (((left, top, t), (right, bottom, t)) for t, (left, top, right, bottom) in zip(times.tolist(), seen))
    elif isinstance(frames, range) and len(frames) and frames.step == 1:
        yield (x0, y0, frames[0] + 0.5), (x1, y1, frames[-1] + 0.5)
    else:
        yield from (((x0, y0, frame + 0.5), (x1, y1, frame + 0.5)) for frame in frames)
