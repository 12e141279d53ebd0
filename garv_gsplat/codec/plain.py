"""The codec `paper16-8-8`: the numbers as they are, 120 bits a Gaussian of three channels."""

from __future__ import annotations

import numpy as np

from garv_gsplat.codec.uniform import MEANS, UniformModel


class Model(UniformModel):
    """What a file says about its streams, which hold one attribute of all Gaussians after the other."""

    def encode(self, values: np.ndarray) -> bytes:
        """A stream of levels [N, 9 + C] uint16."""
        return values[:, :MEANS].T.astype("<u2").tobytes() + values[:, MEANS:].T.astype(np.uint8).tobytes()

    def decode_values(self, count: int, data: bytes) -> np.ndarray:
        """The inverse of `encode`; raises ValueError where the bytes are not those of so many Gaussians."""
        bytes_of_means, narrow = 2 * MEANS * count, 6 + self.info.channels
        if len(data) != bytes_of_means + narrow * count:
            raise ValueError(f"a stream of {count} Gaussians has {len(data)} bytes")
        means = np.frombuffer(data, "<u2", MEANS * count).reshape(MEANS, count)
        others = np.frombuffer(data, np.uint8, offset=bytes_of_means).reshape(narrow, count)
        return np.concatenate([means, others]).T.astype(np.uint16)
