"""Drawing packed Gaussians: the decoder's operator, in one call or over and over."""

from __future__ import annotations

import torch
from torch import Tensor

from garv_gsplat.ops import _schema  # noqa: F401  (defines torch.ops.garv)
from garv_gsplat.ops._budgets import motion_or_none
from garv_gsplat.ops._library import ensure_kernels
from garv_gsplat.ops._reference_draw import CHUNK_SIZE, MAX_LEVELS

_draw = torch.ops.garv.draw.default  # to look it up takes a frame alone as long as all that is checked


class Drawing:
    """`draw` of the same packed Gaussians over and over: what they are is checked once, before a frame waits for it."""

    def __init__(self, records: Tensor, chunks: Tensor, levels: int, channels: int, tau: float) -> None:
        """The first arguments of `draw`; raises as it does."""
        if chunks.ndim != 2 or chunks.shape[1] != 4 or records.shape != (chunks.shape[0] * CHUNK_SIZE, 8):
            raise ValueError(
                f"records must be [{CHUNK_SIZE} * M, 8] and chunks [M, 4], "
                f"got {list(records.shape)} and {list(chunks.shape)}"
            )
        if not (1 <= levels <= MAX_LEVELS and 1 <= channels <= 4 and tau >= 0):
            raise ValueError(
                f"levels must be 1 to {MAX_LEVELS}, channels 1 to 4 and tau not negative, "
                f"got {levels}, {channels} and {tau}"
            )
        ensure_kernels(records.device)
        self._packed = (records.contiguous(), chunks.contiguous(), levels, channels, tau)

    def __call__(
        self,
        times: Tensor,  # [B]
        window: tuple[int, int, int, int],  # left, top, width, height
        room: int,
        missing: Tensor,  # [1] int64
        dtype: torch.dtype = torch.uint8,
        motion: Tensor | None = None,  # [B, 6]
    ) -> Tensor:
        """What `draw` gives for the other arguments."""
        if dtype not in (torch.uint8, torch.float32):
            raise ValueError(f"dtype must be torch.uint8 or torch.float32, got {dtype}")
        left, top, width, height = window
        if times.ndim != 1 or width < 1 or height < 1:
            raise ValueError(
                f"times must be [B] and the window at least 1x1, got {list(times.shape)} and {width}x{height}"
            )
        if room < 0:
            raise ValueError(f"room must not be negative, got {room}")
        motion = motion_or_none(motion, times).contiguous()
        frames = (times.contiguous(), motion, left, top, width, height, room, dtype == torch.float32, missing)
        return _draw(*self._packed, *frames)


def draw(
    records: Tensor,  # [CHUNK_SIZE * M, 8] int32
    chunks: Tensor,  # [M, 4] float32
    levels: int,
    channels: int,
    tau: float,
    times: Tensor,  # [B] float32, frames
    left: int,
    top: int,
    width: int,
    height: int,
    room: int,
    missing: Tensor,  # [1] int64, in memory that the device can write: its own or the host's, for CUDA pinned
    dtype: torch.dtype = torch.uint8,
    motion: Tensor | None = None,  # [B, 6]
) -> Tensor:
    """Draw a window of pixels out of packed Gaussians (GaRV eq. 3); `packing.pack` makes records and chunks.

    Gaussians of level l are drawn on a grid with a sample for 2^l x 2^l pixels, and the levels are interpolated from
    coarse to fine by six taps along each axis. A Gaussian is left out of a tile of 16x16 samples where
    max|color| p(t) exp(-d/2) < tau / 255.

    motion: that of `bin_gaussians`, in pixels. The records of a volume that moves are not narrowed (see `pack`); what a
    frame sees of them is.

    Returns images [B, height, width, channels], uint8 (255 x rounded, clamped) or float32. `missing` becomes the length
    of the longest list of 32x32 samples that passed `room`, and stays as it is if none did; such a list makes the
    launch slower, not wrong. CUDA writes it when the launch comes to it, so its memory must live until then. With a
    room of 0 lists are only measured, `missing` is written in any case, and the images are empty. CUDA rounds weights
    to half precision. Not differentiable.
    """
    drawing = Drawing(records, chunks, levels, channels, tau)
    return drawing(times, (left, top, width, height), room, missing, dtype, motion)
