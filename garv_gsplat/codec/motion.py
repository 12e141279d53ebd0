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
    return motion_of_numbers(numbers_of_motion(motion))


def numbers_of_motion(motion: Sequence[Sequence[float]]) -> list[int]:
    """Maps [T, 6] as whole numbers, rounded: by column, what each differs from what the two frames before it tell."""
    whole = np.rint((np.array(motion, np.float64) - _IDENTITY) * SCALE)
    _check(whole.T)
    return np.diff(whole.astype(np.int64), 2, axis=0, prepend=np.zeros((2, 6), np.int64)).T.ravel().tolist()


def motion_of_numbers(numbers: Sequence[int]) -> tuple[tuple[float, ...], ...]:
    """The inverse of `numbers_of_motion`."""
    # In floats nothing overflows, and what is within bounds is exact.
    whole = np.array(numbers, np.float64).reshape(6, -1).cumsum(1).cumsum(1)
    _check(whole)
    return tuple(map(tuple, (whole.T / SCALE + _IDENTITY).tolist()))


def _check(whole: np.ndarray) -> None:
    """ValueError for maps [6, T] in units of 1 / SCALE that leave all bounds, or that fold the plane once rounded."""
    if not (np.abs(whole) < _LARGEST).all():
        raise ValueError("motion must be of finite numbers, and move the plane by less than millions of its size")
    xx, xy, yx, yy = (whole.T[:, :4] / SCALE + _IDENTITY[:4]).T
    if not (xx * yy - xy * yx > 0).all():
        raise ValueError(f"motion must not fold the plane: rounded to 1 / {SCALE}, a map has no positive determinant")
