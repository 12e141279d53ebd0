"""What an image should be, in double precision and with nothing culled, on a few tiles; and pairs counted there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from garv_gsplat.motion import maps_at
from garv_gsplat.ops import TILE_SIZE, motion_or_none, tile_grid
from garv_gsplat.ops._reference import View, _tile_distance
from garv_gsplat.rendering import VolumeView

# exp(-90 / 2) is 3e-20: a million of the terms that are left out beyond it add less than 1e-13.
_NEGLIGIBLE = 90.0
_AT_ONCE = 1 << 13  # Gaussians by a tile's pixels in float64: 16 MiB a tensor


@dataclass(frozen=True)
class SampledTile:
    """Pixels of one frame of a launch."""

    frame: int
    ys: slice
    xs: slice
    column: int
    row: int

    @property
    def pixels(self) -> int:
        """How many there are; less than 256 at the border."""
        return (self.ys.stop - self.ys.start) * (self.xs.stop - self.xs.start)


@dataclass(frozen=True, eq=False)
class Reference:
    """The sampled tiles as they should be."""

    tiles: list[SampledTile]
    images: list[Tensor]  # [h, w, C] float64 each, on the CPU
    pixel_pairs: float
    """Gaussians above their threshold, mean per pixel of the sampled tiles"""
    gradients: tuple[Tensor, ...] = ()
    """of means, cholesky and colors for the `v_tiles` that were given, on the CPU"""


def sample_tiles(frames: int, width: int, height: int, count: int, seed: int = 0) -> list[SampledTile]:
    """`count` tiles drawn out of all frames without repetition, or all of them if there are no more, by frame."""
    tiles_x, tiles_y = tile_grid(width, height)
    total = frames * tiles_x * tiles_y
    chosen = np.random.default_rng(seed).choice(total, min(count, total), replace=False)
    found = []
    for index in sorted(chosen.tolist()):
        frame, rest = divmod(index, tiles_x * tiles_y)
        row, column = divmod(rest, tiles_x)
        y, x = row * TILE_SIZE, column * TILE_SIZE
        ys, xs = slice(y, min(height, y + TILE_SIZE)), slice(x, min(width, x + TILE_SIZE))
        found.append(SampledTile(frame, ys, xs, column, row))
    return found


def evaluate(
    view: VolumeView,  # float64
    positions: Tensor,  # [B] float64
    tiles: list[SampledTile],
    *,
    culled: bool = False,
    v_tiles: list[Tensor] | None = None,  # [h, w, C] each
) -> Reference:
    """Evaluate eq. 3 at the tiles' pixels.

    culled: leave a Gaussian out of a tile where `view.cutoffs` says so, as a launch does; otherwise the cutoffs only
        serve to count.
    v_tiles: gradients with respect to the tiles' pixels, to be carried to the Gaussians.
    """
    images, pairs, gradients = [], 0, [torch.zeros_like(t) for t in (view.means, view.cholesky, view.colors)]
    for index, (tile, seen, alive) in enumerate(_by_frame(view, positions, tiles)):
        image = view.colors.new_zeros(tile.ys.stop - tile.ys.start, tile.xs.stop - tile.xs.start, view.colors.shape[1])
        for ids in _candidates(view, seen, alive, tile, culled).split(_AT_ONCE):
            with torch.set_grad_enabled(v_tiles is not None):
                leaves = [t[ids].requires_grad_(v_tiles is not None) for t in (view.means, view.cholesky, view.colors)]
                distances = _distances(leaves[0], leaves[1], seen, tile)
                part = torch.einsum("nhw,nc->hwc", torch.exp(-0.5 * distances), leaves[2])
            pairs += int((distances <= view.cutoffs[ids, None, None]).sum())
            image += part.detach()
            if v_tiles is not None:
                grads = torch.autograd.grad(part, leaves, v_tiles[index].to(part))
                for total, grad in zip(gradients, grads):
                    total.index_add_(0, ids, grad)
        images.append(image.cpu())
    pixels = max(1, sum(tile.pixels for tile in tiles))
    carried = tuple(g.cpu() for g in gradients) if v_tiles is not None else ()
    return Reference(tiles, images, pairs / pixels, carried)


def _by_frame(
    view: VolumeView, positions: Tensor, tiles: list[SampledTile]
) -> Iterator[tuple[SampledTile, View, Tensor]]:
    """Tiles with how their frame is seen and the Gaussians that are not negligible then."""
    frame, motion = None, motion_or_none(maps_at(view.maps, positions), positions)
    for tile in tiles:
        if tile.frame != frame:
            frame, seen = tile.frame, View(positions, motion, tile.frame)
            _, peak, _ = seen.slice(view.means, view.cholesky)
            alive = (peak >= math.exp(-0.5 * _NEGLIGIBLE)).nonzero()[:, 0]
        yield tile, seen, alive


def _candidates(view: VolumeView, seen: View, alive: Tensor, tile: SampledTile, culled: bool) -> Tensor:
    """Gaussians out of `alive` that are not negligible in the tile, by a bound that is safe; or not culled there."""
    means2d, peak, factor = seen.slice(view.means[alive], view.cholesky[alive])
    low = means2d.new_tensor([tile.xs.start + 0.5, tile.ys.start + 0.5])
    high = means2d.new_tensor([tile.xs.stop - 0.5, tile.ys.stop - 0.5])
    away = torch.linalg.vector_norm(means2d - means2d.clamp(low, high), dim=1)
    # The factor's Frobenius norm is at least its largest singular value.
    near = away**2 <= _NEGLIGIBLE * factor.square().sum(1)
    if culled:
        grid = means2d.new_tensor([[tile.column, tile.row]])
        near &= _tile_distance(means2d, factor, grid)[0] - 2 * peak.log() <= view.cutoffs[alive]
    return alive[near]


def _distances(means: Tensor, cholesky: Tensor, seen: View, tile: SampledTile) -> Tensor:
    """u^2 + d [N, h, w] of N Gaussians at the tile's pixels; differentiable."""
    means2d, peak, factor = seen.slice(means, cholesky)
    a, b, c = (v[:, None, None] for v in factor.unbind(1))
    x = torch.arange(tile.xs.start, tile.xs.stop, dtype=means.dtype, device=means.device) + 0.5
    y = torch.arange(tile.ys.start, tile.ys.stop, dtype=means.dtype, device=means.device) + 0.5
    z1 = (x[None, None, :] - means2d[:, 0, None, None]) / a
    z2 = (y[None, :, None] - means2d[:, 1, None, None] - b * z1) / c
    return z1**2 + z2**2 - 2 * peak.log()[:, None, None]
