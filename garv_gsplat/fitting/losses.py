"""What a fit minimises."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def l2(images: Tensor, frames: Tensor) -> Tensor:
    """Mean squared error of images [B, H, W, C] (1.0 is white) against frames [B, H, W, C] uint8."""
    return torch.nn.functional.mse_loss(images, frames.to(images.dtype) / 255)


def psnr_of(loss: float) -> float:
    """dB of an L2 loss, before clamping and rounding to 8 bits."""
    return -10 * math.log10(max(loss, 1e-10))
