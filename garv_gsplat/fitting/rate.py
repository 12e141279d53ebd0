"""How many Gaussians a fit has, and how finely they are rounded, so that its file is as large as was asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from garv_gsplat.codec import find_codec, forecast_bits
from garv_gsplat.fitting.config import FitConfig
from garv_gsplat.fitting.field import GaussianField
from garv_gsplat.volume import VideoInfo

# Squared error that rounding adds over that of the fit, before the colours are fitted again. A coarser step saves log2
# of it in each of a dozen numbers, which go into more Gaussians: on three clips 0.15 was best, 0.3 cost 0.3 dB.
ROUNDING_SHARE = 0.15
_SHARE_OF_GIVEN = 0.3  # where the number is given: 6 bits of each for 0.4 dB, as much as fewer Gaussians would cost
_ENERGY = math.pi**1.5  # squared sum of a Gaussian of energy 1; rounding each number by `step` costs step^2 / 12 of it
_ANNEALED = 0.9  # the error of steps at full size is this much larger, relatively, than at the end
_GAUSSIANS_PER_ERROR = 1.5  # an exponent: 1.5 times 10 % more Gaussians for 10 % less error
_PRICED = 0.04, 0.24  # parts of the steps between which the price of bits in the loss grows to its full size
_CHANGE = 0.85, 1.15  # of the number of Gaussians, at a time
_DENOISING_START = 0.006  # Gaussians a pixel of every frame, where the noise decides; see docs/denoising.md


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
    if config.denoise:
        return max(1, round(_DENOISING_START * info.pixels))
    return config.num_gaussians or _count(config, info, _BITS[config.codec].usual)


def most_gaussians(config: FitConfig, info: VideoInfo) -> int:
    """How many Gaussians a fit of this video may come to have."""
    if config.psnr is not None or config.denoise:
        return math.ceil(gaussians_for(config, info) * _CHANGE[1] ** config.relocations)
    return config.num_gaussians or _count(config, info, _BITS[config.codec].fewest)


def target_bits(config: FitConfig, info: VideoInfo) -> float:
    """Bits of the file that is asked for."""
    return config.bpp * info.pixels if config.size is None else 8.0 * config.size


def wanted_gaussians(field: GaussianField, mean_squared_error: float, factor: float) -> Callable[[], int]:
    """How many Gaussians the field should have, by what those at hand take in a file, or by the error they leave.

    mean_squared_error: of the fit at present, 1.0 is white; factor: of the steps' size, which the error depends on.
    Reads the field at once; what it returns gives the number, which takes a while, and leaves the device alone.
    """
    config, count = field.config, len(field)
    if config.num_gaussians is not None:
        return lambda: config.num_gaussians
    expected = mean_squared_error / (1 + _ANNEALED * factor)
    if config.psnr is not None:
        rounded = expected * (1 + ROUNDING_SHARE / 2)
        wanted = count * (rounded / 10 ** (-config.psnr / 10)) ** _GAUSSIANS_PER_ERROR
        return lambda: changed(count, wanted)
    step = best_step(config, field.info, count, expected) if find_codec(config.codec).has_step else None
    gaussians = field.gaussians().to("cpu")

    def by_bits() -> int:
        bits = forecast_bits(gaussians, config.codec, step)
        return changed(count, _count(config, gaussians.info, max(_BITS[config.codec].fewest, bits)))

    return by_bits


def changed(count: int, wanted: float) -> int:
    """The number of Gaussians on the way from `count` to `wanted` that a fit can take at a time."""
    low, high = (round(change * count) for change in _CHANGE)
    return max(1, min(max(low, round(wanted)), high))


def best_step(config: FitConfig, info: VideoInfo, count: int, mean_squared_error: float) -> float:
    """The quantizer's step for so many Gaussians that leave the given error (see ROUNDING_SHARE)."""
    share = ROUNDING_SHARE if config.num_gaussians is None else _SHARE_OF_GIVEN
    squared_error = mean_squared_error * info.pixels * info.channels
    return math.sqrt(share * squared_error * 12 / (numbers_of(info) * count * _ENERGY))


def price_of(field: GaussianField, progress: float, factor: float) -> float:
    """What log2(e) bits of a Gaussian cost at part `progress` of a fit, relative to the mean squared error at present.

    Their worth is what `best_step` gives for them: twice the step takes a bit off each number, and makes the error of
    rounding four times as large. factor: of the steps' size, which the error depends on.
    """
    config = field.config
    if config.num_gaussians is not None or config.denoise:
        return 0.0  # what is asked for is no rate, and many Gaussians fade out of the file where bits cost
    if config.parametrization != "log-cholesky" or not find_codec(config.codec).has_step:
        return 0.0  # bits do not depend on the energy, or attributes are not what `add_rate` takes
    if config.schedule == "plateau":
        return 0.0  # which waits for the squared error to fall, and that may rise as bits are saved
    first, last = _PRICED
    grown = min(max((progress - first) / (last - first), 0.0), 1.0)
    worth = 2 * ROUNDING_SHARE / (numbers_of(field.info) * len(field) * (1 + _ANNEALED * factor))
    return config.rate_weight * grown * worth


def numbers_of(info: VideoInfo) -> int:
    """Numbers of a Gaussian: halving their step takes as many bits more."""
    return 9 + info.channels


def _count(config: FitConfig, info: VideoInfo, bits: float) -> int:
    available, codec = target_bits(config, info), _BITS[config.codec]
    return max(1, int(codec.spare * max(available - codec.overhead, available / 2) / bits))
