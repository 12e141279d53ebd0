"""Where a fit starts from: Gaussians drawn where the video has detail, sized by how densely they lie."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from garv_gsplat import motion
from garv_gsplat.fitting.seen import SeenFrames
from garv_gsplat.gaussians import neighbour_order
from garv_gsplat.volume import VideoInfo

GRADIENT_PART = 0.85  # of the Gaussians are drawn by the image gradient, the others evenly
START_FRAMES = 8.0  # l_tt, frames
START_COLOR = 0.45  # of the pixel; the Gaussians' weights at a point add up to about its inverse
_WHOLE = 2.0**60  # what the weights that are drawn by are scaled to; their sum must fit 64 bits
_BLUR = 9  # pixels; the gradient is smoothed so that it tells the density around a pixel, not at it


def draw_from_video(seen: SeenFrames, n: int, seed: int, maps: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Means [N, 3], Cholesky factors [N, 6] and colours [N, C] in pixels and frames, drawn by the image gradient.

    maps: of all frames of the video [T, 6], where its plane moves. The results are on the frames' device.
    """
    frames, (count, height, width) = seen.frames, seen.frames.shape[:3]
    generator = torch.Generator().manual_seed(seed)
    totals = torch.stack([_detail(frame).sum(dtype=torch.float64) for frame in frames])
    total = totals.sum().clamp(min=1e-12)
    share = GRADIENT_PART * totals / total + (1 - GRADIENT_PART) / count
    per_frame = torch.multinomial(share.cpu(), n, replacement=True, generator=generator).bincount(minlength=count)
    means, sigmas, colors = [], [], []
    for k, (drawn, time) in enumerate(zip(per_frame.tolist(), seen.times.tolist())):
        density = GRADIENT_PART * _detail(frames[k]) / total + (1 - GRADIENT_PART) / (count * height * width)
        pixel = draw_indices(density.flatten().double(), torch.rand(drawn, generator=generator, dtype=torch.float64))
        jitter = torch.rand(drawn, 3, generator=generator).to(frames.device)
        y, x = pixel // width, pixel % width
        means.append(torch.stack([x, y, torch.full_like(x, time - 0.5, dtype=torch.float32)], 1) + jitter)
        sigmas.append(_spacing(density.flatten()[pixel] * n))
        colors.append(frames[k, y, x].float() * (START_COLOR / 255))
    sigma = torch.cat(sigmas).clamp(0.5, max(width, height) / 4)
    means, sigma = into_plane(torch.cat(means), sigma, maps)
    cholesky = sigma.new_zeros(n, 6)
    cholesky[:, 0] = START_FRAMES
    cholesky[:, 3] = cholesky[:, 5] = sigma
    colors = torch.cat(colors)
    near = neighbour_order(means, START_FRAMES)
    return means[near], cholesky[near], colors[near]


def into_plane(means: Tensor, sigma: Tensor, maps: Tensor | None) -> tuple[Tensor, Tensor]:
    """Where Gaussians with means [N, 3] and sigmas [N] in frames lie in the plane that the frames see through maps."""
    if maps is None:
        return means, sigma
    back = motion.inverse(motion.maps_at(maps, means[:, 2]))
    scale = (back[:, 0] * back[:, 3] - back[:, 1] * back[:, 2]).sqrt()
    return torch.cat([motion.apply(back, means[:, :2]), means[:, 2:]], 1), sigma * scale


def draw_at_random(info: VideoInfo, n: int, seed: int) -> Tensor:
    """Attributes [N, 9 + C] of the GaussianImage parametrisation: even positions, even Cholesky entries and colours."""
    generator = torch.Generator().manual_seed(seed)
    positions = torch.atanh((torch.rand(n, 3, generator=generator) * 2 - 1) * (1 - 1e-6))
    return torch.cat([positions, torch.rand(n, 6 + info.channels, generator=generator)], 1)


def _detail(frame: Tensor) -> Tensor:
    """Smoothed gradient magnitude [H, W] of a frame uint8 [H, W, C]."""
    gray = frame.float().mean(-1)[None, None]
    padded = torch.nn.functional.pad(gray, (0, 1, 0, 1), mode="replicate")
    magnitude = torch.hypot(padded[..., :-1, 1:] - gray, padded[..., 1:, :-1] - gray)
    box = torch.nn.functional.avg_pool2d(magnitude, _BLUR, 1, _BLUR // 2, count_include_pad=False)
    return 0.5 * (magnitude + box)[0, 0]


def draw_indices(weights: Tensor, uniform: Tensor) -> Tensor:
    """Indices drawn with probability proportional to weights [K], one for each number of `uniform` in [0, 1)."""
    # In whole numbers: of fractions a GPU's running sum differs from run to run.
    cumulative = (weights * (_WHOLE / weights.sum())).long().cumsum(0)
    index = torch.searchsorted(cumulative, (uniform.to(weights.device) * cumulative[-1]).long(), right=True)
    return index.clamp(max=len(weights) - 1)


def _spacing(density: Tensor) -> Tensor:
    """Sigma in pixels at which Gaussians of `density` per pixel and frame add up to 1 / START_COLOR."""
    alive = density * START_FRAMES * math.sqrt(2 * math.pi)
    return (1 / START_COLOR / (2 * math.pi * alive)).sqrt()
