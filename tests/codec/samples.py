"""Gaussians to encode: like a fit's, with the long tails that a fit has."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.volume import VideoInfo


def moved(info: VideoInfo, seed: int = 0) -> VideoInfo:
    """A video with the motion of a camera that pans, turns, zooms and shakes, on no grid."""
    random = torch.Generator().manual_seed(seed)
    maps = []
    for k in range(info.frames):
        turn, zoom = 0.02 * math.sin(k / 9), 1 + 0.05 * math.sin(k / 17)
        x, y = (torch.randn(2, generator=random) * 0.002).tolist()
        linear = (math.cos(turn) * zoom, -math.sin(turn) * zoom, math.sin(turn) * zoom, math.cos(turn) * zoom)
        maps.append((*linear, x - 0.01 * k, y + 0.004 * k))
    return replace(info, motion=tuple(maps))


def fitted_like(count: int, info: VideoInfo, seed: int = 0) -> VideoGaussians:
    """Gaussians whose widths are lognormal and whose ratios and colours have long tails."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random)

    size = torch.tensor([info.width, info.height, info.frames], dtype=torch.float32)
    means = torch.rand(count, 3, generator=random) * size
    diagonal = torch.exp(normal(count, 3) * 0.7 + torch.tensor([2.0, 1.0, 1.0]))
    ratios = 0.5 * normal(count, 3) * torch.exp(normal(count, 3))
    (tt, xx, yy), (xt, yt, yx) = diagonal.unbind(1), ratios.unbind(1)
    cholesky = torch.stack([tt, xt * xx, yt * yy, xx, yx * yy, yy], 1)
    colors = 0.2 * normal(count, 1) + 0.05 * normal(count, info.channels) * torch.exp(normal(count, info.channels))
    return VideoGaussians.from_pixels(means, cholesky, colors, info)
