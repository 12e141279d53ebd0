"""Asymmetric numeral systems (Duda 2013), by the library constriction: whole numbers to bytes and back."""

from __future__ import annotations

from collections.abc import Sequence

import constriction
import numpy as np

Categorical = constriction.stream.model.Categorical
_Coder = constriction.stream.stack.AnsCoder
_UNIFORM = constriction.stream.model.Uniform()
_MOST_BITS = 20  # of a number without a model at a time


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
        ends = np.cumsum([0, *counts]).tolist()
        self._parts = list(zip(self._coders, map(slice, ends, ends[1:])))
        self.streams, self.count = len(self._coders), ends[-1]

    def symbols(self, models: Sequence[Categorical], index: np.ndarray | None) -> np.ndarray:
        """[N] symbols, each of the model that index [N] names; with one model there is no index."""
        values = np.zeros(self.count, np.int64)
        for coder, part in self._parts:
            if index is None:
                values[part] = coder.decode(models[0], part.stop - part.start)
                continue
            for k, model in enumerate(models):
                here = part.start + np.flatnonzero(index[part] == k)
                if len(here):
                    values[here] = coder.decode(model, len(here))
        return values

    def bits(self, counts: np.ndarray) -> np.ndarray:
        """Numbers below 2^count [N, ...], int64."""
        values = np.zeros(counts.shape, np.int64)
        if counts.any():
            for coder, part in self._parts:
                values[part] = _bits(coder, counts[part].ravel()).reshape(-1, *counts.shape[1:])
        return values

    def bits_of_each(self, counts: np.ndarray) -> np.ndarray:
        """Numbers below 2^count [streams, K] of every stream."""
        return np.array([_bits(coder, row) for coder, row in zip(self._coders, counts)], np.int64)


def _bits(coder: _Coder, counts: np.ndarray) -> np.ndarray:
    values = np.zeros(len(counts), np.int64)
    for shift in range(0, int(counts.max(initial=0)), _MOST_BITS):
        some = np.flatnonzero(counts > shift)
        sizes = np.left_shift(1, np.minimum(counts[some] - shift, _MOST_BITS)).astype(np.int32)
        values[some] |= coder.decode(_UNIFORM, sizes).astype(np.int64) << shift
    return values
