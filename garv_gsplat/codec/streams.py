"""Streams of a `.garv`: arrays of numbers as byte planes, deflated where that is smaller."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import numpy as np

RAW, DEFLATED = 0, 1
MAX_DEFLATE_RATIO = 1032  # deflate makes no more than this many bytes of one
_INT64_MAX = (1 << 63) - 1


@dataclass(frozen=True)
class Stream:
    """One stream as it is stored."""

    encoding: int  # RAW or DEFLATED
    data: bytes

    @property
    def crc(self) -> int:
        """CRC-32 of the stored bytes."""
        return zlib.crc32(self.data)


def pack(planes: list[np.ndarray]) -> Stream:
    """Store arrays one after the other, each as planes of bytes: all lowest bytes, then all second ones, and so on."""
    parts = []
    for array in planes:
        size = array.dtype.itemsize
        little_endian = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        parts += [p.tobytes() for p in little_endian.view(np.uint8).reshape(-1, size).T]
    raw = b"".join(parts)
    deflated = _deflate(parts)
    return Stream(DEFLATED, deflated) if len(deflated) < len(raw) else Stream(RAW, raw)


def unpack(data: bytes, encoding: int, shapes: list[tuple[str, int]]) -> list[np.ndarray]:
    """The arrays of `pack`; shapes are their (dtype, length).

    Raises ValueError where the bytes do not hold exactly that much, before anything of the expected size is allocated.
    """
    expected = sum(np.dtype(dtype).itemsize * length for dtype, length in shapes)
    raw = np.frombuffer(_inflate(data, expected) if encoding == DEFLATED else data, np.uint8)
    if len(raw) != expected:
        raise ValueError(f"holds {len(raw)} bytes, {expected} are expected")
    arrays, start = [], 0
    for dtype, length in shapes:
        size = np.dtype(dtype).itemsize
        planes = raw[start : start + size * length].reshape(size, length)
        arrays.append(np.ascontiguousarray(planes.T).view(np.dtype(dtype).newbyteorder("<")).reshape(length))
        start += size * length
    return arrays


def _deflate(parts: list[bytes]) -> bytes:
    # Neighbours share next to nothing, so strings are not searched for; a flush gives each plane a code of its own.
    compressor = zlib.compressobj(level=9, strategy=zlib.Z_HUFFMAN_ONLY)
    out = [compressor.compress(part) + compressor.flush(zlib.Z_SYNC_FLUSH) for part in parts]
    return b"".join(out) + compressor.flush()


def _inflate(data: bytes, expected: int) -> bytes:
    if expected > MAX_DEFLATE_RATIO * len(data):
        raise ValueError(f"{len(data)} deflated bytes cannot hold {expected}")
    inflator = zlib.decompressobj()
    try:
        raw = inflator.decompress(data, expected + 1)
    except zlib.error as error:
        raise ValueError(f"cannot be inflated ({error})") from error
    if len(raw) > expected:
        raise ValueError(f"inflates to more than the {expected} bytes that are expected")
    if not inflator.eof or inflator.unused_data:
        raise ValueError("the deflated data does not end where the stream ends")
    return raw


def ticks_of(timestamps: tuple[Fraction, ...]) -> np.ndarray:
    """Exact timestamps [T] as int64 [T + 1]: ticks per second, the first time in ticks, then the steps in ticks."""
    ticks = lcm(*(time.denominator for time in timestamps))
    counts = [int(time * ticks) for time in timestamps]
    if max(ticks, abs(counts[0]), abs(counts[-1])) > _INT64_MAX:
        raise ValueError(
            "the timestamps have no common time base of 64 bits; "
            "round them to one, for example with Fraction(round(seconds * 90000), 90000)"
        )
    return np.array([ticks, counts[0], *(b - a for a, b in zip(counts, counts[1:]))], np.int64)


def timestamps_of(ticks: np.ndarray) -> tuple[Fraction, ...]:
    """The inverse of `ticks_of`; raises ValueError where the numbers are no increasing times."""
    per_second, first, *steps = ticks.tolist()
    if per_second < 1 or any(step < 1 for step in steps):
        raise ValueError("ticks per second and the steps between frames must be positive")
    counts = [first]
    for step in steps:
        counts.append(counts[-1] + step)
    return tuple(Fraction(count, per_second) for count in counts)
