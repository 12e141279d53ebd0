"""Gaussians as whole numbers: finer the more a Gaussian matters, so that every number's rounding costs alike.

Rounding a number of a Gaussian changes the video by a squared error that depends on the Gaussian through its energy
E = |color|^2 l_tt l_xx l_yy alone, if the number is taken relative to the Gaussian itself: log l, the ratios
l_xt / l_xx, l_yt / l_yy, l_yx / l_yy, the mean in standard deviations, the colour relative to |color|. Gaussians are
therefore sorted into layers of like energy, and each layer has one step, `step / sqrt(E)`, times a constant for each
kind of number that follows from the Gaussian's moments: integrals of G^2 {1, (u^2)^2, (u v)^2, u^2} over its own
coordinates give 1 : 3/4 : 1/4 : 1/2 for colours, logarithms, ratios and means.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from garv_gsplat import ops
from garv_gsplat.gaussians import VideoGaussians, energies
from garv_gsplat.ops import FIXED, MAX_EXPONENT
from garv_gsplat.volume import VideoInfo

DEFAULT_STEP = 0.14
"""about where a finer step costs as many bits as more Gaussians would"""
SCALE = FIXED  # fixed point of what decides over positions: those numbers have to be the same for every reader
AXES_SCALE = 1 << 30
LAYER_RATIO = 4.0  # of the energies of neighbouring layers
MAX_LAYERS = 16
MIN_CELL = -1  # log2 of the sides of cells: two hours of 3840x2160 have 2^44 of them
MIN_SIGMA = 0.05  # pixels or frames: a smaller Gaussian is seen by one pixel of one frame, as this one is
_OF_EACH = ("layer", "shapes", "colors", "exponents", "positions")  # what `Levels` holds a row of for every Gaussian
_LOG_STEP, _RATIO_STEP, _MEAN_STEP = math.sqrt(4 / 3), 2.0, math.sqrt(2)  # relative to a colour's
_FEW = 64, 1 / 400  # Gaussians, and part of all: fewer are not worth a layer's tables and streams
_LARGEST = 1 << 20  # levels; more is no number that a fit gives
_CELL_QUANTILE = 0.9  # of the steps of a layer's positions is no longer than its cells; smaller cells order better


@dataclass(frozen=True)
class Layer:
    """Steps of a layer's numbers."""

    log_step: int
    """of log2 l_tt, l_xx, l_yy, in 1 / SCALE"""
    ratio_step: int
    """of l_xt / l_xx, l_yt / l_yy, l_yx / l_yy, in 1 / SCALE"""
    mean_step: int
    """log2 of the step of a mean in standard deviations, in 1 / SCALE"""
    cells: tuple[int, int, int]
    """log2 of the sides along x, y, t of the cells that means are refined in, in pixels and frames"""

    @property
    def steps(self) -> tuple[int, ...]:
        """All six numbers, as `ops.decode_levels` takes them."""
        return self.log_step, self.ratio_step, self.mean_step, *self.cells


@dataclass(frozen=True, eq=False)
class Levels:
    """Gaussians as whole numbers, in any order."""

    info: VideoInfo
    layers: tuple[Layer, ...]
    """the most important one first"""
    color_step: float  # of colours times sqrt(l_tt l_xx l_yy), a float32
    color_axes: np.ndarray  # [C, C] orthonormal rows, along which colours are stored, in whole 1 / AXES_SCALE
    layer: np.ndarray  # [N] indices into layers
    shapes: np.ndarray  # [N, 6] l_tt, l_xx, l_yy, then the ratios of l_xt, l_yt, l_yx
    colors: np.ndarray  # [N, C]
    exponents: np.ndarray  # [N, 3] log2 of the steps of x, y, t in pixels and frames
    positions: np.ndarray  # [N, 3] x, y, t in these steps, from 0

    def __len__(self) -> int:
        return len(self.layer)

    def take(self, chosen: np.ndarray) -> Levels:
        """The Gaussians of the given indices or mask."""
        rows = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return replace(self, **{name: np.take(getattr(self, name), rows, 0) for name in _OF_EACH})

    def joined(self, others: Sequence[Levels]) -> Levels:
        """These Gaussians and others of the same layers and steps, in turn."""
        every = [self, *others]
        return replace(self, **{name: np.concatenate([getattr(each, name) for each in every]) for name in _OF_EACH})


def quantize(gaussians: VideoGaussians, step: float = DEFAULT_STEP) -> Levels:
    """Round Gaussians; `step` is that of a colour relative to its own size, of a Gaussian of energy 1.

    Raises ValueError where a number is infinite or not a number, or a mean further from the video than its own size.
    """
    means, cholesky, colors = checked_numbers(gaussians)
    diagonal = np.maximum(cholesky[:, (0, 3, 5)], MIN_SIGMA)
    energy = energies(torch.from_numpy(cholesky), torch.from_numpy(colors), gaussians.info).numpy()
    layer, layers = _layers(energy, step)
    logs = np.rint(np.log2(diagonal) * SCALE / _column(layers, "log_step", layer)).clip(-_LARGEST, _LARGEST)
    logs = logs.astype(np.int64)
    rounded = np.exp2(logs * _column(layers, "log_step", layer) / SCALE)
    ratios = _ratios(cholesky, diagonal, rounded) * SCALE / _column(layers, "ratio_step", layer)
    shapes = np.concatenate([logs, np.rint(ratios.clip(-_LARGEST, _LARGEST)).astype(np.int64)], 1)
    layers = _with_cells(layers, layer, shapes)
    exponents = np.ascontiguousarray(position_exponents(layers, layer, shapes))  # rows, as they are taken by rows
    positions = np.floor(means * np.exp2(-exponents.astype(np.float64))).astype(np.int64)
    blank = np.zeros_like(shapes[:, : colors.shape[1]])
    parts = (float(np.float32(step)), _color_axes(colors), layer, shapes, blank, exponents, positions)
    return with_colors(Levels(gaussians.info, layers, *parts), gaussians.colors)


def with_colors(levels: Levels, colors: Tensor) -> Levels:
    """The same shapes and positions with other colours [N, C], rounded."""
    along = colors.detach().cpu().double().numpy() @ levels.color_axes.T
    sizes = levels.color_step / np.sqrt(_diagonal(levels).prod(1, keepdims=True))
    rounded = np.rint((along / sizes).clip(-_LARGEST, _LARGEST)).astype(np.int64)
    return replace(levels, colors=rounded)


def dequantize(levels: Levels) -> VideoGaussians:
    """The Gaussians that levels stand for, float32 on the CPU."""
    rows = (levels.layer, levels.shapes, levels.colors, levels.exponents, levels.positions)
    layer, shapes, colors, exponents, positions = (torch.from_numpy(part.T) for part in rows)
    steps = torch.tensor([each.steps[:2] for each in levels.layers], dtype=torch.int64).view(-1, 2)
    axes = torch.from_numpy(levels.color_axes)
    numbers = (layer, shapes.int(), colors.int(), exponents, positions, steps, axes)
    return VideoGaussians.from_pixels(*ops.dequantize_levels(*numbers, levels.color_step), levels.info)


def position_exponents(layers: tuple[Layer, ...], layer: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """log2 [N, 3] of the steps of x, y, t, in pixels and frames, of Gaussians of given layers [N]."""
    return ops.position_exponents(shapes, np.array([each.steps for each in layers], np.int64).reshape(-1, 6)[layer])


def checked_numbers(gaussians: VideoGaussians) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, Cholesky factors and colours in double precision, pixels and frames.

    Raises ValueError where a number is infinite or not a number, or a mean further from the video than its own size.
    """
    values = (*gaussians.in_pixels(), gaussians.colors)
    means, cholesky, colors = (v.detach().cpu().double().numpy() for v in values)
    for name, numbers in (("means", means), ("cholesky", cholesky), ("colors", colors)):
        bad = ~np.isfinite(numbers).all(1)
        if bad.any():
            raise ValueError(
                f"{name} of {bad.sum()} of {len(bad)} Gaussians are infinite or not a number; "
                f"the first is Gaussian {bad.argmax()}"
            )
    far = ((gaussians.means < -1) | (gaussians.means > 2)).any(1).cpu().numpy()
    if far.any():
        raise ValueError(
            f"{far.sum()} of {len(far)} Gaussians lie outside of the video by more than its size; leave them out; "
            f"the first is Gaussian {far.argmax()}"
        )
    return means, cholesky, colors


def _layers(energy: np.ndarray, step: float) -> tuple[np.ndarray, tuple[Layer, ...]]:
    """The layer of every Gaussian [N], and the layers; those of few Gaussians go up into the next one."""
    exponent = np.floor(np.log(np.maximum(energy, 1e-12)) / math.log(LAYER_RATIO)).astype(int)
    if len(exponent) == 0:
        return exponent, ()
    few = max(_FEW[0], _FEW[1] * len(exponent))
    found, counts = np.unique(exponent, return_counts=True)
    kept, below = [int(found[-1])], int(counts[-1])
    for value, count in zip(found[-2::-1].tolist(), counts[-2::-1].tolist()):
        if below >= few and len(kept) < MAX_LAYERS:
            kept.append(value)
            below = 0
        below += count
    bounds = np.array(kept[::-1])
    index = np.searchsorted(bounds, exponent, side="left").clip(max=len(bounds) - 1)
    return len(bounds) - 1 - index, tuple(_layer(value, step) for value in kept)


def _layer(exponent: int, step: float) -> Layer:
    own = step / math.sqrt(LAYER_RATIO ** (exponent + 0.5))
    return Layer(
        log_step=max(1, round(_LOG_STEP * own / math.log(2) * SCALE)),
        ratio_step=max(1, round(_RATIO_STEP * own * SCALE)),
        mean_step=round(math.log2(_MEAN_STEP * own) * SCALE),
        cells=(MAX_EXPONENT, MAX_EXPONENT, MAX_EXPONENT),
    )


def _with_cells(layers: tuple[Layer, ...], layer: np.ndarray, shapes: np.ndarray) -> tuple[Layer, ...]:
    """The layers with cells that suit the steps of their Gaussians' positions."""
    exponents = position_exponents(layers, layer, shapes)
    sides = [np.quantile(exponents[layer == k], _CELL_QUANTILE, 0, method="nearest") for k in range(len(layers))]
    return tuple(replace(each, cells=tuple(side.clip(MIN_CELL).tolist())) for each, side in zip(layers, sides))


def _diagonal(levels: Levels) -> np.ndarray:
    """l_tt, l_xx, l_yy [N, 3]."""
    return np.exp2(levels.shapes[:, :3] * _column(levels.layers, "log_step", levels.layer) / SCALE)


def _ratios(cholesky: np.ndarray, diagonal: np.ndarray, rounded: np.ndarray) -> np.ndarray:
    """l_xt / l_xx, l_yt / l_yy, l_yx / l_yy [N, 3], against the diagonal as it was rounded.

    What is kept through the rounding of the diagonal is the velocity (l_xt, l_yt) / l_tt and the slope l_yx / l_xx:
    else their error would grow with the ratio itself, and fast or thin Gaussians would miss their place.
    """
    _, l_xt, l_yt, _, l_yx, _ = cholesky.T
    stretch_t, stretch_x, _ = (rounded / diagonal).T
    _, l_xx, l_yy = rounded.T
    return np.stack([l_xt * stretch_t / l_xx, l_yt * stretch_t / l_yy, l_yx * stretch_x / l_yy], 1)


def _color_axes(colors: np.ndarray) -> np.ndarray:
    """Principal axes [C, C] of the colours' directions, the strongest first: levels along them are smallest."""
    directions = colors / np.maximum(np.linalg.norm(colors, axis=1, keepdims=True), 1e-12)
    axes = np.linalg.eigh(directions.T @ directions)[1].T[::-1]
    signs = np.sign(np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], 1))
    return np.rint(axes * signs * AXES_SCALE) / AXES_SCALE


def _column(layers: tuple[Layer, ...], name: str, layer: np.ndarray) -> np.ndarray:
    """A number of every Gaussian's layer [N, 1]."""
    return np.array([getattr(each, name) for each in layers], np.int64)[layer][:, None]
