"""Global motion: the affine map of the plane that all Gaussians follow, frame by frame, as a camera moves.

Gaussians lie in a plane that stands still; a frame shows it through the frame's own map. A map is a row of six numbers,
(xx, xy, yx, yy, x, y): the point (p, q) of the Gaussians' plane is seen at (xx p + xy q + x, yx p + yy q + y).
`VideoInfo.motion` has one a frame, from unit square to unit square; tensors of maps here are in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from garv_gsplat.volume import VideoInfo


def pixel_maps(
    info: VideoInfo, device: torch.device | str | None = None, size: Sequence[float] | None = None
) -> Tensor | None:
    """The maps of a video's frames [T, 6] float32; None where nothing moves.

    size: pixels that the unit square has along x and y, by default the video's.
    """
    if info.motion is None:
        return None
    width, height = size or (info.width, info.height)
    scale = torch.tensor([1, width / height, height / width, 1, width, height], dtype=torch.float64)
    return (torch.tensor(info.motion, dtype=torch.float64) * scale).float().to(device)


def unit_maps(maps: Tensor, width: int, height: int) -> tuple[tuple[float, ...], ...]:
    """Maps in pixels [T, 6] as `VideoInfo.motion` has them."""
    scale = torch.tensor([1, height / width, width / height, 1, 1 / width, 1 / height], dtype=torch.float64)
    return tuple(map(tuple, (maps.cpu().double() * scale).tolist()))


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
