"""The table of contents: which Gaussians stand where in a file, and what of the video they reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from garv_gsplat.codec.numbers import Numbers

REACH_TAU = 0.03 / 255
"""of white; a Gaussian's contribution is less than this outside of its chunk's reach"""
_FAR = 1 << 31  # pixels or frames
_MANY = 1 << 24  # chunks


@dataclass(frozen=True)
class Stream:
    """The Gaussians of one layer of a chunk."""

    count: int
    offset: int
    """in the section of streams"""
    size: int
    crc: int | None
    """CRC-32 of its bytes; None where they check themselves"""


@dataclass(frozen=True)
class Reach:
    """A box of the video in pixels and frames, whole numbers: from low to below high."""

    low: tuple[int, int, int]
    """x, y, t"""
    high: tuple[int, int, int]

    def meets(self, low: Sequence[float], high: Sequence[float]) -> bool:
        """Whether the boxes share a point; the other one is closed."""
        return all(a <= d and c < b for a, b, c, d in zip(self.low, self.high, low, high))


@dataclass(frozen=True)
class Chunk:
    """Gaussians that are near each other in time, and in a large file in space; layers by falling importance."""

    model: int
    """which of the file's models decodes it"""
    reach: Reach
    streams: tuple[Stream, ...]

    @property
    def count(self) -> int:
        """Gaussians of all layers."""
        return sum(stream.count for stream in self.streams)


def whole_reach(low: torch.Tensor, high: torch.Tensor) -> Reach:
    """The box of all boxes [N, 3]; an empty one of none."""
    if len(low) == 0:
        return Reach((0, 0, 0), (0, 0, 0))
    first = low.amin(0).floor().clamp(-_FAR, _FAR).long().tolist()
    last = (high.amax(0).floor() + 1).clamp(-_FAR, _FAR).long().tolist()
    return Reach(tuple(first), tuple(last))


def chunk_numbers(chunks: Sequence[Chunk]) -> list[int]:
    """What a file keeps of its chunks; the streams follow each other without gaps."""
    out = [len(chunks)]
    for chunk in chunks:
        sides = [b - a for a, b in zip(chunk.reach.low, chunk.reach.high)]
        out += [chunk.model, *chunk.reach.low, *sides, len(chunk.streams)]
        for stream in chunk.streams:
            out += [stream.count, stream.size, stream.crc]
    return out


def parse_chunks(numbers: Numbers, models: Sequence[int], streams_size: int) -> list[Chunk]:
    """The inverse of `chunk_numbers`, given the layers of each model and the bytes of all streams.

    Raises ValueError.
    """
    chunks, offset = [], 0
    for _ in range(numbers.take(0, _MANY)):
        model = numbers.take(0, len(models) - 1)
        low = [numbers.take(-_FAR, _FAR) for _ in range(3)]
        high = [a + numbers.take(0, 2 * _FAR) for a in low]
        streams = []
        for _ in range(numbers.take(0, models[model])):
            count, size, crc = numbers.take(0, 1 << 32), numbers.take(0, streams_size), numbers.take(0, (1 << 32) - 1)
            if size < least_size(count):
                raise ValueError(f"a stream of {size} bytes cannot hold {count} Gaussians")
            streams.append(Stream(count, offset, size, crc))
            offset += size
        chunks.append(Chunk(model, Reach(tuple(low), tuple(high)), tuple(streams)))
    numbers.finish()
    if offset != streams_size:
        raise ValueError(f"the streams take {offset} bytes, their section {streams_size}")
    return chunks


def least_size(count: int) -> int:
    """Bytes that a stream of so many Gaussians has at the least, so that no count makes a reader allocate."""
    return count // 8
