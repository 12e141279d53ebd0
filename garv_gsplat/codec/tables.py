"""How likely each bucket is: tables fitted to one file's numbers, and kept in that file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np

from garv_gsplat.codec import ans
from garv_gsplat.codec.numbers import Numbers
from garv_gsplat.ops import MAX_HEIGHT, categorical


@dataclass(frozen=True, eq=False)
class Table:
    """A distribution over the buckets from `first` on."""

    first: int
    heights: np.ndarray  # [K] log2 of the weights, in halves; 0 to MAX_HEIGHT

    @cached_property
    def model(self) -> ans.Categorical:
        """What the coder takes."""
        return categorical(self.heights)

    @classmethod
    def fit(cls, buckets: np.ndarray) -> Table:
        """The table of given buckets [N]; of none it is the one that says nothing."""
        if len(buckets) == 0:
            return cls(0, np.zeros(1, np.int64))
        first = int(buckets.min())
        counts = np.bincount(buckets - first)
        return cls(first, np.rint(2 * np.log2(counts + 0.4) + 4).astype(np.int64).clip(0, MAX_HEIGHT))

    def encode(self, coder: ans.Encoder, buckets: np.ndarray) -> None:
        """Code buckets [N] of this table."""
        coder.symbols(buckets - self.first, self.model)

    def numbers(self) -> list[int]:
        """First bucket, number of buckets, and the heights as differences: what a file keeps."""
        return [self.first, len(self.heights), *np.diff(self.heights, prepend=0).tolist()]

    @classmethod
    def parse(cls, numbers: Numbers, buckets: int) -> Table:
        """The inverse of `numbers`, of a table over at most so many buckets; raises ValueError."""
        first = numbers.take(0, buckets - 1)
        steps = numbers.take_many(numbers.take(1, buckets - first), -MAX_HEIGHT, MAX_HEIGHT)
        heights = list(accumulate(steps))
        if min(heights) < 0 or max(heights) > MAX_HEIGHT:
            raise ValueError(f"heights go from {min(heights)} to {max(heights)}, 0 to {MAX_HEIGHT} are allowed")
        return cls(first, np.array(heights))
