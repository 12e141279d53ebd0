"""The search for the constant rate factor that meets a rate."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

STEP = 0.25
"""the finest step of SVT-AV1; on average 3 % of the rate"""
TOLERANCE = 0.02
"""how far from the rate is near enough, relative"""
MOST_TRIALS = 10
"""to try at most; where a step jumps over the rate, the nearest has to do"""


@dataclass(frozen=True)
class CrfScale:
    """What an encoder means by a crf."""

    first: float
    """a middling one, to try first"""
    last: float
    """the largest there is; the smallest is 1"""
    per_octave: float
    """how much more halves the size, about"""


def next_crf(sizes: dict[float, int], wanted: float, scale: CrfScale) -> float | None:
    """The crf to try next, a multiple of STEP, by interpolation: the logarithm of the size falls about linearly.

    Args:
        sizes: bytes for every crf that was tried.
        wanted: bytes.
        scale: the encoder's.

    Returns:
        None when a size is near enough, or no crf is left that could come nearer.
    """
    if not sizes:
        return scale.first
    best = closest(sizes, wanted)
    if abs(sizes[best] / wanted - 1) <= TOLERANCE or len(sizes) == MOST_TRIALS:
        return None
    finer = max((crf for crf, size in sizes.items() if size > wanted), default=None)
    coarser = min((crf for crf, size in sizes.items() if size <= wanted), default=None)
    if finer is not None and coarser is not None:
        above, below = log2(sizes[finer] / wanted), log2(wanted / sizes[coarser])
        guess = finer + (coarser - finer) * above / (above + below)
    else:
        guess = best + scale.per_octave * log2(sizes[best] / wanted)
    low = 1.0 if finer is None else finer + STEP
    high = scale.last if coarser is None else coarser - STEP
    return min(max(round(guess / STEP) * STEP, low), high) if low <= high else None


def closest(sizes: dict[float, int], wanted: float) -> float:
    """The crf whose size is nearest to what is wanted, relatively."""
    return min(sizes, key=lambda crf: abs(log2(sizes[crf] / wanted)))
