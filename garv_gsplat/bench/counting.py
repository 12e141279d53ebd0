"""How much work a case is: active Gaussians, pairs, bytes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from garv_gsplat.bench.cases import Window
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.motion import maps_at
from garv_gsplat.ops import CHUNK_SIZE, bin_gaussians, slice_gaussians, tile_grid
from garv_gsplat.ops._reference_draw import ALIGNMENT, APRON, level_gaussians
from garv_gsplat.packing import PackedVolume
from garv_gsplat.rendering import VolumeView

BYTES_COUNTED = (
    "per launch, each once, as CUDA lays it out. forward and decode: bounds of the chunks of packed Gaussians (16 "
    "bytes) and 32 bytes a Gaussian of those chunks that are alive at one of the times read; lists of 32x32 samples (4 "
    "bytes for each Gaussian that reaches a tile there, and 4 for their number) written and read; coarse levels (8 "
    "bytes for each sample that the image needs) written and read; uint8 image written. forward+backward: Gaussians "
    "(means, cholesky, colors, cutoffs; float32) read twice, pair list and tile offsets written and read twice, image "
    "written and its gradient read, gradients of the Gaussians written. What caches and repeated reads add is left out."
)

_RECORD_BYTES = 32
_BOUNDS_BYTES = 16
_SAMPLE_BYTES = 8
_TILES_PER_SIDE = 2  # of the 32x32 samples that have a list


@dataclass(frozen=True)
class Counts:
    """Work of one frame, mean over the chosen frames."""

    active_gaussians: float
    """whose weight at the frame's time alone passes the threshold"""
    tile_pairs: float
    """Gaussian and tile where it passes the threshold; tiles are of 16x16 pixels, in decoding of 16x16 samples of the
    level that the Gaussian is drawn on"""
    pixel_pairs: float
    """Gaussian and pixel above the threshold; from the sampled tiles"""
    pixel_pairs_per_pixel: float
    """the same per pixel"""


@dataclass(frozen=True, eq=False)
class DrawWork:
    """What `draw` reads and writes for the chosen frames, all volumes together; numbers are of a frame, their mean."""

    living: Tensor
    """[frames, M] bool on the CPU: the chunks that are alive"""
    tile_pairs: float
    list_entries: float
    lists: int
    coarse_samples: int


def count(view: VolumeView, positions: Tensor, pairs_per_pixel: float, work: DrawWork | None) -> Counts:
    """Count at `positions` [B] by `view.cutoffs`, one frame after the other.

    work: what decoding does, whose tile pairs are then taken.
    """
    active = tile_pairs = 0
    for time in positions.split(1):
        _, peak, _ = slice_gaussians(view.means, view.cholesky, time)
        active += int((-2 * peak[0].log() <= view.cutoffs).sum())
        if work is None:
            single = (t.float() for t in (view.means, view.cholesky, view.cutoffs, time))  # as the launches bin
            motion = maps_at(view.maps, time)
            motion = None if motion is None else motion.float()
            offsets, _ = bin_gaussians(*single, view.width, view.height, 0, motion)
            tile_pairs += int(offsets[-1])
    frames = len(positions)
    pairs = tile_pairs / frames if work is None else work.tile_pairs
    return Counts(active / frames, pairs, pairs_per_pixel * view.width * view.height, pairs_per_pixel)


def draw_work(volumes: list[PackedVolume], positions: Tensor, window: Window) -> DrawWork:
    """Count what drawing `window` at `positions` [B] float32 takes, one frame after the other."""
    bounds = torch.cat([volume.chunks for volume in volumes])
    living = (bounds[:, 0] <= positions[:, None]) & (positions[:, None] <= bounds[:, 1])
    tile_pairs = entries = lists = samples = 0
    for volume in volumes:
        for level in range(volume.levels):
            left, top, width, height = level_window(window, level)
            tiles_x, tiles_y = tile_grid(width, height)
            lists += -(-tiles_x // _TILES_PER_SIDE) * -(-tiles_y // _TILES_PER_SIDE)
            samples += width * height if level > 0 else 0
            for time in positions.split(1):
                pairs, listed = _listed(volume, level, time, (left, top, width, height))
                tile_pairs, entries = tile_pairs + pairs, entries + listed
    frames = len(positions)
    return DrawWork(living.cpu(), tile_pairs / frames, entries / frames, lists, samples)


def level_window(window: Window, level: int) -> Window:
    """The samples of a level's grid that a window of the image needs."""
    scale, apron = 1 << level, APRON if level > 0 else 0
    starts = [start // ALIGNMENT * ALIGNMENT for start in window[:2]]
    sizes = [-(-(start + size - s) // scale) + 2 * apron for start, size, s in zip(window[:2], window[2:], starts)]
    return starts[0] // scale - apron, starts[1] // scale - apron, sizes[0], sizes[1]


def _listed(volume: PackedVolume, level: int, time: Tensor, grid: Window) -> tuple[int, int]:
    """Gaussians in the tiles of a level, and in its squares of 2x2 tiles."""
    width, height = grid[2:]
    means, cholesky, _, cutoffs = level_gaussians(volume, level, time, grid, maps_at(volume.maps, time))
    geometry = (means, cholesky, cutoffs, time, width, height)
    offsets, _ = bin_gaussians(*geometry, 0)
    offsets, ids = bin_gaussians(*geometry, int(offsets[-1]))
    tiles_x, tiles_y = tile_grid(width, height)
    tiles = torch.repeat_interleave(torch.arange(tiles_x * tiles_y, device=ids.device), offsets.diff())
    squares = tiles // tiles_x // _TILES_PER_SIDE * tiles_x + tiles % tiles_x // _TILES_PER_SIDE
    return len(ids), len(torch.unique(squares * len(means) + ids))


def drawn_bytes_per_frame(work: DrawWork, size: tuple[int, int], channels: int, batch: int) -> float:
    """Bytes that a frame of forward or decode has to move at least, in launches of `batch`; see `BYTES_COUNTED`."""
    launches = work.living.split(batch)
    chunks = sum(int(part.any(0).sum()) for part in launches)
    gaussians = chunks * CHUNK_SIZE * _RECORD_BYTES + len(launches) * work.living.shape[1] * _BOUNDS_BYTES
    lists = 4 * (work.list_entries + work.lists)
    image = size[0] * size[1] * channels
    return gaussians / len(work.living) + 2 * lists + 2 * _SAMPLE_BYTES * work.coarse_samples + image


def fitted_bytes_per_frame(gaussians: VideoGaussians, size: tuple[int, int], counts: Counts, batch: int) -> float:
    """Bytes that a frame of forward+backward has to move at least, in launches of `batch`; see `BYTES_COUNTED`."""
    (n, channels), (width, height) = gaussians.colors.shape, size
    tiles_x, tiles_y = tile_grid(width, height)
    parameters, gradients = 4 * n * (3 + 6 + channels + 1), 4 * n * (3 + 6 + channels)
    lists = 4 * counts.tile_pairs + 8 * tiles_x * tiles_y
    image = 4 * width * height * channels
    return (2 * parameters + gradients) / batch + 3 * lists + 2 * image
