"""Parts of a video: the Gaussians that a box needs, and those of two encodings with the weights that a region gives."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from garv_gsplat.ops import _schema  # noqa: F401  (defines torch.ops.garv)
from garv_gsplat.ops._budgets import no_motion
from garv_gsplat.ops._library import ensure_kernels

Gaussians = tuple[Tensor, Tensor, Tensor]
"""means [N, 3] x, y, t, cholesky [N, 6] and colors [N, C], in the unit cube"""


@torch.no_grad()
def crop_gaussians(
    gaussians: Gaussians,
    size: Sequence[int],  # width, height, frames of the video
    low: Sequence[int],  # x, y, t in pixels and frames
    high: Sequence[int],  # likewise, behind the last
    threshold: float,
    seen: tuple[Sequence[float], Sequence[float]] | None = None,
) -> Gaussians:
    """The Gaussians that add `threshold` of white somewhere in a box, in their order and in the unit cube of the box.

    seen: where the plane moves, the lowest and highest x, y, t, in pixels and frames, that the box sees of it: where
        Gaussians have to add as much.

    Waits once for the device, for their number. Not differentiable.
    """
    _check_gaussians(gaussians)
    if not all(a < b for a, b in zip(low, high)) or not len(size) == len(low) == len(high) == 3:
        raise ValueError(f"the box must hold pixels and frames along x, y and t, got {low} to {high} of {size}")
    first, last = seen or (low, high)
    ensure_kernels(gaussians[0].device)
    return torch.ops.garv.crop_gaussians(*(t.contiguous() for t in gaussians), size, low, high, first, last, threshold)


@torch.no_grad()
def join_weighted(
    gaussians: Gaussians,
    weights: Tensor,  # [N]
    others: Gaussians,
    hidden: Tensor,  # [M]
) -> Gaussians:
    """The Gaussians whose weight is not 0, those of `others` last, with colours scaled by it: `weights` of the first,
    1 - `hidden` of the others.

    Waits once for the device, for their number. Not differentiable.
    """
    _check_gaussians(gaussians)
    _check_gaussians(others)
    for given, wanted in ((weights, len(gaussians[0])), (hidden, len(others[0]))):
        if given.shape != (wanted,):
            raise ValueError(f"weights must be one a Gaussian, [{wanted}], got {list(given.shape)}")
    ensure_kernels(weights.device)
    tensors = (*gaussians, weights, *others, hidden)
    return torch.ops.garv.join_weighted(*(t.contiguous() for t in tensors))


@torch.no_grad()
def region_weights(
    means: Tensor,  # [N, 3] x, y, t; unit cube
    cholesky: Tensor,  # [N, 6]
    boxes: Tensor,  # [7, K]
    spread: Tensor,  # [3] lengths along x, y, t
    narrower: float,
    feather: float,
    maps: Tensor | None = None,  # [T, 6]
) -> Tensor:
    """How much Gaussians belong to a union of boxes [N]: 1 up to `feather` units around it, then over as much to 0.

    boxes: columns of low x, y, t, high x, y, t, sorted by low t, and the highest high t of a box and those before it.
    The unit is `spread`, or `narrower` times a Gaussian's own standard deviation where that is larger. The closest of
    its mean and the places of its picture a standard deviation of time before and after counts. Not differentiable.

    maps: how frames see the plane that the Gaussians lie in, where it moves, (xx, xy, yx, yy, x, y) from unit square to
        unit square: Gaussians count as frames see them at their mean time.
    """
    n = len(means)
    if means.shape != (n, 3) or cholesky.shape != (n, 6) or spread.shape != (3,) or boxes.shape[:-1] != (7,):
        shapes = [list(t.shape) for t in (means, cholesky, spread, boxes)]
        raise ValueError(f"means, cholesky, spread and boxes must be [N, 3], [N, 6], [3] and [7, K], got {shapes}")
    ensure_kernels(means.device)
    tensors = (means, cholesky, _maps_or_none(maps, means), boxes, spread)
    return torch.ops.garv.region_weights(*(t.contiguous() for t in tensors), narrower, feather)


@torch.no_grad()
def typical_spread(means: Tensor, cholesky: Tensor, maps: Tensor | None = None) -> Tensor:
    """Geometric means of the standard deviations of Gaussians along x, y and t [3].

    means [N, 3], cholesky [N, 6] and maps [T, 6]: those of `region_weights`.
    """
    if means.shape != (len(means), 3) or cholesky.shape != (len(means), 6):
        shapes = [list(t.shape) for t in (means, cholesky)]
        raise ValueError(f"means and cholesky must be [N, 3] and [N, 6], got {shapes}")
    ensure_kernels(means.device)
    tensors = (means, cholesky, _maps_or_none(maps, means))
    return torch.ops.garv.typical_spread(*(t.contiguous() for t in tensors))


def _maps_or_none(maps: Tensor | None, means: Tensor) -> Tensor:
    if maps is None:
        return no_motion(means.device, means.dtype)
    if maps.shape != (len(maps), 6):
        raise ValueError(f"maps must be [T, 6], a map for each frame, got {list(maps.shape)}")
    return maps


def _check_gaussians(gaussians: Gaussians) -> None:
    means, cholesky, colors = gaussians
    n = len(means)
    if means.shape != (n, 3) or cholesky.shape != (n, 6) or colors.shape[:-1] != (n,):
        shapes = [list(t.shape) for t in gaussians]
        raise ValueError(f"means, cholesky and colors must be [N, 3], [N, 6] and [N, C], got {shapes}")
