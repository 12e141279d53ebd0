"""Asymmetric numeral systems (Duda 2013), by the library constriction: whole numbers to bytes and back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import constriction
import numpy as np

Categorical = constriction.stream.model.Categorical
_Coder = constriction.stream.stack.AnsCoder
_UNIFORM = constriction.stream.model.Uniform()
_MOST_BITS = 20  # of a number without a model at a time
_NOTHING = np.zeros(0, np.int32)


def table(weights: np.ndarray) -> Categorical:
    """The model of symbols 0 to K - 1 with probabilities in proportion to weights [K], positive whole numbers."""
    return Categorical(weights.astype(np.float64), perfect=False)


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


class Decoder:
    """The inverse of `Encoder`, for several streams side by side: each is decoded by itself, in the same calls.

    Arrays hold the numbers of one stream after those of the other. Bytes of another origin give meaningless numbers.
    """

    def __init__(self, streams: Sequence[bytes], counts: Sequence[int]) -> None:
        """counts: numbers that each stream has of everything but `bits_of_each`."""
        self._coders = [_Coder(np.frombuffer(data, "<u4").astype(np.uint32)) for data in streams]
        self._ends = np.cumsum([0, *counts])
        self.streams, self.count = len(self._coders), int(self._ends[-1])

    def symbols(self, models: Sequence[Categorical], rows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Of each model the int32 symbols of those of the N numbers that it is for, whose increasing indices are given.

        A stream has those of the first model first, and so on.
        """
        counts = [np.diff(each.searchsorted(self._ends)).tolist() for each in rows]
        found: list[list[np.ndarray]] = [[_NOTHING] for _ in models]
        for coder, sizes in zip(self._coders, zip(*counts)):
            for model, size, parts in zip(models, sizes, found):
                if size:
                    parts.append(coder.decode(model, size))
        return [np.concatenate(parts) for parts in found]

    def bits(self, counts: np.ndarray) -> np.ndarray:
        """Numbers below 2^count [N, ...], int64."""
        return self._bits(counts.ravel(), self._ends * math.prod(counts.shape[1:])).reshape(counts.shape)

    def bits_of(self, rows: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Numbers below 2^count [n], int64, of those of the N alone whose increasing indices are given."""
        return self._bits(counts, rows.searchsorted(self._ends))

    def bits_of_each(self, counts: np.ndarray) -> np.ndarray:
        """Numbers below 2^count [streams, K] of every stream, int64."""
        return self._bits(counts.ravel(), np.arange(self.streams + 1) * counts.shape[1]).reshape(counts.shape)

    def _bits(self, counts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        values = np.zeros(len(counts), np.int64)
        some = np.flatnonzero(counts > 0)  # faster than of the counts
        if len(some) == 0:
            return values
        sizes = np.left_shift(1, np.minimum(counts[some], _MOST_BITS), dtype=np.int32)
        bounds = np.searchsorted(some, ends).tolist()
        parts = zip(self._coders, bounds, bounds[1:])
        values[some] = np.concatenate([coder.decode(_UNIFORM, sizes[a:b]) for coder, a, b in parts if a < b])
        higher = np.maximum(counts - _MOST_BITS, 0)
        return values | self._bits(higher, ends) << _MOST_BITS if higher.any() else values
