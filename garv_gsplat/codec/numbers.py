"""Lists of whole numbers as bytes: what a file says about its streams."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import numpy as np

_MOST_BYTES = 1 << 26  # inflated; far more than any file needs


def pack_numbers(numbers: Iterable[int]) -> bytes:
    """Numbers of either sign: zigzag (0, -1, 1, -2 ...), seven bits a byte from the lowest on, deflated."""
    out = bytearray()
    for number in numbers:
        rest = 2 * number if number >= 0 else -2 * number - 1
        while rest > 127:
            out.append(128 | rest & 127)
            rest >>= 7
        out.append(rest)
    return zlib.compress(bytes(out), 9)


class Numbers:
    """Reads what `pack_numbers` wrote, number by number, and believes nothing.

    Raises ValueError for bytes that cannot be inflated, and for numbers that are missing, too many or out of bounds.
    """

    def __init__(self, data: bytes) -> None:
        inflator = zlib.decompressobj()
        try:
            raw = inflator.decompress(data, _MOST_BYTES)
        except zlib.error as error:
            raise ValueError(f"cannot be inflated ({error})") from error
        if not inflator.eof or inflator.unused_data:
            raise ValueError("the deflated data does not end where the section ends")
        self._raw = raw
        self._at = 0

    def take(self, low: int, high: int) -> int:
        """The next number, which must lie from `low` to `high`."""
        value = shift = 0
        while True:
            if self._at >= len(self._raw) or shift > 63:
                raise ValueError("the numbers end too early")
            byte = self._raw[self._at]
            self._at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        number = value // 2 if value % 2 == 0 else -(value + 1) // 2
        if not low <= number <= high:
            raise ValueError(f"a number is {number}, {low} to {high} are allowed")
        return number

    def take_many(self, count: int, low: int = -(1 << 31), high: int = 1 << 31) -> np.ndarray:
        """The next numbers [count] int64."""
        if count > len(self._raw) - self._at:
            raise ValueError("the numbers end too early")
        return np.array([self.take(low, high) for _ in range(count)], np.int64)

    def finish(self) -> None:
        """There must be no more."""
        if self._at != len(self._raw):
            raise ValueError(f"{len(self._raw) - self._at} bytes follow the last number")
