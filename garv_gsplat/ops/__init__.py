"""Slice, bin, accumulate: the renderer's operators, in pixels and frames.

A frame is the sum of its Gaussians' slices at one time. `bin_gaussians` lists, for the 16x16 tiles of many frames at
once, the Gaussians that can still contribute there; `accumulate` slices them and adds them up, and its backward gives
gradients of means, Cholesky factors and colours. `draw` is for decoding: packed Gaussians in, pixels out. None of them
ever waits for the device: `PairBudget` and `ListBudget` size the lists. Parts of a video, `crop_gaussians` and
`join_weighted`, wait once, for the number of their Gaussians. Only a fixed order of lists and sums, as
`torch.use_deterministic_algorithms(True)` asks for, takes waiting on CUDA. `decode_levels` takes Gaussians out of a
file, on the CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor

from garv_gsplat.ops import (
    _deterministic,
    _schema,  # noqa: F401  (defines torch.ops.garv)
)
from garv_gsplat.ops._budgets import ListBudget, PairBudget, motion_or_none
from garv_gsplat.ops._drawing import Drawing, draw
from garv_gsplat.ops._library import ensure_kernels, serving
from garv_gsplat.ops._recording import Recording, can_record
from garv_gsplat.ops._reference import MIN_SIGMA, TILE_SIZE, slice_gaussians, tile_grid
from garv_gsplat.ops._reference_decode import (
    BOX_OUTSIDE,
    CELL_OUTSIDE,
    DIRECT,
    FIXED,
    MAX_EXPONENT,
    MAX_HEIGHT,
    MIN_EXPONENT,
    NO_WORDS,
    categorical,
    position_exponents,
)
from garv_gsplat.ops._reference_draw import CHUNK_SIZE, MAX_LEVELS, UPSAMPLING_VARIANCE
from garv_gsplat.ops._reference_regions import standard_deviations
from garv_gsplat.ops._regions import crop_gaussians, join_weighted, region_weights, typical_spread

__all__ = [
    "CHUNK_SIZE",
    "DIRECT",
    "FIXED",
    "MAX_EXPONENT",
    "MAX_HEIGHT",
    "MAX_LEVELS",
    "MIN_EXPONENT",
    "MIN_SIGMA",
    "TILE_SIZE",
    "UPSAMPLING_VARIANCE",
    "Drawing",
    "ListBudget",
    "PairBudget",
    "Recording",
    "accumulate",
    "adam_step",
    "bin_gaussians",
    "can_record",
    "categorical",
    "crop_gaussians",
    "decode_levels",
    "dequantize_levels",
    "draw",
    "join_weighted",
    "motion_or_none",
    "position_exponents",
    "region_weights",
    "serving",
    "slice_gaussians",
    "standard_deviations",
    "tile_grid",
    "typical_spread",
]

_STATUS = {
    NO_WORDS: "a stream is not whole words, the last of them not 0",
    BOX_OUTSIDE: "the cells of a stream lie outside of any video",
    CELL_OUTSIDE: "a Gaussian lies outside of its stream's cells",
}


def bin_gaussians(
    means: Tensor,  # [N, 3] x, y, t
    cholesky: Tensor,  # [N, 6]
    cutoffs: Tensor,  # [N]
    times: Tensor,  # [B] frames
    width: int,
    height: int,
    capacity: int,
    motion: Tensor | None = None,  # [B, 6]
) -> tuple[Tensor, Tensor]:
    """List the Gaussians of every tile of every frame.

    Gaussian n is listed in a tile when u^2 + d <= cutoffs[n] for some point between the tile's pixel centres, with
    u = (t - mu_t) / l_tt and d the squared Mahalanobis distance of the slice; infinity lists it everywhere.

    Returns isect_offsets [B * tiles + 1] int64 and flatten_ids [capacity] int32: tile k of frame b holds the Gaussians
    flatten_ids[isect_offsets[b * tiles + k] : isect_offsets[b * tiles + k + 1]]. The offsets are exact even where the
    list passes `capacity`; `accumulate` then searches the Gaussians again, of tiles past it (CPU) or of all (CUDA), so
    nothing is dropped.

    motion: how each frame sees the plane that the Gaussians lie in, a map (xx, xy, yx, yy, x, y) in pixels: what is
    listed is what is seen of them at (xx p + xy q + x, yx p + yy q + y). None where they lie in the frames themselves.

    Lists are sorted; on CUDA only under `torch.use_deterministic_algorithms(True)`, where this waits for the device and
    makes flatten_ids as long as it has to be, whatever `capacity`.
    """
    _check_geometry(means, cholesky, cutoffs, times, width, height)
    if capacity < 0:
        raise ValueError(f"capacity must not be negative, got {capacity}")
    ensure_kernels(means.device)
    args = (t.detach().contiguous() for t in (means, cholesky, cutoffs, times, motion_or_none(motion, times)))
    return _deterministic.bin_gaussians(*args, width, height, capacity)


def accumulate(
    means: Tensor,  # [N, 3] x, y, t
    cholesky: Tensor,  # [N, 6]
    colors: Tensor,  # [N, C], C from 1 to 8
    cutoffs: Tensor,  # [N]
    times: Tensor,  # [B] frames
    isect_offsets: Tensor,  # [B * tiles + 1]
    flatten_ids: Tensor,  # [capacity]
    width: int,
    height: int,
    motion: Tensor | None = None,  # [B, 6]
) -> Tensor:
    """Sum the listed Gaussians' slices (GaRV eq. 3): images [B, height, width, C], not clamped.

    motion: that of `bin_gaussians`.

    Differentiable in means, cholesky and colors. The CPU's kernels skip the part of a tile where a Gaussian's weight is
    below 2^-24 of its peak. CUDA takes weights and colours in half precision, colours relative to each Gaussian's
    largest, so that they may have any size: an image is off by 1e-4 of its largest pixel, at worst by 2e-3. Gradients
    take weights, those of pixels and the products of both in half precision, rounded once for all of a pair's sums,
    which costs 5e-4 relative. On CUDA the order of the sums changes from run to run, and with it some roundings and the
    last bits of gradients, unless `torch.use_deterministic_algorithms(True)` was called before the lists were made.
    """
    _check_geometry(means, cholesky, cutoffs, times, width, height)
    if colors.ndim != 2 or len(colors) != len(means) or not 1 <= colors.shape[1] <= 8:
        raise ValueError(f"colors must be [{len(means)}, 1 to 8], got {list(colors.shape)}")
    tiles_x, tiles_y = tile_grid(width, height)
    if isect_offsets.shape != (len(times) * tiles_x * tiles_y + 1,):
        raise ValueError(
            f"isect_offsets must be [{len(times)} frames * {tiles_x * tiles_y} tiles + 1], "
            f"got {list(isect_offsets.shape)}: bin_gaussians with the same times and size makes them"
        )
    ensure_kernels(means.device)
    motion = motion_or_none(motion, times)
    tensors = (means, cholesky, colors, cutoffs, times, motion, isect_offsets, flatten_ids)
    return torch.ops.garv.accumulate(*(t.contiguous() for t in tensors), width, height)


@torch.no_grad()
def adam_step(
    rows: Tensor,  # [N, K]
    gradient: Tensor,  # [N, K]
    exp_avg: Tensor,  # [N, K]
    exp_avg_sq: Tensor,  # [N, K]
    steps: Tensor,  # [N, 1]
    rates: Tensor,  # [K]
    *,
    betas: tuple[float, float],
    eps: float,
    visible_only: bool,
) -> None:
    """A step of Adam (Kingma and Ba, 2015) in place, with a step size for every column.

    With `visible_only` a row without any gradient keeps its values and moments; the bias correction of a row counts the
    steps that moved it.
    """
    ensure_kernels(rows.device)
    torch.ops.garv.adam_step(rows, gradient, exp_avg, exp_avg_sq, steps, rates, *betas, eps, visible_only)


def decode_levels(
    data: Tensor,  # [bytes] uint8
    sizes: Tensor,  # [S]
    counts: Tensor,  # [S]
    tables: Tensor,  # [M, 2]
    heights: Tensor,  # [sum of the tables' buckets]
    contexts: Tensor,  # [6 + C, 6]
    steps: Tensor,  # [6]
) -> tuple[Tensor, Tensor, Tensor]:
    """Decode streams of one layer of the codec `rans` (docs/format.md) to whole numbers, on the CPU.

    All but data are int64. sizes and counts are each stream's bytes, which follow each other in `data`, and Gaussians,
    at most eight a byte. A table is its first bucket and their number; its heights stand in `heights`. The first one is
    that of the gaps, then come those of each attribute's contexts, which are source, magnitude, number of thresholds,
    and room for three of these. steps: log, ratio and mean step in 1 / FIXED, the exponents of the cells of x, y, t.

    Returns attributes [6 + C, N] int32, and exponents and positions [3, N] int64 along x, y, t, of the Gaussians of all
    streams in turn. Raises ValueError for streams that no writer writes; those of another origin than the tables may
    also give numbers without a meaning.
    """
    ensure_kernels(data.device)
    arguments = (data, sizes, counts, tables, heights, contexts, steps)
    *numbers, status = torch.ops.garv.decode_levels(*(t.contiguous() for t in arguments))
    wrong = status.max().item() if len(status) else 0
    if wrong:
        raise ValueError(_STATUS[wrong])
    return tuple(numbers)


def dequantize_levels(
    layer: Tensor,  # [N] int64
    shapes: Tensor,  # [6, N] int32
    colors: Tensor,  # [C, N] int32
    exponents: Tensor,  # [3, N] int64
    positions: Tensor,  # [3, N] int64
    steps: Tensor,  # [layers, 2] int64
    axes: Tensor,  # [C, C] float64
    color_step: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """What whole numbers of Gaussians stand for (docs/format.md), on the CPU.

    steps: log and ratio step of each layer in 1 / FIXED; axes and color_step as the file's model has them. Returns
    means [N, 3], Cholesky factors [N, 6] and colours [N, C], float32, in pixels and frames.
    """
    ensure_kernels(layer.device)
    tensors = (layer, shapes, colors, exponents, positions, steps, axes)
    return torch.ops.garv.dequantize_levels(*(t.contiguous() for t in tensors), color_step)


def _check_geometry(means: Tensor, cholesky: Tensor, cutoffs: Tensor, times: Tensor, width: int, height: int) -> None:
    n = len(means)
    if means.shape != (n, 3):
        raise ValueError(f"means must be [N, 3], got {list(means.shape)}")
    if cholesky.shape != (n, 6):
        raise ValueError(f"cholesky must be [{n}, 6], got {list(cholesky.shape)}")
    if cutoffs.shape != (n,):
        raise ValueError(f"cutoffs must be [{n}], got {list(cutoffs.shape)}")
    if times.ndim != 1:
        raise ValueError(f"times must be [B], got {list(times.shape)}")
    if width < 1 or height < 1:
        raise ValueError(f"the image must be at least 1x1, got {width}x{height}")
    for name, tensor in (("cholesky", cholesky), ("cutoffs", cutoffs), ("times", times)):
        if tensor.device != means.device or tensor.dtype != means.dtype:
            raise ValueError(
                f"{name} must be {means.dtype} on {means.device} as means are, got {tensor.dtype} on {tensor.device}"
            )
