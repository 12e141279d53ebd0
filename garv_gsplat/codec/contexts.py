"""The distribution of one number of a Gaussian, given another one that was decoded before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from garv_gsplat.codec import buckets
from garv_gsplat.codec.ans import Encoder
from garv_gsplat.codec.numbers import Numbers
from garv_gsplat.codec.tables import Table

_QUARTERS = np.array([1, 2, 3])  # of the other number, between which a distribution of its own begins
_SAMPLE = 16384  # numbers by which the other one is chosen
_TABLE_BITS, _ENTRY_BITS = 32, 3  # about what a table and each of its weights take in a file


@dataclass(frozen=True, eq=False)
class Contexts:
    """Tables of a number, chosen by where another number lies among thresholds."""

    source: int  # column of the other number; -1 where there is one table alone
    magnitude: bool  # whether the other number's sign does not count
    thresholds: np.ndarray  # [K - 1] increasing: table k is for those from thresholds[k - 1] to below thresholds[k]
    tables: list[Table]

    @classmethod
    def fit(cls, attributes: np.ndarray) -> list[Contexts]:
        """The contexts of the least bits for the numbers of each column of attributes [N, K], given earlier columns."""
        found, _, _ = buckets.split_signed(attributes)
        every = max(1, len(found) // _SAMPLE)
        sample, out, sources = attributes[::every], [], []
        for column in range(attributes.shape[1]):
            own = np.ascontiguousarray(found[:, column])
            best = _best_source(sources, own[::every], every)
            chosen = cls(best.column, best.magnitude, best.thresholds, [])
            index = chosen._index(attributes)
            tables = [Table.fit(own[index == k]) for k in range(len(chosen.thresholds) + 1)]
            out.append(replace(chosen, tables=tables))
            sources += [_Source.of(sample, column, magnitude) for magnitude in (False, True) if len(sample)]
        return out

    def numbers(self) -> list[int]:
        """What a file keeps of it."""
        out = [self.source, int(self.magnitude), len(self.thresholds), *self.thresholds.tolist()]
        for table in self.tables:
            out += table.numbers()
        return out

    @classmethod
    def parse(cls, numbers: Numbers, column: int) -> Contexts:
        """The inverse of `numbers`, for the number of the given column; raises ValueError."""
        source, magnitude = numbers.take(-1, column - 1), bool(numbers.take(0, 1))
        count = numbers.take(0, len(_QUARTERS) if source >= 0 else 0)
        thresholds = np.array(numbers.take_many(count, -buckets.LARGEST, buckets.LARGEST), np.int64)
        return cls(source, magnitude, thresholds, [Table.parse(numbers, buckets.NUM_SIGNED) for _ in range(count + 1)])

    def row(self) -> list[int]:
        """What `ops.decode_levels` takes of it beside its tables."""
        room = [0] * (len(_QUARTERS) - len(self.thresholds))
        return [self.source, int(self.magnitude), len(self.thresholds), *self.thresholds.tolist(), *room]

    def encode(self, coder: Encoder, attributes: np.ndarray, split: tuple[np.ndarray, ...]) -> None:
        """Code a column of attributes [N, K], one table after the other, then the bits within their buckets.

        split: the column's buckets, bits and how many they are [N].
        """
        found, bits, lengths = split
        index = self._index(attributes)
        for k, table in enumerate(self.tables):
            table.encode(coder, found[index == k])
        coder.bits(bits, lengths)

    def _index(self, attributes: np.ndarray) -> np.ndarray:
        """Which table each row [N] takes."""
        if self.source < 0:
            return np.zeros(len(attributes), np.uint8)
        return _places(_values(attributes, self.source, self.magnitude), self.thresholds)


class _Source(NamedTuple):
    """What tables may be chosen by, and which table that is for each number of a sample."""

    column: int
    magnitude: bool
    thresholds: np.ndarray
    index: np.ndarray  # [N], times the buckets that a table has

    @classmethod
    def of(cls, sample: np.ndarray, column: int, magnitude: bool) -> _Source:
        """A column of a sample [N, K], by its quarters."""
        values = _values(sample, column, magnitude)
        thresholds = np.unique(np.sort(values)[_QUARTERS * len(values) // 4])
        index = _places(values, thresholds).astype(np.int64) * buckets.NUM_SIGNED
        return cls(column, magnitude, thresholds, index)


def _best_source(sources: list[_Source], found: np.ndarray, every: int) -> _Source:
    """The source of the least bits for buckets [N] of a sample, each of which stands for `every`; may be none."""
    best = none = _Source(-1, False, np.zeros(0, np.int64), np.zeros_like(found))
    least = _cost(found, none, every)
    for source in sources:
        cost = _cost(found, source, every)
        if cost < least:
            best, least = source, cost
    return best


def _values(attributes: np.ndarray, source: int, magnitude: bool) -> np.ndarray:
    return np.abs(attributes[:, source]) if magnitude else attributes[:, source]


def _places(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How many of the thresholds, few, are at most each value [N]; uint8."""
    places = np.zeros(len(values), np.uint8)
    for threshold in thresholds.tolist():
        places += values >= threshold
    return places


def _cost(found: np.ndarray, source: _Source, every: int) -> float:
    """Bits of buckets [N], each of which stands for `every`, by the tables that a source chooses, these included."""
    tables = len(source.thresholds) + 1
    counts = np.bincount(source.index + found, minlength=tables * buckets.NUM_SIGNED)
    counts = counts.reshape(tables, buckets.NUM_SIGNED).astype(np.float64)
    totals = counts.sum(1)
    entropy = (totals * np.log2(np.maximum(totals, 1))).sum() - (counts * np.log2(np.maximum(counts, 1))).sum()
    return every * float(entropy) + tables * _TABLE_BITS + np.count_nonzero(counts) * _ENTRY_BITS
