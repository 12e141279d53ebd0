"""The maps of a plane that moves, as whole numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SCALE = 1 << 18
"""of the maps' numbers; at a corner of 4096 pixels they are off by a hundredth of a pixel"""
_LARGEST = 1 << 40  # in units of 1 / SCALE
_IDENTITY = np.array([1, 0, 0, 1, 0, 0])


def rounded_motion(motion: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    """Maps [T, 6] (see `VideoInfo.motion`) as a file keeps them."""
    return tuple(map(tuple, (np.rint(np.array(motion, np.float64) * SCALE) / SCALE).tolist()))


def numbers_of_motion(motion: Sequence[Sequence[float]]) -> list[int]:
    """Maps [T, 6] as whole numbers, rounded: by column, what each differs from what the two frames before it tell."""
    whole = np.rint((np.array(motion, np.float64) - _IDENTITY) * SCALE).astype(np.int64)
    return np.diff(whole, 2, axis=0, prepend=np.zeros((2, 6), np.int64)).T.ravel().tolist()


def motion_of_numbers(numbers: Sequence[int]) -> tuple[tuple[float, ...], ...]:
    """The inverse of `numbers_of_motion`; raises ValueError where the maps leave all bounds."""
    columns = np.array(numbers, np.float64).reshape(6, -1)
    whole = columns.cumsum(1).cumsum(1)
    if not (np.abs(whole) < _LARGEST).all():
        raise ValueError("a map moves the plane by millions of its size")
    return tuple(map(tuple, (whole.T / SCALE + _IDENTITY).tolist()))
