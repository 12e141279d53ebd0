"""The operators in plain torch: what the compiled libraries are checked against, and what runs where none was built.

All quantities are in pixels and frames. Works in float32 and float64, on any device.
"""

from __future__ import annotations

import torch
from torch import Tensor

TILE_SIZE = 16  # pixels; gaussian.h holds the same number
MIN_SIGMA = 1e-3  # pixels or frames; gaussian.h gives the reason
_PAIRS_AT_ONCE = 1 << 22  # bounds the memory of `bin_gaussians`


def slice_gaussians(means: Tensor, cholesky: Tensor, times: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Condition on times (GaRV eqs. 5, 6); differentiable.

    means [N, 3] and cholesky [N, 6] in pixels and frames, times [B] in frames. Returns 2D means [B, N, 2], weights
    p(t) [B, N] with peak 1, and 2D Cholesky factors [N, 3] (l_xx, l_yx, l_yy), which are the same at all times.
    """
    offset = _deviations(means, cholesky, times)
    means2d = means[:, :2] + offset[..., None] * cholesky[:, 1:3]
    return means2d, torch.exp(-0.5 * offset**2), _factor2d(cholesky)


def bin_gaussians(
    means: Tensor,
    cholesky: Tensor,
    cutoffs: Tensor,
    times: Tensor,
    motion: Tensor,
    width: int,
    height: int,
    capacity: int,
) -> tuple[Tensor, Tensor]:
    tiles_x, tiles_y = tile_grid(width, height)
    tiles = tiles_x * tiles_y
    tile_ids, gaussian_ids = [means.new_zeros(0, dtype=torch.int64)], [means.new_zeros(0, dtype=torch.int64)]
    for frame in range(len(times)):
        view = View(times, motion, frame)
        tile, gaussian = _pairs_of_frame(means, cholesky, cutoffs, view, tiles_x, tiles_y)
        tile_ids.append(tile + frame * tiles)
        gaussian_ids.append(gaussian)
    tile_ids, gaussian_ids = torch.cat(tile_ids), torch.cat(gaussian_ids)
    counts = torch.bincount(tile_ids, minlength=len(times) * tiles)
    isect_offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    flatten_ids = torch.zeros(capacity, dtype=torch.int32, device=means.device)
    kept = min(capacity, len(gaussian_ids))
    flatten_ids[:kept] = gaussian_ids[:kept].int()
    return isect_offsets, flatten_ids


def accumulate(
    means: Tensor,
    cholesky: Tensor,
    colors: Tensor,
    cutoffs: Tensor,
    times: Tensor,
    motion: Tensor,
    isect_offsets: Tensor,
    flatten_ids: Tensor,
    width: int,
    height: int,
) -> Tensor:
    image = colors.new_zeros(len(times), height, width, colors.shape[1])
    lists = (motion, isect_offsets, flatten_ids)
    for _, frame, ys, xs, ids in _tiles(means, cholesky, cutoffs, times, *lists, width, height):
        weights, _ = _weights(means[ids], cholesky[ids], View(times, motion, frame), xs, ys)
        image[frame, ys, xs] = torch.einsum("nhw,nc->hwc", weights, colors[ids])
    return image


def accumulate_bwd(
    v_image: Tensor,
    means: Tensor,
    cholesky: Tensor,
    colors: Tensor,
    cutoffs: Tensor,
    times: Tensor,
    motion: Tensor,
    isect_offsets: Tensor,
    flatten_ids: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    gradients = tuple(torch.zeros_like(t) for t in (means, cholesky, colors))
    lists = (cutoffs, times, motion, isect_offsets, flatten_ids)
    for _, ids, parts in _pair_gradients(v_image, means, cholesky, colors, *lists):
        for gradient, part in zip(gradients, parts):
            gradient.index_add_(0, ids, part)
    return gradients


def accumulate_bwd_pairs(
    v_image: Tensor,
    means: Tensor,
    cholesky: Tensor,
    colors: Tensor,
    cutoffs: Tensor,
    times: Tensor,
    motion: Tensor,
    isect_offsets: Tensor,
    flatten_ids: Tensor,
) -> Tensor:
    rows = means.new_zeros(len(flatten_ids), 9 + colors.shape[1])
    lists = (cutoffs, times, motion, isect_offsets, flatten_ids)
    for start, ids, parts in _pair_gradients(v_image, means, cholesky, colors, *lists):
        if start + len(ids) <= len(rows):
            rows[start : start + len(ids)] = torch.cat(parts, 1)
    return rows


def adam_step(
    rows: Tensor,
    gradient: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    steps: Tensor,
    rates: Tensor,
    beta1: float,
    beta2: float,
    eps: float,
    visible_only: bool,
) -> None:
    seen = (gradient != 0).any(1, keepdim=True) if visible_only else torch.ones_like(steps, dtype=torch.bool)
    seen = seen.to(rows.dtype)
    steps += seen
    exp_avg.lerp_(gradient, seen * (1 - beta1))
    exp_avg_sq.lerp_(gradient.square(), seen * (1 - beta2))
    counted = steps.clamp(min=1)  # or a row that was never seen would become 0 / 0
    root = (exp_avg_sq / (1 - beta2**counted)).sqrt_().add_(eps)
    rows.sub_(exp_avg / root * (seen / (1 - beta1**counted)) * rates)


def tile_grid(width: int, height: int) -> tuple[int, int]:
    """Tiles along x and y that cover an image."""
    return -(-width // TILE_SIZE), -(-height // TILE_SIZE)


def _deviations(means: Tensor, cholesky: Tensor, times: Tensor) -> Tensor:
    return (times[:, None] - means[:, 2]) / cholesky[:, 0].clamp(min=MIN_SIGMA)


def _factor2d(cholesky: Tensor) -> Tensor:
    a, b, c = cholesky[:, 3:].unbind(1)
    return torch.stack([a.clamp(min=MIN_SIGMA), b, c.clamp(min=MIN_SIGMA)], 1)


def _conics(factor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    a, b, c = factor.unbind(1)
    k = -b / (a * c)
    return 1 / a**2 + k**2, k / c, 1 / c**2


class View:
    """How one frame is seen: at a time, through a map of the plane [6] where the plane moves."""

    def __init__(self, times: Tensor, motion: Tensor, frame: int) -> None:
        self.time = times[frame]
        self._map = motion[frame].unbind() if len(motion) else None

    def slice(self, means: Tensor, cholesky: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """2D means [N, 2], weights along time [N] and 2D Cholesky factors [N, 3] as they are seen (see gaussian.h)."""
        means2d, peak, factor = slice_gaussians(means, cholesky, self.time[None])
        means2d, peak = means2d[0], peak[0]
        if self._map is None:
            return means2d, peak, factor
        xx, xy, yx, yy, x, y = self._map
        (mx, my), (a, b, c) = means2d.unbind(1), factor.unbind(1)
        p, q, r, v = xx * a + xy * b, xy * c, yx * a + yy * b, yy * c
        seen = torch.hypot(p, q)
        factor = torch.stack([seen.clamp(min=MIN_SIGMA), (p * r + q * v) / seen, (p * v - q * r) / seen], 1)
        return torch.stack([xx * mx + xy * my + x, yx * mx + yy * my + y], 1), peak, factor

    def moments_in_plane(self, moments: list[Tensor]) -> list[Tensor]:
        """The moments (see gaussian.h) in the plane that the Gaussians lie in."""
        if self._map is None:
            return moments
        xx, xy, yx, yy, _, _ = self._map
        one = 1 / (xx * yy - xy * yx)
        a, b, c, d = yy * one, -xy * one, -yx * one, xx * one
        s0, sx, sy, sxx, sxy, syy = moments
        second = [
            a * a * sxx + 2 * a * b * sxy + b * b * syy,
            a * c * sxx + (a * d + b * c) * sxy + b * d * syy,
            c * c * sxx + 2 * c * d * sxy + d * d * syy,
        ]
        return [s0, a * sx + b * sy, c * sx + d * sy, *second]


def _pairs_of_frame(means: Tensor, cholesky: Tensor, cutoffs: Tensor, view: View, tiles_x: int, tiles_y: int) -> Tensor:
    """Tile and Gaussian indices [2, P] of one frame, sorted by tile, then by Gaussian."""
    reach = cutoffs - _deviations(means, cholesky, view.time[None])[0] ** 2
    active = (reach >= 0).nonzero()[:, 0]
    means2d, _, factor = view.slice(means[active], cholesky[active])
    reach = reach[active]
    tile_y, tile_x = torch.meshgrid(torch.arange(tiles_y), torch.arange(tiles_x), indexing="ij")
    grid = torch.stack([tile_x, tile_y], -1).reshape(-1, 2).to(means)
    found = []
    for chunk in torch.arange(len(grid), device=means.device).split(max(1, _PAIRS_AT_ONCE // max(1, len(active)))):
        near = _tile_distance(means2d, factor, grid[chunk]) <= reach
        tile, gaussian = near.nonzero().unbind(1)
        found.append(torch.stack([chunk[tile], active[gaussian]]))
    return torch.cat(found, 1)


def _tile_distance(means2d: Tensor, factor: Tensor, tiles: Tensor) -> Tensor:
    """Smallest squared distance [M, N] of N slices to the pixel centres' rectangles of M tiles (see gaussian.h)."""
    A, B, C = _conics(factor)
    low = tiles[:, None] * TILE_SIZE + 0.5 - means2d
    high = low + (TILE_SIZE - 1)
    zero = torch.zeros_like(low)
    dx, dy = torch.clamp(zero, low, high).unbind(-1)
    ey = torch.clamp(-B * dx / C, low[..., 1], high[..., 1])
    ex = torch.clamp(-B * dy / A, low[..., 0], high[..., 0])
    on_vertical = A * dx**2 + 2 * B * dx * ey + C * ey**2
    on_horizontal = A * ex**2 + 2 * B * ex * dy + C * dy**2
    return torch.minimum(on_vertical, on_horizontal)


def _tiles(means, cholesky, cutoffs, times, motion, isect_offsets, flatten_ids, width, height):
    """Every tile that has Gaussians: where its list starts, frame, rows, columns, Gaussian indices."""
    tiles_x, tiles_y = tile_grid(width, height)
    offsets = isect_offsets.tolist()
    for tile in range(len(times) * tiles_x * tiles_y):
        start, end = offsets[tile], offsets[tile + 1]
        if start == end:
            continue
        frame, rest = divmod(tile, tiles_x * tiles_y)
        row, column = divmod(rest, tiles_x)
        if end <= len(flatten_ids):
            ids = flatten_ids[start:end].long()
        else:  # the list did not fit into flatten_ids: look at all Gaussians again
            everything = _pairs_of_frame(means, cholesky, cutoffs, View(times, motion, frame), tiles_x, tiles_y)
            ids = everything[1, everything[0] == rest]
        ys = slice(row * TILE_SIZE, min(height, (row + 1) * TILE_SIZE))
        xs = slice(column * TILE_SIZE, min(width, (column + 1) * TILE_SIZE))
        yield start, frame, ys, xs, ids


def _pair_gradients(v_image, means, cholesky, colors, cutoffs, times, motion, isect_offsets, flatten_ids):
    """Every tile that has Gaussians: where its list starts, Gaussian indices, gradients of means, cholesky, colors."""
    height, width = v_image.shape[1:3]
    lists = (motion, isect_offsets, flatten_ids)
    for start, frame, ys, xs, ids in _tiles(means, cholesky, cutoffs, times, *lists, width, height):
        view = View(times, motion, frame)
        weights, (dx, dy) = _weights(means[ids], cholesky[ids], view, xs, ys)
        v_tile = v_image[frame, ys, xs]
        h = torch.einsum("hwc,nc->nhw", v_tile, colors[ids]) * weights
        moments = [(h * f).sum((1, 2)) for f in (1, dx, dy, dx * dx, dx * dy, dy * dy)]
        geometry = _geometry_gradient(means[ids], cholesky[ids], view.time, view.moments_in_plane(moments))
        yield start, ids, (*geometry, torch.einsum("nhw,hwc->nc", weights, v_tile))


def _weights(means: Tensor, cholesky: Tensor, view: View, xs: slice, ys: slice):
    """Weights p(t) exp(-d/2) [N, h, w] of N Gaussians at a tile's pixels, and the distances (dx, dy) to their means."""
    means2d, peak, factor = view.slice(means, cholesky)
    a, b, c = (v[:, None, None] for v in factor.unbind(1))
    x = torch.arange(xs.start, xs.stop, dtype=means.dtype, device=means.device) + 0.5
    y = torch.arange(ys.start, ys.stop, dtype=means.dtype, device=means.device) + 0.5
    dx = (x[None, None, :] - means2d[:, 0, None, None]).expand(-1, len(y), -1)
    dy = (y[None, :, None] - means2d[:, 1, None, None]).expand(-1, -1, len(x))
    z1 = dx / a
    z2 = (dy - b * z1) / c
    return peak[:, None, None] * torch.exp(-0.5 * (z1**2 + z2**2)), (dx, dy)


def _geometry_gradient(means: Tensor, cholesky: Tensor, time: Tensor, moments: list[Tensor]) -> tuple[Tensor, Tensor]:
    """From the moments of h (see gaussian.h) to the gradients of means [N, 3] and Cholesky factors [N, 6]."""
    s0, sx, sy, sxx, sxy, syy = moments
    offset = _deviations(means, cholesky, time[None])[0]
    factor = _factor2d(cholesky)
    (a, b, c), (A, B, C) = factor.unbind(1), _conics(factor)
    l_tt, l_xt, l_yt, l_xx, _, l_yy = cholesky.unbind(1)
    v_x, v_y = A * sx + B * sy, B * sx + C * sy
    v_offset = v_x * l_xt + v_y * l_yt - offset * s0
    v_time = -v_offset / l_tt.clamp(min=MIN_SIGMA)
    v_A, v_B, v_C = -0.5 * sxx, -sxy, -0.5 * syy
    skew = b / (a * c)
    v_a = -(2 * A * v_A + B * v_B) / a
    v_b = (2 * skew * v_A - v_B / c) / (a * c)
    v_c = -2 / c * (skew**2 * v_A - skew / c * v_B + v_C / c**2)
    v_cholesky = [
        v_time * offset * (l_tt > MIN_SIGMA),
        offset * v_x,
        offset * v_y,
        v_a * (l_xx > MIN_SIGMA),
        v_b,
        v_c * (l_yy > MIN_SIGMA),
    ]
    return torch.stack([v_x, v_y, v_time], 1), torch.stack(v_cholesky, 1)
