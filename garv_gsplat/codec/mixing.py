"""One file of the Gaussians of several: what stays as it is is copied as it is coded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from garv_gsplat.codec.chunks import Reach
from garv_gsplat.codec.codecs import Levels, Model, find_codec
from garv_gsplat.codec.container import assemble, code
from garv_gsplat.codec.file import GarvFile

MAX_MODELS = 16

Recolored = Sequence[Tensor]
"""the colours [N, C] that the Gaussians of each chunk of a file get, in the order in which a chunk is read"""


class Mixture(NamedTuple):
    """A file, and what it takes of each of its sources."""

    data: bytes
    stream_bytes: list[int]
    """of the Gaussians of each source"""
    copied: list[int]
    """chunks of each source that were copied byte for byte"""


class _Part(NamedTuple):
    """What a file takes of one model of a source."""

    model: Model
    chunks: list[tuple[Reach, list[tuple[int, bytes]]]]


def combine(sources: Sequence[tuple[GarvFile, Recolored]], tracks: bytes | None = None) -> Mixture:
    """The file of the Gaussians of all sources in other colours.

    A chunk whose Gaussians keep their colours is copied. Of others those that get any colour are coded again by a model
    of their own, their numbers but the colours unchanged.

    Raises ValueError for sources of different codecs, of a version before models, and of more models than a file holds.
    """
    files = [file for file, _ in sources]
    codecs = {file.codec for file in files}
    if len(codecs) > 1:
        got = " and ".join(f"{file.source.name} is {file.codec}" for file in files)
        raise ValueError(f"files of one codec can be mixed; {got}; encode them alike")
    if any(file.layout is None for file in files):
        raise ValueError("files of version 0 cannot be mixed; encode them again")
    models, chunks, stream_bytes, copied = [], [], [], []
    for file, recolored in sources:
        kept, mixed = _sorted(file, recolored)
        parts = [*kept, *mixed]
        stream_bytes.append(sum(len(data) for part in parts for _, streams in part.chunks for _, data in streams))
        copied.append(sum(len(part.chunks) for part in kept))
        for part in parts:
            chunks += [(len(models), *chunk) for chunk in part.chunks]
            models.append(part.model.numbers())
    if len(models) > MAX_MODELS:
        raise ValueError(f"a file holds {MAX_MODELS} models, this one would need {len(models)}; mix fewer files")
    return Mixture(assemble(files[0].info, files[0].codec, models, chunks, tracks), stream_bytes, copied)


def _sorted(file: GarvFile, recolored: Recolored) -> tuple[list[_Part], list[_Part]]:
    """What is copied of a file, and what is coded again; of each model that there is something of."""
    codec = find_codec(file.codec)
    kept, mixed = [], []
    for index, model in enumerate(file.models):
        copies, again = [], []
        for chunk, colors in zip(file.chunks, recolored):
            if chunk.model != index or not colors.any():
                continue
            streams = [(stream.count, data) for stream, data in zip(chunk.streams, file.read_streams(chunk))]
            levels = _levels(model, streams)
            if torch.equal(colors, codec.dequantize(levels).colors):
                copies.append((chunk.reach, streams))
            else:
                chosen = colors.any(1)
                again.append((levels.take(chosen.numpy()), colors[chosen]))
        if copies:
            kept.append(_Part(model, copies))
        if again:
            (first, *others), colors = zip(*again)
            levels = codec.with_colors(first.joined(others), torch.cat(colors))
            mixed.append(_Part(*code(levels, file.codec)))
    return kept, mixed


def _levels(model: Model, streams: Sequence[tuple[int, bytes]]) -> Levels:
    """The Gaussians of a chunk as whole numbers, in the order in which they are read."""
    first, *others = (model.decode_levels(layer, [count], [data]) for layer, (count, data) in enumerate(streams))
    return first.joined(others)
