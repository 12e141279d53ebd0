"""The references of what reads a file: `decode_levels`, a stream at a time by the library constriction, and
`dequantize_levels`. docs/format.md has the streams and what their numbers stand for."""

from __future__ import annotations

from collections.abc import Iterator

import constriction
import numpy as np
import torch
from torch import Tensor

FIXED = 1 << 16  # of the steps
MIN_EXPONENT, MAX_EXPONENT = -20, 20  # log2 of the steps of positions, in pixels and frames
DIRECT = 20  # signed numbers of at most this size have a bucket of their own
MAX_HEIGHT = 2 * 26  # more than 2^24, the finest difference that the coder knows, between two buckets says nothing
NO_WORDS, BOX_OUTSIDE, CELL_OUTSIDE = 1, 2, 3  # what a stream's status is where it is not 0

_MOST_BITS = 20  # of a number without a model at a time
_MAX_BOX_BUCKET = 60
_UNIFORM = constriction.stream.model.Uniform()
# Weights of the heights go up by half an octave: 1024, 1448, then twice that, and so on.
_WEIGHTS = np.array([(1024.0, 1448.0)[height % 2] * 2 ** (height // 2) for height in range(MAX_HEIGHT + 1)])


def categorical(heights: np.ndarray) -> constriction.stream.model.Categorical:
    """The model of symbols 0 to K - 1 of a table's heights [K], whole numbers from 0 to MAX_HEIGHT.

    Of at least two symbols, the last of which never comes when there is but one.
    """
    heights = heights if len(heights) > 1 else np.array([MAX_HEIGHT, 0])
    return constriction.stream.model.Categorical(_WEIGHTS[heights], perfect=False)


def position_exponents(shapes: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """log2 [N, 3] of the steps of x, y, t, in pixels and frames: a power of two near the layer's mean_step times the
    standard deviation along that axis with the other two held fast, at most its cell's side.

    shapes [N, 6] whole numbers; steps [N or 1, 6] int64: log, ratio and mean step, then the cells' exponents. Whole
    numbers and double precision without fused operations, so that every reader finds the same.
    """
    log_step, ratio_step, mean_step = (steps[:, k : k + 1] for k in range(3))
    xt, yt, yx = (shapes[:, 3:] * (ratio_step / FIXED)).T
    lean_x = 1 + yx * yx
    lean_t = yx * xt
    lean_t = yt - lean_t
    lean_t = (1 + xt * xt) + lean_t * lean_t
    tt, xx, yy = (shapes[:, :3] * log_step + (mean_step + FIXED // 2)).T
    sizes = np.stack([xx - FIXED // 4 * _quarters(lean_x), yy, tt - FIXED // 4 * _quarters(lean_t)]).T
    return np.minimum(np.maximum(sizes >> 16, MIN_EXPONENT), steps[:, 3:])


def decode_levels(
    data: Tensor, sizes: Tensor, counts: Tensor, tables: Tensor, heights: Tensor, contexts: Tensor, steps: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See `ops.decode_levels`."""
    ends = tables[:, 1].cumsum(0).tolist()
    parts = zip(tables[:, 0].tolist(), tables[:, 1].tolist(), ends)
    known = [(first, size, categorical(heights[end - size : end].numpy())) for first, size, end in parts]
    total = int(counts.sum())
    attributes = torch.zeros(len(contexts), total, dtype=torch.int32)
    exponents, positions = (torch.zeros(3, total, dtype=torch.int64) for _ in range(2))
    status = torch.zeros(len(sizes), dtype=torch.int64)
    at = 0
    for k, (part, count) in enumerate(zip(data.split(sizes.tolist()), counts.tolist())):
        here = (values[:, at : at + count].numpy() for values in (attributes, exponents, positions))
        status[k] = _decode(part.numpy(), count, known, contexts.tolist(), steps.numpy(), *here)
        at += count
    return attributes, exponents, positions, status


def dequantize_levels(
    layer: Tensor,
    shapes: Tensor,
    colors: Tensor,
    exponents: Tensor,
    positions: Tensor,
    steps: Tensor,
    axes: Tensor,
    color_step: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """See `ops.dequantize_levels`."""
    log_step, ratio_step = (steps.double() / FIXED)[layer].T
    tt, xx, yy = torch.exp2(shapes[:3] * log_step)
    xt, yt, yx = shapes[3:] * ratio_step
    means = np.ldexp(positions.numpy() + 0.5, exponents.numpy())
    along = colors * (color_step / (tt * xx * yy).sqrt())
    cholesky = torch.stack([tt, xt * xx, yt * yy, xx, yx * yy, yy], 1)
    return torch.from_numpy(means.T).float().contiguous(), cholesky.float(), (along.T @ axes).float()


def _decode(data: np.ndarray, count: int, tables, contexts, steps: np.ndarray, attributes, exponents, positions) -> int:
    """Write a stream's numbers; its status."""
    if len(data) % 4 or (count and len(data) and not data[-4:].any()):
        return NO_WORDS
    if count == 0:
        return 0
    coder = constriction.stream.stack.AnsCoder(data.view("<u4").astype(np.uint32))
    box = _bits(coder, np.full(6, 7))
    if (box >= _MAX_BOX_BUCKET).any():
        return BOX_OUTSIDE
    box = _join_unsigned(coder, box)
    origin, sides = np.where(box[:3] % 2 == 0, box[:3] // 2, -(box[:3] + 1) // 2), box[3:] + 1
    upcoming = iter(tables)
    row, x = np.divmod(np.cumsum(_join_unsigned(coder, _symbols(coder, next(upcoming), count))), sides[0])
    slab, y = np.divmod(row, sides[1])
    if not ((slab >= 0) & (slab < sides[2])).all():
        return CELL_OUTSIDE
    for column, context in zip(attributes, contexts):
        column[:] = _attribute(coder, upcoming, attributes, context)
    exponents[:] = position_exponents(attributes[:6].T, steps[None]).T
    finer = steps[3:, None] - exponents
    inside = _bits(coder, finer.T.ravel()).reshape(count, 3).T
    positions[:] = (np.stack([x, y, slab]) + origin[:, None]) << finer | inside
    return 0


def _attribute(coder, tables: Iterator, attributes: np.ndarray, context: list[int]) -> np.ndarray:
    """The next row [N] of attributes, of which earlier ones are there."""
    source, magnitude, thresholds = context[:3]
    index = np.zeros(attributes.shape[1], np.int64)
    if thresholds:
        values = np.abs(attributes[source]) if magnitude else attributes[source]
        index = (values[:, None] >= np.array(context[3 : 3 + thresholds])).sum(1)
    found = np.empty(len(index), np.int64)
    for k in range(thresholds + 1):
        found[index == k] = _symbols(coder, next(tables), np.count_nonzero(index == k))
    far = found - (2 * DIRECT + 1)
    sizes = DIRECT + 1 + _join_unsigned(coder, np.maximum(far, 0) // 2)
    return np.where(far < 0, found - DIRECT, np.where(far % 2, -sizes, sizes))


def _symbols(coder, table, count: int) -> np.ndarray:
    """Buckets [count] int64 of a table: its first one, how many they are, and their model."""
    first, size, model = table
    found = coder.decode(model, count) if count else np.zeros(0, np.int32)
    return first + np.minimum(found, size - 1).astype(np.int64)


def _join_unsigned(coder, buckets: np.ndarray) -> np.ndarray:
    """The numbers [N] of unsigned buckets [N], whose bits come next."""
    counts = np.maximum(buckets // 2 - 1, 0)
    least = np.where(buckets < 2, buckets, ((2 + buckets % 2) << counts) - 1)
    return least + _bits(coder, counts)


def _bits(coder, counts: np.ndarray) -> np.ndarray:
    """Numbers below 2^count [N] int64, each with a count of its own: all of their lowest bits before the next ones."""
    values = np.zeros(len(counts), np.int64)
    for shift in range(0, int(counts.max(initial=0)), _MOST_BITS):
        some = np.flatnonzero(counts > shift)
        sizes = np.left_shift(1, np.minimum(counts[some] - shift, _MOST_BITS)).astype(np.int32)
        values[some] |= coder.decode(_UNIFORM, sizes).astype(np.int64) << shift
    return values


def _quarters(lean: np.ndarray) -> np.ndarray:
    """How many of 2^(1/2), 2, 2^(3/2) ... are at most `lean` [N], which is at least 1."""
    part, exponent = np.frexp(lean)  # from 1/2 on, and of twice the number's octave
    return 2 * (exponent.astype(np.int64) - 1) + (part >= 1.4142135623730951 / 2)
