"""What a fit minimises."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def l2(images: Tensor, frames: Tensor) -> Tensor:
    """Mean squared error of images [B, H, W, C] (1.0 is white) against frames [B, H, W, C] uint8; differentiable."""
    return _MeanSquaredError.apply(images, frames)


_LOWEST = 1e-10  # 100 dB


def psnr_tensor(loss: Tensor) -> Tensor:
    """`psnr_of` on the device."""
    return -10 * torch.log10(loss.detach().clamp(min=_LOWEST))


def psnr_of(loss: float) -> float:
    """dB of an L2 loss, before clamping and rounding to 8 bits."""
    return -10 * math.log10(max(loss, _LOWEST))


class _MeanSquaredError(torch.autograd.Function):
    """Keeps the difference for the backward: three passes over the images in all, and no float copy of the frames."""

    @staticmethod
    def forward(ctx, images: Tensor, frames: Tensor) -> Tensor:
        error = torch.sub(images, frames, alpha=1 / 255)
        ctx.save_for_backward(error)
        return torch.linalg.vector_norm(error).square() / error.numel()

    @staticmethod
    def backward(ctx, v_loss: Tensor):
        (error,) = ctx.saved_tensors
        return error * (v_loss * (2 / error.numel())), None
