"""Turning frames upright, as the display matrix that comes with them says."""

from __future__ import annotations

import av
import numpy as np


def read_rotation(frame: av.VideoFrame) -> int:
    """How a frame has to be turned, as `VideoInfo.rotation` counts it; other angles go to the nearest quarter turn."""
    matrix = display_matrix(frame)
    if matrix is None:
        return 0
    a, b, c, d = matrix
    # pixel (x, y) is shown at (a x + c y, b x + d y): (c, d) is where the picture's "down" points
    turns = (1 if c < 0 else 3) if abs(c) > abs(d) else (2 if d < 0 else 0)
    return turns + 4 * (a * d < b * c)


def display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int] | None:
    """The upper left 2x2 of the display matrix, in 16.16 fixed point; None without one."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
            return a, b, c, d
    return None


def turn(pixels: np.ndarray, rotation: int) -> np.ndarray:
    """A view of pixels [H, W, C], turned as `VideoInfo.rotation` says."""
    return np.rot90(pixels[:, ::-1] if rotation >= 4 else pixels, -(rotation % 4))
