"""Which Gaussians share a chunk: those that live about as long at about the same time, and in large files at the
same place, so that a reader of a frame or a crop fetches little else."""

from __future__ import annotations

import math

import numpy as np

from garv_gsplat.codec.chunks import REACH_TAU
from garv_gsplat.gaussians import VideoGaussians, reach_of

SHORTEST = 16  # frames of the shortest chunks
SMALLEST = 16384  # Gaussians a chunk on average; half of it costs 0.4 % more bytes
LARGEST = 65536  # Gaussians; chunks of more are cut into tiles


def partition(gaussians: VideoGaussians) -> list[np.ndarray]:
    """Indices of the Gaussians of each chunk.

    A dyadic tree over time: a Gaussian belongs to the shortest nodes that are at least as long as it lives, there to
    the one that its mean lies in. So it reaches past its node by half the node's length at most.
    """
    low, high = (bound.double().numpy() for bound in reach_of(gaussians, REACH_TAU))
    frames = gaussians.info.frames
    shortest = _shortest(len(low), frames)
    top = max(0, math.ceil(math.log2(frames / shortest)))
    middle, length = (low[:, 2] + high[:, 2]) / 2, high[:, 2] - low[:, 2]
    level = np.ceil(np.log2(np.maximum(length / shortest, 1))).clip(0, top).astype(int)
    index = np.floor(middle / (shortest * np.exp2(level))).clip(0, (1 << top) - 1).astype(int)
    index = np.minimum(index, ((1 << top) >> level) - 1)
    chunks = []
    for node in _groups((top - level) << 32 | index):
        chunks += _tiles(node, low, high, gaussians.info.width, gaussians.info.height)
    return chunks


def _shortest(count: int, frames: int) -> int:
    """Frames of the shortest nodes: as short as leaves SMALLEST Gaussians a node; all frames where that is too much."""
    shortest = SHORTEST
    while shortest < frames and count * shortest < SMALLEST * frames:
        shortest *= 2
    return min(shortest, frames)


def _tiles(node: np.ndarray, low: np.ndarray, high: np.ndarray, width: int, height: int) -> list[np.ndarray]:
    """A node's Gaussians, those that fit into a tile by the tile that their mean lies in, the others by themselves."""
    side = math.ceil(math.sqrt(len(node) / LARGEST))
    if side < 2:
        return [node]
    tile = np.array([width / side, height / side])
    middle, size = (low[node, :2] + high[node, :2]) / 2, high[node, :2] - low[node, :2]
    column, row = np.floor(middle / tile).clip(0, side - 1).astype(int).T
    wide = (size > tile).any(1)
    return [node[part] for part in _groups(np.where(wide, -1, row * side + column))]


def _groups(keys: np.ndarray) -> list[np.ndarray]:
    """Indices of equal keys, by rising key."""
    order = np.argsort(keys, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(keys[order])) + 1) if len(keys) else []
