"""What is benchmarked: synthetic scenes from a seed, and `.garv` files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from garv_gsplat.codec import load
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.volume import VideoInfo

_SIZE = (1920, 1080)
_FRAMES = 600
_DURATION = 8.0  # standard deviation along t, in frames
_SPREAD = 0.5  # of the logarithm of the standard deviations along x and y
_BRIGHTEST = 0.3


@dataclass(frozen=True)
class SceneRecipe:
    """Gaussians spread evenly over 600 frames of 1920x1080."""

    num_gaussians: int
    sigma: float
    """median standard deviation along x and y, in pixels"""


SCENES = {
    "A": SceneRecipe(1_000_000, 6.0),  # much overlap
    "B": SceneRecipe(300_000, 10.0),  # few and wide
    "C": SceneRecipe(1_000_000, 3.0),  # like a fitted video of about 0.1 bits per pixel
}


@dataclass(frozen=True)
class Target:
    """Gaussians on the CPU, with the name that the results carry."""

    name: str
    gaussians: VideoGaussians


def read_target(path: str | Path) -> Target:
    """The Gaussians of a `.garv`."""
    return Target(Path(path).name, load(path))


def make_scene(
    name: str, *, scale: float = 1.0, num_gaussians: int | None = None, frames: int | None = None, seed: int = 0
) -> Target:
    """One of `SCENES`.

    scale: of the sides; the Gaussians keep their size in pixels and their number per pixel.
    num_gaussians, frames: instead of the scene's own.
    """
    width, height = (max(1, round(side * scale)) for side in _SIZE)
    n = num_gaussians or max(1, round(SCENES[name].num_gaussians * scale**2))
    info = VideoInfo(width, height, frames or _FRAMES)
    arrays = _draw(n, SCENES[name].sigma, (width, height, info.frames), np.random.default_rng(seed))
    tensors = (torch.from_numpy(array.astype(np.float32)) for array in arrays)
    notes = [f"scale {scale:g}"] if scale != 1 else []
    notes += [f"N = {num_gaussians:,}"] if num_gaussians else []
    notes += [f"{frames} frames"] if frames else []
    notes += [f"seed {seed}"] if seed else []
    label = f"{name} ({', '.join(notes)})" if notes else name
    return Target(label, VideoGaussians.from_pixels(*tensors, info))


def _draw(n: int, sigma: float, size: tuple[int, int, int], rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Means [n, 3], Cholesky factors [n, 6] and colours [n, 3] in pixels and frames, float64.

    The order of the draws is part of the scenes: everybody's have the same numbers.
    """
    means = rng.random((n, 3)) * size
    sigmas = sigma * np.exp(_SPREAD * rng.standard_normal((n, 2)))
    motion = rng.standard_normal((n, 2))
    skew = rng.standard_normal(n)
    cholesky = np.column_stack([np.full(n, _DURATION), motion, sigmas[:, 0], skew, sigmas[:, 1]])
    return means, cholesky, _BRIGHTEST * rng.random((n, 3))
