"""`draw` in plain torch, over the operators that fit: what serves devices without a kernel of its own."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from garv_gsplat.ops._reference import TILE_SIZE, View, slice_gaussians, tile_grid

CHUNK_SIZE = 256  # Gaussians; packed.cuh holds the same numbers
MAX_LEVELS = 4
APRON = 6  # samples that a coarse grid reaches past the image: twice what upsampling looks at past a sample
ALIGNMENT = 1 << (MAX_LEVELS - 1)

# Interpolation a quarter of a sample before coarse sample k, from samples k-3 to k+2; mirrored a quarter after it. Of
# all six taps these turn samples of Gaussians that are narrower by UPSAMPLING_VARIANCE (in squared samples) best into
# Gaussians: least largest error along one axis, 4e-4 of the peak for standard deviations of 1.25 samples and more, by
# linear programming. Rounded to half precision so that their sum is 1.
UPSAMPLING_TAPS = tuple(n / 4096 for n in (12, 212, 1316, 1861, 642, 53))
UPSAMPLING_VARIANCE = 0.7

_PIXELS_AT_ONCE = 1 << 20  # in float32 and a few copies; small frames are drawn together
_FRAMES_WORTH_A_CULL = 4  # the lists' first look at all Gaussians takes as long for so many
_LEAST_VARIANCE = 0.01  # squared samples; levels.h holds the same number
_LIKELY_PAIRS = 8  # a Gaussian and frame; more are listed again


class _Packed(NamedTuple):
    records: Tensor
    chunks: Tensor
    levels: int
    channels: int
    tau: float


def draw(
    records: Tensor,
    chunks: Tensor,
    levels: int,
    channels: int,
    tau: float,
    times: Tensor,
    motion: Tensor,
    left: int,
    top: int,
    width: int,
    height: int,
    room: int,
    as_float: bool,
    missing: Tensor,
) -> Tensor:
    packed = _Packed(records, chunks, levels, channels, tau)
    dtype = torch.float32 if as_float else torch.uint8
    image = records.new_zeros(len(times), height, width, channels, dtype=dtype)
    if room > 0:  # these lists have all the room that they need, none is missing; with 0 they were to be measured
        frames = 1 if len(motion) else max(1, _PIXELS_AT_ONCE // (width * height))
        maps = motion.split(1) if len(motion) else [None] * len(times)
        for out, part, seen in zip(image.split(frames), times.split(frames), maps):
            drawn = _draw_frames(packed, part, seen, (left, top, width, height))
            out.copy_(drawn if as_float else drawn.mul_(255).round_().clamp_(0, 255))
    return image


def _draw_frames(packed: _Packed, times: Tensor, motion: Tensor | None, window: tuple[int, int, int, int]) -> Tensor:
    """Images [B, height, width, C] of a window; where the plane moves, of one frame, seen through its map [1, 6]."""
    left, top, width, height = window
    left0, top0 = left // ALIGNMENT * ALIGNMENT, top // ALIGNMENT * ALIGNMENT
    coarser, still = None, times.new_empty(0, 6)
    for level in reversed(range(packed.levels)):
        scale, apron = 1 << level, APRON if level else 0
        size = (-(-(left + width - left0) // scale) + 2 * apron, -(-(top + height - top0) // scale) + 2 * apron)
        corner = (left0 // scale - apron, top0 // scale - apron)
        means, cholesky, colors, cutoffs = level_gaussians(packed, level, times, (*corner, *size), motion)
        geometry = (means, cholesky, cutoffs, times, still, *size)
        likely = _LIKELY_PAIRS * len(means) * len(times)
        offsets, ids = torch.ops.garv.bin_gaussians(*geometry, likely)
        if (pairs := int(offsets[-1])) > likely:
            offsets, ids = torch.ops.garv.bin_gaussians(*geometry, pairs)
        image = torch.ops.garv.accumulate(means, cholesky, colors, cutoffs, times, still, offsets, ids, *size)
        if coarser is not None:
            image += _upsample(coarser, apron, size)
        coarser = image
    return coarser[:, top - top0 :, left - left0 :][:, :height, :width]


def level_gaussians(
    packed: _Packed, level: int, times: Tensor, grid: tuple[int, int, int, int], motion: Tensor | None
) -> list[Tensor]:
    """Means, Cholesky factors, colours and cutoffs of a level's Gaussians that may reach into a grid (left, top, width,
    height), counted from its corner; where the plane moves, as one frame sees them through its map [1, 6]."""
    found = _unpack(packed, level, times)
    if motion is not None:
        found = _seen_on_level(*found, times, motion, level)
    return _reaching(*found, times, grid[:2], grid[2:])


def _unpack(packed: _Packed, level: int, times: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Means, Cholesky factors, colours and cutoffs of a level's Gaussians in living chunks."""
    chunks = packed.chunks
    alive = (chunks[:, 2] == level) & ((chunks[:, :1] <= times) & (times <= chunks[:, 1:2])).any(1)
    chosen = packed.records.view(-1, CHUNK_SIZE, 8)[alive].reshape(-1, 8)
    means = chosen[:, :3].contiguous().view(torch.float32)
    halves = chosen[:, 3:].contiguous().view(torch.float16).float()
    colors = halves[:, 6 : 6 + packed.channels]
    largest = colors.abs().amax(1)
    cutoffs = torch.where(largest > 0, torch.inf, -torch.inf)
    if packed.tau > 0:
        cutoffs = 2 * (largest * (255 / packed.tau)).log()
    return means, halves[:, :6].contiguous(), colors.contiguous(), cutoffs


def _seen_on_level(
    means: Tensor, cholesky: Tensor, colors: Tensor, cutoffs: Tensor, times: Tensor, motion: Tensor, level: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gaussians that lie as a frame sees them, at rest; narrowed by what interpolating their level widens."""
    on_level = motion * motion.new_tensor([1, 1, 1, 1, 0.5**level, 0.5**level])
    means2d, _, factor = View(times, on_level, 0).slice(means, cholesky)
    if level > 0:
        widening = UPSAMPLING_VARIANCE * (1 - 0.25**level) / (1 - 0.25)
        a, b, c = factor.unbind(1)
        narrow_a = (a**2 - widening).clamp(min=_LEAST_VARIANCE).sqrt()
        narrow_c = (c**2 - widening - b**2 * widening / narrow_a**2).clamp(min=_LEAST_VARIANCE).sqrt()
        gain = a * c / (narrow_a * narrow_c)
        factor = torch.stack([narrow_a, a * b / narrow_a, narrow_c], 1)
        colors, cutoffs = colors * gain[:, None], cutoffs + 2 * gain.log()
    means = torch.cat([means2d, means[:, 2:]], 1)
    return means, torch.cat([cholesky[:, :1], torch.zeros_like(means2d), factor], 1), colors, cutoffs


def _reaching(
    means: Tensor,
    cholesky: Tensor,
    colors: Tensor,
    cutoffs: Tensor,
    times: Tensor,
    corner: tuple[int, int],
    size: tuple[int, int],
) -> list[Tensor]:
    """What may reach into an image of a size, whose first sample is at `corner`; means are counted from there."""
    means = means - means.new_tensor([*corner, 0])
    found = [means, cholesky, colors, cutoffs]
    if len(times) < _FRAMES_WORTH_A_CULL:
        return found
    near = _near(means, cholesky, cutoffs, times, size).nonzero()[:, 0]
    return [tensor[near] for tensor in found]


def _near(means: Tensor, cholesky: Tensor, cutoffs: Tensor, times: Tensor, size: tuple[int, int]) -> Tensor:
    """Which Gaussians [N] may pass their cutoff in a tile of the image at one of the times."""
    ends = torch.stack(times.aminmax())  # a slice's centre moves on a line, so it is furthest out at one of these
    centers, _, factor = slice_gaussians(means, cholesky, ends)
    a, b, c = factor.unbind(1)
    reach = cutoffs.clamp(min=0).sqrt()[:, None] * torch.stack([a, torch.hypot(b, c)], 1)
    limit = means.new_tensor([TILE_SIZE * count for count in tile_grid(*size)])
    within = (centers.amin(0) - reach <= limit) & (centers.amax(0) + reach >= 0)
    return within.all(1) & (cutoffs >= 0)


def _upsample(coarse: Tensor, apron: int, size: tuple[int, int]) -> Tensor:
    """Twice as many samples both ways, cut to `size`; the coarse grid [B, h, w, C] starts APRON samples early."""
    width, height = size
    start = APRON - apron // 2  # in the coarse grid, of the first sample of the fine one
    for axis, count in ((1, height), (2, width)):
        parts = []
        for shifts in (range(-3, 3), range(3, -3, -1)):
            part = torch.zeros_like(coarse.narrow(axis, 0, -(-count // 2)))
            for tap, shift in zip(UPSAMPLING_TAPS, shifts):
                part.add_(coarse.narrow(axis, start + shift, part.shape[axis]), alpha=tap)
            parts.append(part)
        coarse = torch.stack(parts, axis + 1).flatten(axis, axis + 1).narrow(axis, 0, count)
    return coarse
