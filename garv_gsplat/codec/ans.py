"""Asymmetric numeral systems (Duda 2013), by the library constriction: whole numbers to bytes.

`ops.decode_levels` is the way back.
"""

from __future__ import annotations

import constriction
import numpy as np

Categorical = constriction.stream.model.Categorical
_Coder = constriction.stream.stack.AnsCoder
_UNIFORM = constriction.stream.model.Uniform()
_MOST_BITS = 20  # of a number without a model at a time


class Encoder:
    """Takes numbers in the order in which they will be decoded."""

    def __init__(self) -> None:
        self._parts: list[tuple] = []

    def symbols(self, values: np.ndarray, model: Categorical) -> None:
        """Symbols of one model."""
        if len(values):
            self._parts.append((values.astype(np.int32), model))

    def bits(self, values: np.ndarray, counts: np.ndarray) -> None:
        """Numbers below 2^count, each with a count of its own, all as likely; arrays of any shape."""
        values, counts = values.ravel(), counts.ravel()
        for shift in range(0, int(counts.max(initial=0)), _MOST_BITS):
            some = np.flatnonzero(counts > shift)
            sizes = np.left_shift(1, np.minimum(counts[some] - shift, _MOST_BITS))
            self._parts.append((((values[some] >> shift) & (sizes - 1)).astype(np.int32), sizes.astype(np.int32)))

    def finish(self, least: int) -> bytes:
        """The bytes, a multiple of four and at least so many; what fills them up lies where no decoder comes."""
        data = self._encode(_Coder())
        if len(data) >= least:
            return data
        return self._encode(_Coder(np.ones(least // 4 + 2, np.uint32)))

    def _encode(self, coder: _Coder) -> bytes:
        for values, model in reversed(self._parts):
            if isinstance(model, np.ndarray):
                coder.encode_reverse(values, _UNIFORM, model)
            else:
                coder.encode_reverse(values, model)
        return coder.get_compressed().astype("<u4").tobytes()
