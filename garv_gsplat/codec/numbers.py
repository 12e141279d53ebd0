"""Lists of whole numbers as bytes: what a file says about its streams."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import numpy as np

_MOST_BYTES = 1 << 22  # inflated; enough for the chunks of 10^8 Gaussians and the motion of 3 x 10^5 frames
_LONGEST = 10  # bytes of a number of 64 bits


def pack_numbers(numbers: Iterable[int]) -> bytes:
    """Numbers of either sign: zigzag (0, -1, 1, -2 ...), seven bits a byte from the lowest on, deflated.

    Raises ValueError for more than a reader takes.
    """
    out = bytearray()
    for number in numbers:
        rest = 2 * number if number >= 0 else -2 * number - 1
        while rest > 127:
            out.append(128 | rest & 127)
            rest >>= 7
        out.append(rest)
    if len(out) >= _MOST_BYTES:
        raise ValueError(
            f"a list of {len(out):,} bytes is longer than readers take ({_MOST_BYTES:,}); encode fewer frames to a file"
        )
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
        self._numbers = _unpack(np.frombuffer(raw, np.uint8)).tolist()
        self._at = 0

    def take(self, low: int, high: int) -> int:
        """The next number, which must lie from `low` to `high`."""
        return self.take_many(1, low, high)[0]

    def take_many(self, count: int, low: int = -(1 << 31), high: int = 1 << 31) -> list[int]:
        """The next numbers, which must all lie from `low` to `high`."""
        numbers = self._numbers[self._at : self._at + count]
        if len(numbers) < count:
            raise ValueError("the numbers end too early")
        if count and not (low <= min(numbers) and max(numbers) <= high):
            wrong = next(number for number in numbers if not low <= number <= high)
            raise ValueError(f"a number is {wrong}, {low} to {high} are allowed")
        self._at += count
        return numbers

    def finish(self) -> None:
        """There must be no more."""
        if self._at != len(self._numbers):
            raise ValueError(f"{len(self._numbers) - self._at} numbers are left over")


def _unpack(raw: np.ndarray) -> np.ndarray:
    """The numbers [N] int64 that bytes hold; raises ValueError where one is cut off or has more than 64 bits."""
    ends = np.flatnonzero(raw < 128) + 1
    starts = np.concatenate([[0], ends])[:-1]
    lengths = ends - starts
    if (len(raw) and raw[-1] > 127) or (lengths > _LONGEST).any() or (raw[starts[lengths == _LONGEST] + 9] > 1).any():
        raise ValueError("the numbers end too early")
    places = np.arange(len(raw)) - np.repeat(starts, lengths)
    found = np.add.reduceat((raw & 127).astype(np.uint64) << (7 * places).astype(np.uint64), starts)
    return (found >> np.uint64(1)).astype(np.int64) ^ -(found & np.uint64(1)).astype(np.int64)
