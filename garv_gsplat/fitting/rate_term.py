"""What a Gaussian's bits cost, as a part of the loss.

The steps that a Gaussian of energy E is rounded by are in proportion to 1 / sqrt(E), and those of its mean to its
widths, too. Its 9 + C numbers therefore take (9 + C) / 2 log2 E - log2(l_tt l_xx l_yy) bits, beside what does not
depend on it. Gaussians that cancel each other have much energy for what they show.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_UNSEEN = 1e-5  # of |color|^2, below what eight bits show: there a smaller colour saves nothing


@torch.no_grad()
def add_rate(attributes: Tensor, price: Tensor, frames: float, batch_frames: int, tau: float) -> None:
    """Add the gradient of the bits to that of attributes [N, 9 + C] of a `LogCholesky`, where a step sees them.

    price: of log2(e) bits of a Gaussian, a scalar tensor. frames: of the video; batch_frames: that the step sees.
    """
    numbers = attributes.shape[1]
    colors = attributes[:, 9:]
    gradient = torch.zeros_like(attributes)
    gradient[:, 3:6] = 0.5 * numbers - 1
    gradient[:, 9:] = numbers * colors / (colors.square().sum(1, keepdim=True) + _UNSEEN)
    seen = (attributes.grad != 0).any(1, keepdim=True)
    gradient *= price * seen / _chance(attributes[:, 3:4].exp(), frames, batch_frames, tau)
    attributes.grad += gradient


def _chance(l_tt: Tensor, frames: float, batch_frames: int, tau: float) -> Tensor:
    """How likely one of a step's frames shows a Gaussian: those that few steps see pay for the others in these."""
    lifetime = 2 * math.sqrt(-2 * math.log(tau)) * l_tt if tau else torch.full_like(l_tt, frames)
    return 1 - (1 - (lifetime / frames).clamp(max=1)) ** batch_frames
