"""Gaussians to a `.garv` and back; docs/format.md gives the meaning of every byte."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from garv_gsplat.codec.chunks import REACH_TAU, Chunk, Reach, Stream, chunk_numbers, whole_reach
from garv_gsplat.codec.codecs import Levels, Model, find_codec
from garv_gsplat.codec.file import GarvFile
from garv_gsplat.codec.layout import write_layout
from garv_gsplat.codec.numbers import pack_numbers
from garv_gsplat.codec.partition import partition
from garv_gsplat.gaussians import VideoGaussians, reach_of


def encode(
    gaussians: VideoGaussians, codec: str = "rans", *, step: float | None = None, tracks: bytes | None = None
) -> bytes:
    """The bytes of a `.garv`.

    codec: "rans", "sog" or "paper16-8-8" (see docs/format.md).
    step: of "rans": what every number is rounded by, relative to a Gaussian of energy 1 (see `quantization`).
    tracks: sound and subtitles to carry along, as `video.read_tracks` gives them.

    The motion of `gaussians.info` is rounded to what `rounded_motion` gives, and `load` gives that back.

    Raises ValueError for numbers that are infinite or not a number, MissingLibraryError where "sog" lacks imagecodecs.
    """
    return encode_levels(find_codec(codec).round(gaussians, step), codec, tracks=tracks)


def encode_levels(levels: Levels, codec: str = "rans", *, tracks: bytes | None = None) -> bytes:
    """`encode`, of Gaussians that the codec rounded already; those whose colour has become nothing are left out."""
    model, chunks = code(levels, codec)
    return assemble(levels.info, codec, [model.numbers()], [(0, *chunk) for chunk in chunks], tracks)


def code(levels: Levels, codec: str) -> tuple[Model, list[tuple[Reach, list[tuple[int, bytes]]]]]:
    """The model of levels, and chunks: the reach, and of each layer the number of Gaussians and the bytes.

    Those whose colour is nothing are left out.
    """
    chosen = find_codec(codec)
    gaussians = chosen.dequantize(levels)
    seen = (gaussians.colors != 0).any(1).nonzero()[:, 0]
    levels, gaussians = levels.take(seen.numpy()), gaussians.take(seen)
    members_of_chunks = partition(gaussians)
    model = chosen.model.fit(levels, members_of_chunks)
    low, high = reach_of(gaussians, REACH_TAU)
    chunks = [
        (whole_reach(low[members], high[members]), model.streams(levels.take(members))) for members in members_of_chunks
    ]
    return model, chunks


def assemble(info, codec: str, models: Sequence[list[int]], chunks, tracks: bytes | None) -> bytes:
    """A file of models' numbers and chunks: model, reach, and of each layer the number of Gaussians and the bytes."""
    table, offset, data = [], 0, []
    for model, reach, streams in chunks:
        entries = []
        for count, part in streams:
            entries.append(Stream(count, offset, len(part), zlib.crc32(part)))
            offset += len(part)
            data.append(part)
        table.append(Chunk(model, reach, tuple(entries)))
    sections = {
        "models": pack_numbers([len(models), *(number for numbers in models for number in numbers)]),
        "chunks": pack_numbers(chunk_numbers(table)),
        "streams": b"".join(data),
    }
    if tracks is not None:
        sections["tracks"] = tracks
    return write_layout(info, codec, sections)


def with_tracks(data: bytes, tracks: bytes | None) -> bytes:
    """The same file with other sound and subtitles, as `video.read_tracks` gives them, or with none."""
    file = GarvFile(data)
    kept = {name: part for name, part in file.layout.parts(file.source).items() if name != "tracks"}
    return write_layout(file.info, file.codec, kept if tracks is None else {**kept, "tracks": tracks})


def load(source: str | os.PathLike | bytes | BinaryIO) -> VideoGaussians:
    """Read all Gaussians of a `.garv`, in the unit cube, float32 on the CPU.

    Raises GarvFormatError for anything that is not a whole, unchanged `.garv` of a version this reader knows, and
    OSError where it cannot be read.
    """
    file = GarvFile(source)
    try:
        return file.read()
    finally:
        file.close()


def save(path: str | os.PathLike, data: bytes | VideoGaussians) -> int:
    """Write what `encode` gave, or Gaussians as `encode` would, to a `.garv` and return its size in bytes.

    The file appears at `path` complete or not at all. Raises OSError where it cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file in it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist; make it first")
    data = encode(data) if isinstance(data, VideoGaussians) else data
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return len(data)
