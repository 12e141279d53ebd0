"""The codec `sog`: Gaussians sorted into a grid whose neighbours are alike, each attribute an image without loss.

After "Compact 3D Scene Representation via Self-Organizing Gaussian Grids" (Morgenstern et al., ECCV 2024).
"""

from __future__ import annotations

import math
import struct

import numpy as np
import torch

from garv_gsplat.codec.chunks import least_size
from garv_gsplat.codec.planes import decode_plane, encode_plane
from garv_gsplat.codec.plas import sort_to_grid
from garv_gsplat.codec.uniform import MEANS, UniformModel, highest_levels


class Model(UniformModel):
    """What a file says about its streams, each of which holds the sizes of its planes, then the planes."""

    def encode(self, values: np.ndarray) -> bytes:
        """A stream of levels [N, 9 + C] uint16; raises MissingLibraryError without imagecodecs."""
        planes = values[_grid(values)]
        images = [encode_plane(np.ascontiguousarray(planes[..., k], _dtype(k))) for k in range(values.shape[1])]
        data = struct.pack(f"<{len(images)}I", *map(len, images)) + b"".join(images)
        return data.ljust(least_size(len(values)), b"\0")

    def decode_values(self, count: int, data: bytes) -> np.ndarray:
        """The inverse of `encode`, in the order of the grid; raises ValueError for what cannot be."""
        planes, side = 9 + self.info.channels, _side(count)
        if len(data) < 4 * planes:
            raise ValueError(f"a stream of {len(data)} bytes has no room for the sizes of {planes} planes")
        sizes = struct.unpack_from(f"<{planes}I", data)
        ends = 4 * planes + np.cumsum([0, *sizes], dtype=np.int64)
        if ends[-1] > len(data):
            raise ValueError(f"the planes take {ends[-1]} bytes of a stream of {len(data)}")
        values = np.empty((count, planes), np.uint16)
        for k, (start, end) in enumerate(zip(ends, ends[1:])):
            values[:, k] = decode_plane(data[start:end], _dtype(k), (side, side)).ravel()[:count]
        return values


def _grid(values: np.ndarray) -> np.ndarray:
    """Rows of levels [N, 9 + C] in a square grid [side, side] by position and colour; the last one fills it up."""
    features = torch.from_numpy(values / highest_levels(values.shape[1] - 9))
    chosen = torch.cat([features[:, :MEANS], features[:, 9:]], 1)
    return sort_to_grid(chosen).numpy()


def _side(count: int) -> int:
    return math.isqrt(count - 1) + 1


def _dtype(attribute: int) -> type[np.unsignedinteger]:
    return np.uint16 if attribute < MEANS else np.uint8
