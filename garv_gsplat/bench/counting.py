"""How much work a case is: active Gaussians, pairs, bytes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from garv_gsplat.bench.cases import Kind
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.ops import bin_gaussians, slice_gaussians, tile_grid
from garv_gsplat.rendering import VolumeView

BYTES_COUNTED = (
    "per launch, each once: Gaussians (means, cholesky, colors, cutoffs; float32) read, pair list and tile offsets "
    "written and read, image written; forward+backward: Gaussians, lists and the image's gradient read again, "
    "gradients of the Gaussians written. What caches and repeated reads add is not in it."
)


@dataclass(frozen=True)
class Counts:
    """Work of one frame, mean over the chosen frames."""

    active_gaussians: float
    """whose weight at the frame's time alone passes the threshold"""
    tile_pairs: float
    """entries in the tiles' lists"""
    pixel_pairs: float
    """Gaussian and pixel above the threshold; from the sampled tiles"""
    pixel_pairs_per_pixel: float
    """the same per pixel"""


def count(view: VolumeView, positions: Tensor, pairs_per_pixel: float) -> Counts:
    """Count at `positions` [B] by `view.cutoffs`, one frame after the other."""
    active = tile_pairs = 0
    for time in positions.split(1):
        _, peak, _ = slice_gaussians(view.means, view.cholesky, time)
        active += int((-2 * peak[0].log() <= view.cutoffs).sum())
        single = (t.float() for t in (view.means, view.cholesky, view.cutoffs, time))  # as the launches bin
        offsets, _ = bin_gaussians(*single, view.width, view.height, 0)
        tile_pairs += int(offsets[-1])
    frames = len(positions)
    return Counts(active / frames, tile_pairs / frames, pairs_per_pixel * view.width * view.height, pairs_per_pixel)


def bytes_of_launch(kind: Kind, gaussians: VideoGaussians, size: tuple[int, int], counts: Counts, frames: int) -> float:
    """Bytes that a launch of `frames` images of `size` has to move at least; `BYTES_COUNTED` in numbers."""
    (n, channels), (width, height) = gaussians.colors.shape, size
    tiles_x, tiles_y = tile_grid(width, height)
    parameters = 4 * n * (3 + 6 + channels + 1)
    lists = frames * (4 * counts.tile_pairs + 8 * tiles_x * tiles_y)
    image = frames * width * height * channels * (1 if kind == "decode" else 4)
    forward = parameters + 2 * lists + image
    if kind != "forward+backward":
        return forward
    return forward + parameters + lists + image + 4 * n * (3 + 6 + channels)
