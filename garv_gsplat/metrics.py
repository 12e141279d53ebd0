"""Quality: PSNR, MS-SSIM and temporal consistency between videos."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

PSNR_CAP = 100.0
"""dB of identical frames, which have no finite PSNR; nothing counts for more, so that means stay finite and ordered."""
MS_SSIM_MIN_SIDE = 161
"""Pixels: the shortest side whose fifth scale (1/16) still holds the 11x11 window."""
CHUNK_VALUES = 1 << 22
"""Values worked on at a time, so that memory does not grow with the video."""


def psnr_per_frame(a: Tensor, b: Tensor) -> Tensor:
    """PSNR of every frame.

    Args:
        a: [T, H, W, C], uint8 or floats in [0, 1].
        b: the same shape and kind; may be on another device.

    Returns:
        [T] float64 on the CPU, in dB, at most `PSNR_CAP`, which is what identical frames get.

    Raises:
        ValueError: shapes differ, are not those of a video, or one is uint8 and the other not.
    """
    peak = _check(a, b)
    return _decibels([_sum_of_squares([a[k]], [b[k]]) for k in range(len(a))], a[0].numel(), peak)


def psnr(a: Tensor, b: Tensor) -> float:
    """Mean over the frames of their PSNR in dB; arguments and errors as `psnr_per_frame`."""
    return psnr_per_frame(a, b).mean().item()


def temporal_consistency_per_step(a: Tensor, b: Tensor) -> Tensor:
    """PSNR of every change from a frame to the next: of b[t + 1] - b[t] against a[t + 1] - a[t].

    Their difference is the change of the error, so an error that stays as it is costs nothing, and one that flickers
    costs more than PSNR tells: errors that have nothing to do with those of the frame before, as of frames coded each
    on its own, come out 3.0 dB below PSNR. Full scale is that of the frames, 255 or 1.0, as for PSNR. Nothing is
    compensated for motion: an error that moves along with an object counts as one that changes.

    Args:
        a: [T, H, W, C], uint8 or floats in [0, 1].
        b: the same shape and kind; may be on another device.

    Returns:
        [T - 1] float64 on the CPU, in dB, at most `PSNR_CAP`.

    Raises:
        ValueError: as `psnr_per_frame`.
    """
    peak = _check(a, b)
    errors = [_sum_of_squares([a[k], b[k - 1]], [a[k - 1], b[k]]) for k in range(1, len(a))]
    return _decibels(errors, a[0].numel(), peak)


def temporal_consistency(a: Tensor, b: Tensor) -> float | None:
    """Mean over the steps of `temporal_consistency_per_step`; None for a single frame, where nothing changes."""
    steps = temporal_consistency_per_step(a, b)
    return steps.mean().item() if len(steps) else None


def ms_ssim(a: Tensor, b: Tensor) -> float | None:
    """Mean over the frames of MS-SSIM (Wang et al. 2003, five scales), by the package pytorch-msssim.

    Args:
        a: [T, H, W, C], uint8 or floats in [0, 1].
        b: the same shape and kind; may be on another device.

    Returns:
        At most 1; None when the shorter side is under 161 pixels, where five scales do not exist.

    Raises:
        ValueError: as `psnr_per_frame`.
        ImportError: pytorch-msssim is not installed.
    """
    peak = _check(a, b)
    if min(a.shape[1:3]) < MS_SSIM_MIN_SIDE:
        return None
    try:
        # imported here because only this function needs it: decoding works without
        from pytorch_msssim import ms_ssim as library
    except ImportError as error:
        raise ImportError("MS-SSIM needs pytorch-msssim: pip install pytorch-msssim") from error
    step = max(1, CHUNK_VALUES // a[0].numel())
    values = []
    for k in range(0, len(a), step):
        pair = [video[k : k + step].to(a.device, torch.float32).permute(0, 3, 1, 2) for video in (a, b)]
        values.append(library(*pair, data_range=peak, size_average=False))
    return torch.cat(values).double().mean().item()


def _check(a: Tensor, b: Tensor) -> float:
    """The value of full scale."""
    if a.shape != b.shape or a.ndim != 4 or 0 in a.shape:
        raise ValueError(
            f"videos are {tuple(a.shape)} and {tuple(b.shape)}; give two of one shape [frames, height, width, channels]"
        )
    if (a.dtype == torch.uint8) != (b.dtype == torch.uint8) or not all(_is_pixel_type(x.dtype) for x in (a, b)):
        raise ValueError(f"videos are {a.dtype} and {b.dtype}; give both as uint8 or both as floats in [0, 1]")
    return 255.0 if a.dtype == torch.uint8 else 1.0


def _is_pixel_type(dtype: torch.dtype) -> bool:
    return dtype == torch.uint8 or dtype.is_floating_point


def _decibels(errors: list[Tensor], values: int, peak: float) -> Tensor:
    """PSNR of sums of squared errors over so many values each."""
    if not errors:
        return torch.empty(0, dtype=torch.float64)
    return (-10 * torch.log10(torch.stack(errors).cpu() / values / peak**2)).clamp(max=PSNR_CAP)


def _sum_of_squares(added: Sequence[Tensor], subtracted: Sequence[Tensor]) -> Tensor:
    """Sum over frames [H, W, C] of the squares of what is added less what is subtracted; float64, exact for uint8."""
    like = added[0]
    kind = torch.int32 if like.dtype == torch.uint8 else torch.float64
    total = torch.zeros((), dtype=torch.float64, device=like.device)
    rows = max(1, CHUNK_VALUES // max(1, math.prod(like.shape[1:])))
    for k in range(0, len(like), rows):
        plus, minus = (
            reduce(torch.add, [frame[k : k + rows].to(like.device, kind) for frame in part])
            for part in (added, subtracted)
        )
        total += (plus - minus).square().sum()  # integers are summed in int64
    return total
