"""Exact timestamps as whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import lcm

LARGEST = (1 << 63) - 1


def ticks_of_times(timestamps: Sequence[Fraction]) -> list[int]:
    """Timestamps [T] in seconds as T + 1 numbers: ticks per second, the first time, then the steps, in ticks."""
    per_second = lcm(*(time.denominator for time in timestamps))
    ticks = [int(time * per_second) for time in timestamps]
    if max(per_second, abs(ticks[0]), abs(ticks[-1])) > LARGEST:
        raise ValueError(
            "the timestamps have no common time base of 64 bits; "
            "round them to one, for example with Fraction(round(seconds * 90000), 90000)"
        )
    return [per_second, ticks[0], *(b - a for a, b in zip(ticks, ticks[1:]))]


def times_of_ticks(numbers: Sequence[int]) -> tuple[Fraction, ...]:
    """The inverse of `ticks_of_times`; raises ValueError where the numbers are no increasing times."""
    per_second, first, *steps = numbers
    if per_second < 1 or any(step < 1 for step in steps):
        raise ValueError("ticks per second and the steps between frames must be positive")
    ticks = [first]
    for step in steps:
        ticks.append(ticks[-1] + step)
    return tuple(Fraction(tick, per_second) for tick in ticks)
