"""Every attribute in equal steps from its least to its largest value: 16 bits a mean, 8 bits a number of all others.

The asymmetric quantisation of "GaRV: Gaussian Representations for Video" (WACV 2026): a scale and a zero point for each
attribute, Cholesky entries as they are, 120 bits a Gaussian of three channels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from garv_gsplat.codec.numbers import Numbers
from garv_gsplat.codec.quantization import MIN_SIGMA, checked_numbers
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.volume import VideoInfo

MEANS = 3  # attributes of 16 bits; those after them have 8
_DIAGONAL = [3, 6, 8]  # l_tt, l_xx, l_yy among the attributes
_COLORS = 9  # the first of them


@dataclass(frozen=True, eq=False)
class UniformLevels:
    """Gaussians as whole numbers, in any order."""

    info: VideoInfo
    ranges: np.ndarray  # [2, 9 + C] float32: what the level 0 and the highest level stand for, in pixels and frames
    values: np.ndarray  # [N, 9 + C] uint16: x, y, t, l_tt, l_xt, l_yt, l_xx, l_yx, l_yy, then the colours

    def __len__(self) -> int:
        return len(self.values)

    def take(self, chosen: np.ndarray) -> UniformLevels:
        """The Gaussians of the given indices or mask."""
        return replace(self, values=self.values[chosen])

    def joined(self, others: Sequence[UniformLevels]) -> UniformLevels:
        """These Gaussians and others of the same ranges, in turn."""
        return replace(self, values=np.concatenate([self.values, *(each.values for each in others)]))


def highest_levels(channels: int) -> np.ndarray:
    """The highest level [9 + C] of each attribute."""
    return np.array([65535] * MEANS + [255] * (6 + channels))


def quantize(gaussians: VideoGaussians) -> UniformLevels:
    """Round Gaussians; raises ValueError as `quantization.quantize` does."""
    attributes = np.concatenate(checked_numbers(gaussians), 1)
    attributes[:, _DIAGONAL] = np.maximum(attributes[:, _DIAGONAL], MIN_SIGMA)
    ranges = _ranges(attributes)
    return UniformLevels(gaussians.info, ranges, _levels(attributes, ranges, highest_levels(gaussians.info.channels)))


def with_colors(levels: UniformLevels, colors: Tensor) -> UniformLevels:
    """The same shapes and positions with other colours [N, C], rounded between their own least and largest values."""
    numbers = colors.detach().cpu().double().numpy()
    ranges = _ranges(numbers)
    rounded = _levels(numbers, ranges, highest_levels(levels.info.channels)[_COLORS:])
    return replace(
        levels,
        ranges=np.concatenate([levels.ranges[:, :_COLORS], ranges], 1),
        values=np.concatenate([levels.values[:, :_COLORS], rounded], 1),
    )


def dequantize(levels: UniformLevels) -> VideoGaussians:
    """The Gaussians that levels stand for, float32 on the CPU."""
    low, high = levels.ranges.astype(np.float64)
    attributes = low + levels.values * ((high - low) / highest_levels(levels.info.channels))
    parts = torch.from_numpy(attributes.astype(np.float32)).split([3, 6, levels.info.channels], 1)
    return VideoGaussians.from_pixels(*parts, levels.info)


def _ranges(attributes: np.ndarray) -> np.ndarray:
    """Least and largest values [2, K], float32; of no Gaussians anything, such as 1."""
    if len(attributes) == 0:
        return np.ones((2, attributes.shape[1]), np.float32)
    return np.stack([attributes.min(0), attributes.max(0)]).astype(np.float32)


def _levels(attributes: np.ndarray, ranges: np.ndarray, highest: np.ndarray) -> np.ndarray:
    low, high = ranges.astype(np.float64)
    steps = np.where(high > low, (high - low) / highest, 1)
    return np.rint((attributes - low) / steps).clip(0, highest).astype(np.uint16)


class UniformModel(ABC):
    """What a file says about its streams: the ranges. How levels become bytes is left to the codec."""

    num_layers = 1

    def __init__(self, info: VideoInfo, ranges: np.ndarray) -> None:
        self.info, self.ranges = info, ranges

    @abstractmethod
    def encode(self, values: np.ndarray) -> bytes:
        """A stream of levels [N, 9 + C] uint16, in any order; at least N // 8 bytes."""

    @abstractmethod
    def decode_values(self, count: int, data: bytes) -> np.ndarray:
        """The inverse of `encode`; raises ValueError for what cannot be."""

    @classmethod
    def fit(cls, levels: UniformLevels, chunks: list[np.ndarray]) -> UniformModel:
        """The model for Gaussians in chunks of given indices, which all have the same ranges."""
        del chunks
        return cls(levels.info, levels.ranges)

    def numbers(self) -> list[int]:
        """What a file keeps of it: the bits of the ranges, first those of the level 0."""
        return self.ranges.view(np.uint32).ravel().tolist()

    @classmethod
    def parse(cls, numbers: Numbers, info: VideoInfo) -> UniformModel:
        """The inverse of `numbers`; raises ValueError."""
        bits = numbers.take_many(2 * (_COLORS + info.channels), 0, (1 << 32) - 1)
        low, high = ranges = np.array(bits, np.uint32).view(np.float32).reshape(2, -1)
        if not (np.isfinite(ranges).all() and (low <= high).all()):
            raise ValueError("the range of an attribute is empty or infinite")
        if (low[_DIAGONAL] <= 0).any():
            raise ValueError(f"l_tt, l_xx or l_yy goes down to {low[_DIAGONAL].min()}; they must be positive")
        return cls(info, ranges)

    def streams(self, levels: UniformLevels) -> list[tuple[int, bytes]]:
        """Number of Gaussians and bytes of the one layer of a chunk."""
        return [(len(levels), self.encode(levels.values))]

    def decode(self, layer: int, counts: Sequence[int], streams: Sequence[bytes]) -> VideoGaussians:
        """The Gaussians of streams, `counts` of each; raises ValueError for what cannot be."""
        return dequantize(self.decode_levels(layer, counts, streams))

    def decode_levels(self, layer: int, counts: Sequence[int], streams: Sequence[bytes]) -> UniformLevels:
        """The same as whole numbers."""
        del layer
        values = [self.decode_values(count, data) for count, data in zip(counts, streams)]
        return UniformLevels(self.info, self.ranges, np.concatenate(values))
