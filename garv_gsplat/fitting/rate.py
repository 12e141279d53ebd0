"""How many Gaussians a fit has, and how finely they are rounded, so that its file is as large as was asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from garv_gsplat.codec import find_codec, forecast_bits
from garv_gsplat.fitting.config import FitConfig
from garv_gsplat.fitting.field import GaussianField
from garv_gsplat.volume import VideoInfo

# Squared error that rounding adds over that of the fit. A coarser step saves log2 of it in each of a dozen numbers, and
# twice the Gaussians take about 2.5 dB off: both pay alike where rounding adds about a fifth, of which half is won
# back when the colours are fitted again.
ROUNDING_SHARE = 0.3
_ENERGY = math.pi**1.5  # squared sum of a Gaussian of energy 1; rounding each number by `step` costs step^2 / 12 of it
_ANNEALED = 0.7  # of the squared error is left when the steps have become small
_CHANGE = 0.85, 1.15  # of the number of Gaussians, at a time


@dataclass(frozen=True)
class _Bits:
    """What a codec takes."""

    usual: int  # bits of a Gaussian, before anything is known
    fewest: int  # likewise, in any video seen
    overhead: int  # bits of a file beside its Gaussians: tables and entries
    spare: float  # Gaussians to fit for each that will be in the file, where none can be added at the end


_BITS = {
    "rans": _Bits(usual=50, fewest=25, overhead=8 * 2500, spare=1.0),
    "sog": _Bits(usual=100, fewest=40, overhead=8 * 400, spare=1.05),
    "paper16-8-8": _Bits(usual=120, fewest=104, overhead=8 * 300, spare=1.0),  # 104: of one channel
}


def gaussians_for(config: FitConfig, info: VideoInfo) -> int:
    """How many Gaussians a fit of this video starts with."""
    return config.num_gaussians or _count(config, info, _BITS[config.codec].usual)


def most_gaussians(config: FitConfig, info: VideoInfo) -> int:
    """How many Gaussians a fit of this video may come to have."""
    return config.num_gaussians or _count(config, info, _BITS[config.codec].fewest)


def wanted_gaussians(field: GaussianField, mean_squared_error: float) -> int:
    """How many Gaussians the field should have, by what those at hand take in a file.

    mean_squared_error: of the fit at present, 1.0 is white.
    """
    config = field.config
    if config.num_gaussians is not None:
        return config.num_gaussians
    step = None
    if find_codec(config.codec).has_step:
        step = best_step(field.info, len(field), _ANNEALED * mean_squared_error)
    bits = max(_BITS[config.codec].fewest, forecast_bits(field.gaussians(), config.codec, step))
    low, high = (round(factor * len(field)) for factor in _CHANGE)
    return min(max(low, _count(config, field.info, bits)), high)


def best_step(info: VideoInfo, count: int, mean_squared_error: float) -> float:
    """The quantizer's step for so many Gaussians that leave the given error (see ROUNDING_SHARE)."""
    squared_error = mean_squared_error * info.pixels * info.channels
    return math.sqrt(ROUNDING_SHARE * squared_error * 12 / (numbers_of(info) * count * _ENERGY))


def numbers_of(info: VideoInfo) -> int:
    """Numbers of a Gaussian: halving their step takes as many bits more."""
    return 9 + info.channels


def _count(config: FitConfig, info: VideoInfo, bits: float) -> int:
    available, codec = config.bpp * info.pixels, _BITS[config.codec]
    return max(1, int(codec.spare * max(available - codec.overhead, available / 2) / bits))
