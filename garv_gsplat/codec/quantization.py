"""Rounding of Gaussians to 16 bits a position and 8 bits every other number, the same in the fit and in the file.

Every number of a Gaussian becomes an attribute, in this order: x, y, t, l_tt, l_xt, l_yt, l_xx, l_yx, l_yy, c0, c1, ...
An attribute has a range [low, high] of coordinates that is cut into 65535 (x, y, t) or 255 equal steps:

* x, y, t: the coordinate is the position itself, in pixels and frames;
* l_tt, l_xx, l_yy: its natural logarithm, in pixels and frames, so that steps are relative;
* l_xt / l_xx, l_yt / l_yy, l_yx / l_yy (what an error costs is relative to the slice's own size) and the colours (for
  three channels (R + G + B) / 3, (R - B) / 2 and (2 G - R - B) / 6, which are orthogonal): asinh(value / scale), even
  near zero, where most values are, and relative in the long tails.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from garv_gsplat.codec.calibration import MIN_DIAGONAL, best_range, gaussian_volumes, largest_color, position_ranges
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.volume import VideoInfo

POSITION_STEPS = (1 << 16) - 1
VALUE_STEPS = (1 << 8) - 1

_DIAGONAL = (3, 6, 8)  # rows of l_tt, l_xx, l_yy among the attributes
_RATIOS = (4, 5, 7)  # rows of l_xt / l_xx, l_yt / l_yy, l_yx / l_yy
_COLORS = 9  # first row of the colours


@dataclass(frozen=True, eq=False)
class Quantizer:
    """Rounds Gaussians to the levels that a `.garv` stores.

    `ranges` is the whole state: a buffer of a module, and a stream of the file. No method but `calibrate` and `encode`
    waits for the device.
    """

    ranges: Tensor  # [9 + C, 3] float32: low, high, scale of every attribute (see the module)

    def __post_init__(self) -> None:
        if self.ranges.ndim != 2 or self.ranges.shape[1] != 3 or not _COLORS < len(self.ranges) <= _COLORS + 8:
            raise ValueError(f"ranges must be [9 + channels, 3], channels from 1 to 8, got {list(self.ranges.shape)}")

    @property
    def channels(self) -> int:
        """Values per pixel that this quantizer was made for."""
        return len(self.ranges) - _COLORS

    def to(self, device: torch.device | str) -> Quantizer:
        """The same quantizer on `device`."""
        return Quantizer(self.ranges.to(device))

    def round(self, means: Tensor, cholesky: Tensor, colors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Round means [N, 3], cholesky [N, 6] (pixels and frames) and colors [N, C] to what the file will hold.

        Values outside of a range move to its end. Gradients pass straight through, also where a value was moved: the
        transforms there and back cancel up to a step, and a value at the end of its range must be able to return.
        """
        self._check_channels(colors.shape[1])
        return _StraightThrough.apply(means, cholesky, colors, self.ranges)

    def encode(self, gaussians: VideoGaussians) -> tuple[Tensor, Tensor]:
        """Levels of Gaussians: positions [N, 3] int32 (0 to 65535), the other attributes [N, 6 + C] uint8.

        Raises ValueError where a number is infinite or not a number, or the channels differ.
        """
        self._check_channels(gaussians.info.channels)
        _check_finite(gaussians.means, gaussians.cholesky, gaussians.colors)
        positions, values = _to_levels(*gaussians.in_pixels(), gaussians.colors, self.ranges.to(gaussians.means.device))
        return positions.int(), values.to(torch.uint8)

    def decode(self, positions: Tensor, values: Tensor, info: VideoInfo) -> VideoGaussians:
        """Gaussians in the unit cube from their levels: positions [N, 3], values [N, 6 + C], any integer type.

        `encode` of the result gives the same levels again.
        """
        self._check_channels(info.channels)
        ranges = self.ranges.to(positions.device)
        return VideoGaussians.from_pixels(*_from_levels(positions.float(), values.float(), ranges), info)

    @classmethod
    @torch.no_grad()
    def calibrate(cls, means: Tensor, cholesky: Tensor, colors: Tensor, info: VideoInfo) -> Quantizer:
        """Ranges that lose least on these Gaussians: means [N, 3], cholesky [N, 6] in pixels and frames, colors [N, C].

        Positions get their own minimum and maximum and 2 % more on both sides, at most one video size outside of the
        video. For every other attribute the ends and the scale are searched for the smallest error of rounding and
        clipping, weighted by what it costs in the image: a Gaussian's volume for its colours, its energy for its shape.

        Raises ValueError where a number is infinite or not a number.
        """
        _check_finite(means, cholesky, colors)
        ranges = torch.ones(_COLORS + colors.shape[1], 3, device=means.device)
        ranges[:3, :2] = position_ranges(means, info)
        volumes = gaussian_volumes(cholesky, info)
        limit = largest_color(colors)
        energy = volumes * colors.clamp(-limit, limit).square().sum(1)
        diagonal = _diagonal(cholesky)
        for row, values in zip(_DIAGONAL, diagonal.log().unbind(1)):
            ranges[row] = best_range(values, energy, VALUE_STEPS, "log")
        rounded = _rounded_diagonal(diagonal, ranges)[1]
        for row, values in zip(_RATIOS, _ratios(cholesky, diagonal, rounded).unbind(1)):
            ranges[row] = best_range(values, energy, VALUE_STEPS, "ratio")
        planes = to_color_planes(colors)
        for row, values in enumerate(planes.unbind(1), _COLORS):
            ranges[row] = best_range(values.clamp(-limit, limit), volumes, VALUE_STEPS, "color", limit)
        return cls(ranges)

    def _check_channels(self, channels: int) -> None:
        if channels != self.channels:
            raise ValueError(f"this quantizer was made for {self.channels} channels, got {channels}")


def _check_finite(means: Tensor, cholesky: Tensor, colors: Tensor) -> None:
    for name, values in (("means", means), ("cholesky", cholesky), ("colors", colors)):
        finite = torch.isfinite(values).all(1)
        if not finite.all():
            raise ValueError(
                f"{name} of {int((~finite).sum())} of {len(values)} Gaussians are infinite or not a number; "
                f"the first is Gaussian {int((~finite).nonzero()[0])}"
            )


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, means, cholesky, colors, ranges):
        return _from_levels(*_to_levels(means, cholesky, colors, ranges), ranges)

    @staticmethod
    def backward(ctx, v_means, v_cholesky, v_colors):
        return v_means, v_cholesky, v_colors, None


def to_color_planes(colors: Tensor) -> Tensor:
    """Colours [N, C] as the attributes that are rounded [N, C]."""
    if colors.shape[1] != 3:
        return colors
    r, g, b = colors.unbind(1)
    return torch.stack([(r + g + b) / 3, (r - b) / 2, (2 * g - r - b) / 6], 1)


def from_color_planes(planes: Tensor) -> Tensor:
    """The inverse of `to_color_planes`."""
    if planes.shape[1] != 3:
        return planes
    luma, orange, green = planes.unbind(1)
    base = luma - green
    return torch.stack([base + orange, luma + 2 * green, base - orange], 1)


def _to_levels(means: Tensor, cholesky: Tensor, colors: Tensor, ranges: Tensor) -> tuple[Tensor, Tensor]:
    """Levels as whole numbers in floating point: positions [N, 3], the other attributes [N, 6 + C]."""
    low, high, scale = ranges.to(means.dtype).unbind(1)
    positions = _level(means, low[:3], high[:3], POSITION_STEPS)
    diagonal = _diagonal(cholesky)
    levels, rounded = _rounded_diagonal(diagonal, ranges)
    ratio_low, ratio_high, ratio_scale = _rows(ranges, _RATIOS, means.dtype)
    ratios = _level(torch.asinh(_ratios(cholesky, diagonal, rounded) / ratio_scale), ratio_low, ratio_high, VALUE_STEPS)
    planes = torch.asinh(to_color_planes(colors) / scale[_COLORS:])
    planes = _level(planes, low[_COLORS:], high[_COLORS:], VALUE_STEPS)
    (tt, xx, yy), (xt, yt, yx) = levels.unbind(1), ratios.unbind(1)
    return positions, torch.cat([torch.stack([tt, xt, yt, xx, yx, yy], 1), planes], 1)


def _from_levels(positions: Tensor, values: Tensor, ranges: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Means, cholesky (pixels and frames) and colors from levels."""
    low, high, scale = ranges.to(values.dtype).unbind(1)
    means = _coordinate(positions, low[:3], high[:3], POSITION_STEPS)
    coordinates = _coordinate(values, low[3:], high[3:], VALUE_STEPS)
    tt, xt, yt, xx, yx, yy = coordinates[:, :6].unbind(1)
    tt, xx, yy = tt.exp(), xx.exp(), yy.exp()
    xt, yt, yx = (c.sinh() * scale[row] for c, row in zip((xt, yt, yx), _RATIOS))
    cholesky = torch.stack([tt, xt * xx, yt * yy, xx, yx * yy, yy], 1)
    return means, cholesky, from_color_planes(coordinates[:, 6:].sinh() * scale[_COLORS:])


def _diagonal(cholesky: Tensor) -> Tensor:
    """l_tt, l_xx, l_yy [N, 3], no smaller than can be stored."""
    l_tt, _, _, l_xx, _, l_yy = cholesky.unbind(1)
    return torch.stack([l_tt, l_xx, l_yy], 1).clamp(min=MIN_DIAGONAL)


def _rounded_diagonal(diagonal: Tensor, ranges: Tensor) -> tuple[Tensor, Tensor]:
    """Levels and rounded values [N, 3] of l_tt, l_xx, l_yy."""
    low, high, _ = _rows(ranges, _DIAGONAL, diagonal.dtype)
    levels = _level(diagonal.log(), low, high, VALUE_STEPS)
    return levels, _coordinate(levels, low, high, VALUE_STEPS).exp()


def _ratios(cholesky: Tensor, diagonal: Tensor, rounded: Tensor) -> Tensor:
    """l_xt / l_xx, l_yt / l_yy, l_yx / l_yy [N, 3], against the diagonal as it was rounded.

    What is kept through the rounding of the diagonal is the velocity (l_xt, l_yt) / l_tt and the slope l_yx / l_xx:
    else their error would grow with the ratio itself, and fast or thin Gaussians would miss their place.
    """
    _, l_xt, l_yt, _, l_yx, _ = cholesky.unbind(1)
    stretch_t, stretch_x, _ = (rounded / diagonal).unbind(1)
    _, l_xx, l_yy = rounded.unbind(1)
    return torch.stack([l_xt * stretch_t / l_xx, l_yt * stretch_t / l_yy, l_yx * stretch_x / l_yy], 1)


def _rows(ranges: Tensor, rows: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, ...]:
    # no indexing by a list: that copies the list to the device and waits for it
    return torch.stack([ranges[row] for row in rows], 1).to(dtype).unbind(0)


def _level(coordinates: Tensor, low: Tensor, high: Tensor, steps: int) -> Tensor:
    return torch.round((coordinates - low) * (steps / (high - low))).clamp(0, steps)


def _coordinate(levels: Tensor, low: Tensor, high: Tensor, steps: int) -> Tensor:
    return low + levels * ((high - low) / steps)
