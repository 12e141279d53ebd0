"""Where the levels of a quantizer go: ranges and scales with the smallest error on given Gaussians."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from garv_gsplat.volume import VideoInfo

MIN_DIAGONAL = 0.05  # pixels or frames: a smaller Gaussian is seen by one pixel of one frame, as this one is
_POSITION_MARGIN = 0.02  # of the range, on both sides: a fit goes on moving after the ranges were set
_MIN_POSITION_RANGE = 0.25  # of the video's size: float32 must hold 65536 levels at any place in or around the video
_MIN_RANGE = 1.0  # of a coordinate, so that float32 holds the levels of attributes that are all alike
_MIN_RATIO_SCALE = 2.0**-8
_MIN_COLOR_SCALE = 2.0**-10  # of the largest colour: below, R, G and B in float32 no longer hold the levels of chroma
_COLOR_TAIL, _COLOR_MARGIN = 0.999, 4.0  # a colour past 4 times the 99.9 % quantile is flung out, not fitted
_TAILS = (0.0, 1e-4, 1e-3, 4e-3)  # share of the values that may lie outside of the range, at either end
_SCALES = (0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)  # quantiles of |value| that are tried as the scale
_LARGEST = 1e6  # log or ratio or colour; past it squares no longer fit float32
_SAMPLES = 1 << 15  # Gaussians that the search looks at


def position_ranges(means: Tensor, info: VideoInfo) -> Tensor:
    """Low and high [3, 2] of x, y and t for means [N, 3] in pixels and frames."""
    size = means.new_tensor([info.width, info.height, info.frames])
    if len(means) == 0:
        return torch.stack([torch.zeros_like(size), size], 1)
    low, high = means.amin(0).clamp(-size, 2 * size), means.amax(0).clamp(-size, 2 * size)
    half = torch.maximum((high - low) * (0.5 + _POSITION_MARGIN), size * (_MIN_POSITION_RANGE / 2))
    middle = (low + high) / 2
    return torch.stack([middle - half, middle + half], 1)


def gaussian_volumes(cholesky: Tensor, info: VideoInfo) -> Tensor:
    """Pixels and frames [N] that Gaussians cover, up to a common factor; never more than the video has."""
    size = cholesky.new_tensor([info.frames, info.width, info.height])
    return torch.minimum(cholesky[:, (0, 3, 5)].clamp(min=MIN_DIAGONAL), size).prod(1)


def largest_color(colors: Tensor) -> Tensor:
    """Largest absolute value that colors [N, C] get room for; at least 1e-3, so that all-zero colours have a scale."""
    if colors.numel() == 0:
        return colors.new_ones(())
    return (_COLOR_MARGIN * _quantiles(colors.abs().flatten(), (_COLOR_TAIL,))[0]).clamp(min=1e-3)


def best_range(
    values: Tensor,  # [N]
    weights: Tensor,  # [N]
    steps: int,
    kind: Literal["log", "ratio", "color"],
    limit: Tensor | None = None,  # largest colour
) -> Tensor:
    """Low, high and scale [3] of one attribute: those of the smallest weighted error among some hundred candidates."""
    if len(values) == 0:
        values, weights = values.new_zeros(1), weights.new_ones(1)
    stride = -(-len(values) // _SAMPLES)
    values, weights = values[::stride].clamp(-_LARGEST, _LARGEST), weights[::stride]
    if kind == "log":
        scales = [torch.ones_like(values[0])]
    else:
        floor = _MIN_RATIO_SCALE if limit is None else limit * _MIN_COLOR_SCALE
        scales = _quantiles(values.abs(), _SCALES).clamp(min=floor).unbind()
    lows, highs = _quantiles(values, _TAILS), _quantiles(values, [1 - tail for tail in _TAILS])
    lows, highs = lows.repeat_interleave(len(_TAILS)), highs.repeat(len(_TAILS))  # every pair of ends
    candidates, errors = [], []
    for scale in scales:
        forward, backward = _companding(scale, kind)
        low, high = _widen(forward(lows), forward(highs), steps, zero=kind != "log")
        step = ((high - low) / steps)[:, None]
        levels = torch.round((forward(values) - low[:, None]) / step).clamp(0, steps)
        table = backward(low[:, None] + torch.arange(steps + 1, device=values.device) * step)
        cost = _cost(table.gather(1, levels.long()) - values, kind)
        candidates.append(torch.stack([low, high, scale.expand_as(low)], 1))
        # no matrix product: that torch refuses on a GPU under use_deterministic_algorithms
        errors.append((cost * weights).sum(1))
    return torch.cat(candidates)[torch.cat(errors).argmin()]


def _companding(scale: Tensor, kind: str) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """From values to coordinates and back."""
    if kind == "log":  # the values are logarithms already
        return (lambda values: values), (lambda coordinates: coordinates)
    return (lambda values: torch.asinh(values / scale)), (lambda coordinates: torch.sinh(coordinates) * scale)


def _cost(error: Tensor, kind: str) -> Tensor:
    """Share of a Gaussian's energy that an error of its shape costs: no more than all; colours cost their square."""
    square = error.square()
    return square if kind == "color" else square / (1 + square)


def _widen(low: Tensor, high: Tensor, steps: int, zero: bool) -> tuple[Tensor, Tensor]:
    """At least the smallest range; moved by less than a step so that zero, where it lies inside, is a level."""
    half = ((high - low) / 2).clamp(min=_MIN_RANGE / 2)
    middle = (low + high) / 2
    low, high = middle - half, middle + half
    if not zero:
        return low, high
    step = (high - low) / steps
    shift = torch.round(low / step) * step - low
    shift = torch.where((low < 0) & (high > 0), shift, torch.zeros_like(shift))
    return low + shift, high + shift


def _quantiles(values: Tensor, shares: Sequence[float]) -> Tensor:
    # torch.quantile takes no more than 16 million values
    ordered = values.sort().values
    return torch.stack([ordered[round(share * (len(ordered) - 1))] for share in shares])
