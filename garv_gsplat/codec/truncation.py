"""A smaller file from a larger one: its most important Gaussians, as they are coded."""

from __future__ import annotations

from garv_gsplat.codec.chunks import Chunk
from garv_gsplat.codec.container import assemble
from garv_gsplat.codec.file import GarvFile

_HALVINGS = 7  # of the part of a layer that is kept


def truncate(file: GarvFile, size: int) -> bytes:
    """The bytes of a `.garv` of at most `size` bytes, sound and subtitles not counted, which ride along.

    As many whole layers are kept as there is room for, and of the next one the Gaussians of the most energy; only this
    one is coded anew.

    Raises ValueError for a file that has no layers, and for a size that not even the tables fit into.
    """
    most = max((len(chunk.streams) for chunk in file.chunks), default=0)
    if most < 2:
        raise ValueError(f"{file.source.name}: its codec ({file.codec}) has no layers to leave out; encode it again")
    least = len(_kept(file, 0, 1 / 256, None))
    if least > size:
        raise ValueError(f"{file.source.name}: {size} bytes are too few, its smallest part takes {least}")
    layers = next(n for n in range(most, -1, -1) if n == 0 or len(_kept(file, n, 0.0, None)) <= size)
    part, step = 0.0, 1.0
    for _ in range(_HALVINGS if layers < most else 0):
        step /= 2
        if len(_kept(file, layers, part + step, None)) <= size:
            part += step
    return _kept(file, layers, part, file.tracks())


def _kept(file: GarvFile, layers: int, part: float, tracks: bytes | None) -> bytes:
    """The file with all chunks' first layers, and a part of the next one."""
    models = [model.first(layers + (part > 0)) for model in file.models]
    streams = [_streams(file, chunk, layers + (part > 0)) for chunk in file.chunks]
    for index, model in enumerate(models if part > 0 else ()):
        thick = [k for k, chunk in enumerate(file.chunks) if chunk.model == index and len(streams[k]) > layers]
        models[index], thin = model.thinned(layers, [streams[k][layers] for k in thick], part)
        for k, stream in zip(thick, thin):
            streams[k][layers] = stream
    chunks = [(chunk.model, chunk.reach, kept) for chunk, kept in zip(file.chunks, streams)]
    return assemble(file.info, file.codec, [model.numbers() for model in models], chunks, tracks)


def _streams(file: GarvFile, chunk: Chunk, layers: int) -> list[tuple[int, bytes]]:
    return list(zip((stream.count for stream in chunk.streams), file.read_streams(chunk, layers)))
