"""Global motion: the affine map of the plane that all Gaussians follow, frame by frame, as a camera moves.

Gaussians lie in a plane that stands still; a frame shows it through the frame's own map. A map is a row of six numbers,
(xx, xy, yx, yy, x, y): the point (p, q) of the Gaussians' plane is seen at (xx p + xy q + x, yx p + yy q + y).
`VideoInfo.motion` has one a frame, from unit square to unit square; tensors of maps here are in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from garv_gsplat.volume import VideoInfo

Point = tuple[float, float, float]
"""x, y, t in pixels and frames"""


def pixel_maps(
    info: VideoInfo, device: torch.device | str | None = None, size: Sequence[float] | None = None
) -> Tensor | None:
    """The maps of a video's frames [T, 6] float32; None where nothing moves.

    size: pixels that the unit square has along x and y, by default the video's.
    """
    if info.motion is None:
        return None
    maps = info.maps * _scale(*(size or (info.width, info.height)))
    return torch.from_numpy(maps.astype(np.float32)).to(device)


def unit_maps(maps: Tensor, width: int, height: int) -> tuple[tuple[float, ...], ...]:
    """Maps in pixels [T, 6] as `VideoInfo.motion` has them."""
    return _as_motion(maps.cpu().double().numpy(), width, height)


def _as_motion(maps: np.ndarray, width: int, height: int) -> tuple[tuple[float, ...], ...]:
    return tuple(zip(*(maps / _scale(width, height)).T.tolist()))


def _scale(width: float, height: float) -> np.ndarray:
    """What the numbers of a map are in pixels, as many to the unit square."""
    return np.array([1, width / height, height / width, 1, width, height])


def maps_at(maps: Tensor | None, positions: Tensor) -> Tensor | None:
    """The maps [B, 6] at positions [B] in slices, where frame k has its centre at k + 0.5: in proportion between two
    frames, before the first and after the last one theirs. Nothing waits for the device."""
    if maps is None:
        return None
    place = (positions - 0.5).clamp(0, len(maps) - 1)
    before = place.floor()
    after = (before + 1).clamp(max=len(maps) - 1)
    return torch.lerp(maps[before.long()], maps[after.long()], (place - before)[:, None].to(maps))


def apply(maps: Tensor, points: Tensor) -> Tensor:
    """Where points [..., 2] of the Gaussians' plane are seen through maps [..., 6]."""
    p, q = points.unbind(-1)
    xx, xy, yx, yy, x, y = maps.unbind(-1)
    return torch.stack([xx * p + xy * q + x, yx * p + yy * q + y], -1)


def inverse(maps: Tensor) -> Tensor:
    """The maps [..., 6] back: from what is seen to the Gaussians' plane."""
    xx, xy, yx, yy, x, y = maps.unbind(-1)
    one = 1 / (xx * yy - xy * yx)
    a, b, c, d = yy * one, -xy * one, -yx * one, xx * one
    return torch.stack([a, b, c, d, -(a * x + b * y), -(c * x + d * y)], -1)


def after(outer: Tensor, inner: Tensor) -> Tensor:
    """The maps [..., 6] that do what `inner` does, then what `outer` does."""
    a, b, c, d, x, y = outer.unbind(-1)
    xx, xy, yx, yy, p, q = inner.unbind(-1)
    linear = [a * xx + b * yx, a * xy + b * yy, c * xx + d * yx, c * xy + d * yy]
    return torch.stack([*linear, a * p + b * q + x, c * p + d * q + y], -1)


def seen_of_plane(maps: np.ndarray, low: Sequence[float], high: Sequence[float]) -> np.ndarray:
    """What frames see of the Gaussians' plane in a window: its lowest and highest x, y [B, 4].

    maps: the frames' own [B, 6]. low, high: the window's corners x, y, in the units of the maps.
    """
    xx, xy, yx, yy, x, y = maps.T
    across = np.array([low[0], low[0], high[0], high[0]])[:, None] - x  # [4, B] of the corners
    down = np.array([low[1], high[1], low[1], high[1]])[:, None] - y
    one = 1 / (xx * yy - xy * yx)
    p, q = (yy * across - xy * down) * one, (xx * down - yx * across) * one
    return np.stack([p.min(0), q.min(0), p.max(0), q.max(0)], 1)


def box_in_plane(maps: Tensor | None, low: Point, high: Point) -> tuple[Point, Point]:
    """What a box of frames' pixels, given by its lowest and highest x, y, t, may see of the Gaussians' plane.

    maps: of all frames [T, 6], on the CPU. A pixel more on each side makes up for the way between two frames.
    """
    if maps is None:
        return low, high
    between = maps[max(0, math.ceil(low[2] - 0.5)) : max(0, math.floor(high[2] - 0.5) + 1)]
    at_ends = maps_at(maps, maps.new_tensor([low[2], high[2]]))
    x0, y0, x1, y1 = seen_of_plane(torch.cat([at_ends, between]).numpy(), low, high).T
    return (float(x0.min()) - 1, float(y0.min()) - 1, low[2]), (float(x1.max()) + 1, float(y1.max()) + 1, high[2])


def points_in_plane(info: VideoInfo, points: Tensor) -> Tensor:
    """Where points [P, 3] of frames, x, y, t in pixels and frames, lie in the Gaussians' plane at their times."""
    back = inverse(maps_at(pixel_maps(info, points.device), points[:, 2]).to(points))
    return torch.cat([apply(back, points[:, :2]), points[:, 2:]], 1)


def magnification(info: VideoInfo) -> float:
    """By how much larger frames show areas than they are in the Gaussians' plane, on average."""
    if info.motion is None:
        return 1.0
    xx, xy, yx, yy = torch.tensor(info.motion, dtype=torch.float64)[:, :4].unbind(1)
    return float((xx * yy - xy * yx).mean())


def part_of(info: VideoInfo, low: Sequence[int], high: Sequence[int]) -> tuple[tuple[float, ...], ...] | None:
    """The motion of the part of a video from pixel and frame `low` to below `high`: both planes begin at its corner."""
    if info.motion is None:
        return None
    maps = info.maps[low[2] : high[2]] * _scale(info.width, info.height)
    p, q = low[:2]
    maps[:, 4] += maps[:, 0] * p + maps[:, 1] * q - p
    maps[:, 5] += maps[:, 2] * p + maps[:, 3] * q - q
    return _as_motion(maps, high[0] - low[0], high[1] - low[1])
