"""One file of the Gaussians of several: what stays as it is is copied as it is coded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from garv_gsplat.codec.chunks import Chunk, Reach
from garv_gsplat.codec.codecs import Levels, Model, find_codec
from garv_gsplat.codec.container import assemble, code
from garv_gsplat.codec.file import GarvFile
from garv_gsplat.gaussians import VideoGaussians

MAX_MODELS = 16

Weigh = Callable[[VideoGaussians], Tensor]
"""what the colours of Gaussians are multiplied by [N], from 0 to 1"""


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


def combine(sources: Sequence[tuple[GarvFile, Weigh]], tracks: bytes | None = None) -> Mixture:
    """The file of the Gaussians of all sources, their colours weighted.

    A chunk whose Gaussians all have weight 1 is copied, one of weight 0 left out; of others the Gaussians that are left
    are coded again by a model of their own, their numbers but the colours unchanged.

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
    for file, weigh in sources:
        kept, mixed = _sorted(file, weigh)
        parts = [*kept, *mixed]
        stream_bytes.append(sum(len(data) for part in parts for _, streams in part.chunks for _, data in streams))
        copied.append(sum(len(part.chunks) for part in kept))
        for part in parts:
            chunks += [(len(models), *chunk) for chunk in part.chunks]
            models.append(part.model.numbers())
    if len(models) > MAX_MODELS:
        raise ValueError(f"a file holds {MAX_MODELS} models, this one would need {len(models)}; mix fewer files")
    return Mixture(assemble(files[0].info, files[0].codec, models, chunks, tracks), stream_bytes, copied)


def _sorted(file: GarvFile, weigh: Weigh) -> tuple[list[_Part], list[_Part]]:
    """What is copied of a file, and what is coded again; of each model that there is something of."""
    kept, mixed = [], []
    for index, model in enumerate(file.models):
        copies, again = [], []
        for number, chunk in enumerate(file.chunks):
            if chunk.model != index:
                continue
            weights = weigh(file.read([number]))
            if (weights == 1).all():
                streams = file.read_streams(chunk)
                copies.append((chunk.reach, [(s.count, data) for s, data in zip(chunk.streams, streams)]))
            elif weights.any():
                again.append(chunk)
        if copies:
            kept.append(_Part(model, copies))
        if again:
            mixed.append(_Part(*code(_weighted(file, model, again, weigh), file.codec)))
    return kept, mixed


def _weighted(file: GarvFile, model: Model, chunks: Sequence[Chunk], weigh: Weigh) -> Levels:
    """The Gaussians of chunks as whole numbers, with their colours weighted."""
    codec = find_codec(file.codec)
    parts = [
        model.decode_levels(layer, [stream.count], [data])
        for chunk in chunks
        for layer, (stream, data) in enumerate(zip(chunk.streams, file.read_streams(chunk)))
    ]
    levels = parts[0].joined(parts[1:])
    gaussians = codec.dequantize(levels)
    weights = weigh(gaussians)
    chosen = np.flatnonzero(weights.numpy())
    return codec.with_colors(levels.take(chosen), (gaussians.colors * weights[:, None])[chosen])
