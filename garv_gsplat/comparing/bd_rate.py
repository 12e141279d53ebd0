"""BD-rate: how many more bits one curve of quality over rate takes than another, on average over a range of quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, log10

from garv_gsplat.comparing.points import Point, curves

MIN_POINTS = 4
"""points of a curve that a BD-rate is taken from at least; Bjontegaard's own number"""
MEASURES = ("psnr", "ms_ssim")
"""fields of Point that BD-rates are given of"""


class NoBdRate(ValueError):
    """Why two curves have no BD-rate; a few words."""


@dataclass(frozen=True)
class BdRate:
    """One curve against the reference, at equal quality."""

    curve: str
    reference: str
    measure: str
    """what is equal, one of MEASURES"""
    percent: float | None
    """bits that the curve takes more than the reference, on average; below 0 it takes fewer"""
    reason: str | None
    """why there is none"""


def bd_rate(reference: Sequence[tuple[float, float]], curve: Sequence[tuple[float, float]]) -> float:
    """Bjontegaard's delta rate in percent: above 0 where `curve` needs more bits than `reference` for equal quality.

    The logarithm of the rate is interpolated as a function of quality and averaged over the range of quality that both
    curves have (G. Bjontegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33, 2001); by
    piecewise cubic Hermite polynomials (PCHIP, Fritsch and Butland 1984) instead of his one cubic, as in the common
    test conditions of HEVC and VVC (JCT-VC, JVET), because they don't swing between the points. Herglotz et al., "The
    Bjontegaard Bible", IEEE TIP 2024, compare the two.

    Args:
        reference, curve: (rate, quality) of every point, rates above 0 in any unit; quality in dB. In any order.

    Raises:
        NoBdRate: a curve has under MIN_POINTS points, or two points of which the larger file is not the better one, or
            there is no quality that both reach.
        ImportError: SciPy is not installed.
    """
    spans = [_span("the reference", reference), _span("it", curve)]
    low, high = max(qualities[0] for _, qualities in spans), min(qualities[-1] for _, qualities in spans)
    if low >= high:
        raise NoBdRate("there is no quality that both reach")
    interpolate = load_pchip()
    first, second = (interpolate(qualities, rates).integrate(low, high) / (high - low) for rates, qualities in spans)
    return 100 * (exp(second - first) - 1)


def bd_rates(points: Sequence[Point]) -> list[BdRate]:
    """Every curve but the first against the first, for every measure that all points have."""
    (reference, anchor), *others = curves(points).items()
    found = []
    for name, curve in others:
        for measure in MEASURES:
            if any(getattr(point, measure) is None for point in points):
                continue
            percent = reason = None
            try:
                percent = bd_rate(*([(p.bpp, _decibels(p, measure)) for p in side] for side in (anchor, curve)))
            except NoBdRate as error:
                reason = str(error)
            found.append(BdRate(name, reference, measure, percent, reason))
    return found


def load_pchip() -> type:
    """SciPy's interpolator; ImportError that says what to install where it is missing."""
    try:
        from scipy.interpolate import PchipInterpolator
    except ImportError as error:
        raise ImportError('BD-rates need SciPy: pip install "garv-gsplat[compare]"') from error
    return PchipInterpolator


def _span(name: str, points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Logarithms of the rates, and qualities, both rising."""
    if len(points) < MIN_POINTS:
        raise NoBdRate(f"{name} has {len(points)} of at least {MIN_POINTS} points")
    rates, qualities = zip(*sorted(points))
    for values in (rates, qualities):
        if any(b <= a for a, b in zip(values, values[1:])):
            raise NoBdRate(f"of {name} a larger file is not a better one")
    return [log(rate) for rate in rates], list(qualities)


def _decibels(point: Point, measure: str) -> float:
    """A quality on a scale along which curves are smooth; MS-SSIM, which crowds below 1, by its distance from there."""
    value = getattr(point, measure)
    return value if measure == "psnr" else -10 * log10(max(1 - value, 1e-10))
