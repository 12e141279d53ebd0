"""Gaussians as decoding wants them: 32 bytes each, sorted by when they are alive, wide ones on coarser grids."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from garv_gsplat.gaussians import neighbour_order
from garv_gsplat.motion import maps_at
from garv_gsplat.ops import CHUNK_SIZE, MAX_LEVELS, MIN_SIGMA, UPSAMPLING_VARIANCE, Drawing, ListBudget

RECORD_CHANNELS = 4

# Samples: a Gaussian whose narrower standard deviation is at least this on a grid is drawn there. Interpolating the
# narrowest costs up to 2e-3, 4e-3 and 5e-3 of their peak on the three coarse grids; from 1.4 samples on it is 3e-4,
# less than the records' rounding.
COARSE_SIGMA = 1.2
_MOST_GAIN = 4.0  # by which narrowing brightens: 2.8 on the coarsest level for the least wide
_WORTHWHILE = 1 / 32  # of all Gaussians: a level with fewer of them costs more than it saves


@dataclass(frozen=True)
class PackedVolume:
    """A `VolumeView` packed for `ops.draw`: chunks of neighbours in time, each of one level.

    A record's lengths are in samples of its level's grid, which has a sample for 2^level x 2^level pixels.
    Interpolating a level widens what is drawn there, so its Gaussians are stored narrower by as much and brighter, with
    the same sum; where the plane moves that is done as they are drawn. A record holds four channels; of more, there is
    a volume for every four: `pack_channels`.
    """

    records: Tensor  # [CHUNK_SIZE * M, 8] int32: x, y, t as float32, then cholesky (6) and colour (4) as float16
    chunks: Tensor  # [M, 4] float32: first and last time at which a Gaussian is alive, level, 0
    levels: int
    channels: int
    tau: float
    maps: Tensor | None = None  # [T, 6] how each slice sees the Gaussians' plane, in pixels, where it moves

    def to(self, device: torch.device | str) -> PackedVolume:
        """The same on `device`."""
        records, chunks = self.records.to(device), self.chunks.to(device)
        maps = None if self.maps is None else self.maps.to(device)
        return PackedVolume(records, chunks, self.levels, self.channels, self.tau, maps)

    def draw(
        self,
        positions: Tensor,  # [B] slices
        window: tuple[int, int, int, int],  # left, top, width, height in pixels
        budget: ListBudget,
        *,
        dtype: torch.dtype = torch.uint8,
        motion: Tensor | None = None,
    ) -> Tensor:
        """Images [B, height, width, C] of a window; uint8 rounded from [0, 255], or float32 not clamped.

        motion: the maps at `positions` [B, 6], where the plane moves and they are at hand: to interpolate them takes
            eight small kernels.
        """
        if positions.shape[0] == 0:  # nothing to learn from
            return self.records.new_empty(0, window[3], window[2], self.channels, dtype=dtype)
        motion = maps_at(self.maps, positions) if motion is None else motion
        return budget.run(lambda room, missing: self._drawing(positions, window, room, missing, dtype, motion))

    @cached_property
    def _drawing(self) -> Drawing:
        return Drawing(self.records, self.chunks, self.levels, self.channels, self.tau)


def pack(
    means: Tensor,  # [N, 3] columns, rows, slices
    cholesky: Tensor,  # [N, 6] slices first
    colors: Tensor,  # [N, C], C at most 4
    tau: float,
    maps: Tensor | None = None,  # [T, 6]
) -> PackedVolume:
    """Pack Gaussians given in pixels and slices, on their device.

    What stays below tau / 255 everywhere is left out, and what is not a number. Positions are rounded to float32,
    everything else to float16: by up to 2^-11 of each number.
    """
    levels = _levels(cholesky, 1.0 if maps is None else float(_least_scale(maps)))
    largest = colors.abs().amax(1)
    if maps is None:
        means, cholesky, colors = _on_grid(means, cholesky, colors, levels)
        largest = colors.abs().amax(1)
    else:
        means, cholesky = _scaled(means, cholesky, levels)
        largest = largest * torch.where(levels > 0, _MOST_GAIN, 1.0)
    radius = torch.full_like(means[:, 0], math.inf)
    if tau > 0:
        radius = (2 * (largest * (255 / tau)).log()).sqrt()
    reach = radius * cholesky[:, 0].clamp(min=MIN_SIGMA)  # NaN where a Gaussian is never alive
    # One that is not a number would draw nothing, but make its chunk's bounds NaN, too.
    kept = ((reach >= 0) & torch.cat([means, cholesky, colors], 1).isfinite().all(1)).nonzero()[:, 0]
    kept = kept[_order(means[kept], reach[kept], levels[kept])]
    records = _records(means[kept], cholesky[kept], colors[kept])
    first, last = (means[kept, 2] + sign * reach[kept] for sign in (-1, 1))
    packed, chunks = [], []
    counts = torch.bincount(levels[kept], minlength=1).tolist()
    for level, part in enumerate(zip(*(t.split(counts) for t in (records, first, last)))):
        padding = -len(part[0]) % CHUNK_SIZE
        packed.append(torch.nn.functional.pad(part[0], (0, 0, 0, padding)))
        begin = torch.nn.functional.pad(part[1], (0, padding), value=math.inf).view(-1, CHUNK_SIZE).amin(1)
        end = torch.nn.functional.pad(part[2], (0, padding), value=-math.inf).view(-1, CHUNK_SIZE).amax(1)
        chunks.append(torch.stack([begin, end, torch.full_like(begin, level), torch.zeros_like(begin)], 1))
    return PackedVolume(torch.cat(packed), torch.cat(chunks).float(), len(counts), colors.shape[1], tau, maps)


def pack_channels(
    means: Tensor,  # [N, 3] columns, rows, slices
    cholesky: Tensor,  # [N, 6] slices first
    colors: Tensor,  # [N, C]
    tau: float,
    maps: Tensor | None = None,  # [T, 6]
) -> list[PackedVolume]:
    """`pack` for any number of channels: a volume for every four."""
    return [pack(means, cholesky, part, tau, maps) for part in colors.split(RECORD_CHANNELS, 1)]


def join_volumes(parts: Sequence[PackedVolume]) -> PackedVolume:
    """Volumes of one grid and threshold as one."""
    records, chunks = (torch.cat([getattr(part, name) for part in parts]) for name in ("records", "chunks"))
    return replace(parts[0], records=records, chunks=chunks, levels=max(part.levels for part in parts))


def draw_channels(
    volumes: list[PackedVolume],
    positions: Tensor,  # [B] slices
    window: tuple[int, int, int, int],  # left, top, width, height in pixels
    budgets: list[ListBudget],  # one a volume
    *,
    dtype: torch.dtype = torch.uint8,
    motion: Tensor | None = None,
) -> Tensor:
    """Images [B, height, width, C] of all channels, as `PackedVolume.draw` gives four of them."""
    parts = [
        volume.draw(positions, window, budget, dtype=dtype, motion=motion) for volume, budget in zip(volumes, budgets)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts, -1)


def _least_scale(maps: Tensor) -> Tensor:
    """The least factor by which maps [T, 6] stretch a length."""
    a, b, c, d = maps[:, :4].unbind(1)
    # singular values are the sum and the difference of these two
    return (torch.hypot(a + d, b - c) - torch.hypot(a - d, b + c)).amin() / 2


def _levels(cholesky: Tensor, least_scale: float) -> Tensor:
    """The coarsest grid [N] int64 on which each Gaussian is at least COARSE_SIGMA wide both ways, however seen."""
    a, b, c = cholesky[:, 3:].unbind(1)
    p, q, r = a * a, a * b, b * b + c * c
    larger = 0.5 * (p + r + torch.hypot(p - r, 2 * q))  # eigenvalue of the slice's covariance; the other without
    smaller = (a * c) ** 2 / larger  # the difference, which cancels
    levels = torch.floor(0.5 * torch.log2(smaller * (least_scale / COARSE_SIGMA) ** 2)).nan_to_num(0, MAX_LEVELS - 1, 0)
    levels = levels.clamp(0, MAX_LEVELS - 1).long()
    counts = torch.bincount(levels, minlength=MAX_LEVELS)
    at_least = counts.flip(0).cumsum(0).flip(0)  # Gaussians of this level or a coarser one
    return levels.clamp(max=int((at_least[1:] > _WORTHWHILE * len(levels)).sum()))


def _on_grid(means: Tensor, cholesky: Tensor, colors: Tensor, levels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Lengths in samples of the level, narrowed by what upsampling widens, brightened so that the sum stays."""
    means, cholesky = _scaled(means, cholesky, levels)
    (a, b, c), scale = cholesky[:, 3:].T, torch.exp2(-levels.to(means.dtype))
    # A level is interpolated to the next finer one, and that again: variances of 1, 1/4, 1/16 ... of the kernel's.
    widening = UPSAMPLING_VARIANCE * (1 - scale**2) / (1 - 0.25)
    narrow_a = (a**2 - widening).sqrt()
    narrow_b = a * b / narrow_a
    narrow_c = (c**2 - widening - b**2 * widening / narrow_a**2).sqrt()  # b^2 - narrow_b^2 without the difference
    coarse = levels > 0
    factor = [torch.where(coarse, narrow, wide) for narrow, wide in ((narrow_a, a), (narrow_b, b), (narrow_c, c))]
    gain = torch.where(coarse, a * c / (factor[0] * factor[2]), torch.ones_like(a))
    return means, torch.cat([cholesky[:, :3], torch.stack(factor, 1)], 1), colors * gain[:, None]


def _scaled(means: Tensor, cholesky: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Lengths in samples of the level."""
    scale = torch.exp2(-levels.to(means.dtype))[:, None]
    means = torch.cat([means[:, :2] * scale, means[:, 2:]], 1)
    return means, torch.cat([cholesky[:, :1], cholesky[:, 1:] * scale], 1)


def _order(means: Tensor, reach: Tensor, levels: Tensor) -> Tensor:
    """Indices that sort by level, and put neighbours beside each other within.

    Stretches are an eighth of the median lifetime long, so a chunk is rarely visited in vain.
    """
    if len(means) == 0:
        return levels
    near = neighbour_order(means, (reach.median() / 4).clamp(min=1e-3))
    return near[torch.argsort(levels[near], stable=True)]


def _records(means: Tensor, cholesky: Tensor, colors: Tensor) -> Tensor:
    largest = torch.finfo(torch.float16).max
    small = torch.cat([cholesky, torch.nn.functional.pad(colors, (0, 4 - colors.shape[1]))], 1)
    halves = small.clamp(-largest, largest).half().contiguous().view(torch.int32)  # [N, 5]
    return torch.cat([means.float().contiguous().view(torch.int32), halves], 1)
