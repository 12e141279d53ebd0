"""A video whose plane moves, and the same frame by frame with Gaussians that were moved themselves."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from garv_gsplat import VideoGaussians, VideoInfo, rasterization
from garv_gsplat.codec import rounded_motion
from garv_gsplat.gaussians import affine_map
from garv_gsplat.motion import after, maps_at, pixel_maps, unit_maps

INFO = VideoInfo(96, 64, 8)


def moving(n: int = 400, seed: int = 0) -> VideoGaussians:
    """A pan with some rotation and zoom, float32."""
    g = torch.Generator().manual_seed(seed)
    motion = [
        (1 + 0.02 * k, 0.01 * k, -0.015 * k, 1 - 0.01 * k, 0.06 * (k - 4), 0.02 * (k % 3) - 0.01) for k in range(8)
    ]
    info = replace(INFO, motion=rounded_motion(motion))
    means = torch.rand(n, 3, generator=g) * torch.tensor([1.8, 1.4, 1.0]) - torch.tensor([0.4, 0.2, 0.0])
    sizes = torch.exp(torch.rand(n, 3, generator=g) * 1.5)
    cholesky = torch.zeros(n, 6)
    cholesky[:, 0], cholesky[:, 3], cholesky[:, 5] = sizes[:, 0] / 8, sizes[:, 1] / 60, sizes[:, 2] / 45
    cholesky[:, [1, 2, 4]] = 0.02 * torch.randn(n, 3, generator=g)
    return VideoGaussians(means, cholesky, 0.05 + 0.3 * torch.rand(n, 3, generator=g), info)


def still_at(gaussians: VideoGaussians, frame: float) -> VideoGaussians:
    """What one frame, by number, sees: Gaussians in the frame itself, float64."""
    info = gaussians.info
    maps = maps_at(pixel_maps(info), torch.tensor([frame + 0.5]))
    ((xx, xy, yx, yy, x, y),) = unit_maps(maps, info.width, info.height)
    matrix = [[xx, xy, 0.0], [yx, yy, 0.0], [0.0, 0.0, 1.0]]
    moved = affine_map(gaussians.means.double(), gaussians.cholesky.double(), matrix, [x, y, 0.0])
    return VideoGaussians(*moved, gaussians.colors.double(), replace(info, motion=None))


def frame_of(gaussians: VideoGaussians, frame: float, **view) -> Tensor:
    """A frame [H, W, C], by number, with nothing culled."""
    image = rasterization(still_at(gaussians, frame), [(frame + 0.5) / gaussians.info.frames], tau=0.0, **view)
    return image[0].clamp(0, 1)


def in_plane(gaussians: VideoGaussians, scale: tuple[float, float]) -> VideoGaussians:
    """A video in a plane that is scaled about its middle: through maps that make up for it, frames look as before."""
    matrix = [[scale[0], 0, 0], [0, scale[1], 0], [0, 0, 1]]
    means, cholesky = affine_map(gaussians.means, gaussians.cholesky, matrix, [0.5 - n / 2 for n in scale] + [0])
    back = torch.tensor([1 / scale[0], 0, 0, 1 / scale[1], *(0.5 - 0.5 / n for n in scale)], dtype=torch.float64)
    before = gaussians.info.motion or ((1.0, 0.0, 0.0, 1.0, 0.0, 0.0),) * gaussians.info.frames
    motion = after(torch.tensor(before, dtype=torch.float64), back).tolist()
    info = replace(gaussians.info, motion=tuple(map(tuple, motion)))
    return VideoGaussians(means, cholesky, gaussians.colors, info)


def panning(way: float, n: int = 1000) -> VideoGaussians:
    """A camera that goes `way` times the picture's width from left to right."""
    gaussians = moving(n)
    motion = tuple((1.0, 0.0, 0.0, 1.0, way * (0.5 - k / 7), 0.0) for k in range(8))
    means = (gaussians.means - 0.5) * torch.tensor([(1.2 + way) / 1.8, 1, 1]) + 0.5
    return VideoGaussians(means, gaussians.cholesky, gaussians.colors, replace(INFO, motion=motion))
