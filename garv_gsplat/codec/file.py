"""An open `.garv`: what is in it, and only those of its Gaussians that are asked for."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Sequence
from typing import BinaryIO

import numpy as np
import torch

from garv_gsplat.codec import version0
from garv_gsplat.codec.chunks import Chunk, Reach, Stream, parse_chunks
from garv_gsplat.codec.codecs import Model, parse_models
from garv_gsplat.codec.errors import GarvFormatError
from garv_gsplat.codec.layout import Layout, read_layout, read_version
from garv_gsplat.codec.numbers import Numbers
from garv_gsplat.codec.source import Source, open_source
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.volume import VideoInfo


class GarvFile:
    """Reads header and table of contents at once, and Gaussians when they are asked for.

    Thread-safe. One that was opened by a path or a URL can be pickled; it is opened anew where it is unpickled.
    """

    def __init__(self, source: str | os.PathLike | bytes | BinaryIO | Source) -> None:
        """Open a path, an http(s) URL, bytes, or a file object.

        Raises GarvFormatError for what is no `.garv` that this version reads, OSError where it cannot be read.
        """
        self.source = source if isinstance(source, Source) else open_source(source)
        self.version = read_version(self.source)
        self.chunks: Sequence[Chunk]
        """in the order of the file"""
        if self.version == version0.VERSION:
            self._open_version0()
        else:
            self._open()

    def _open(self) -> None:
        self.layout: Layout | None = read_layout(self.source)
        self.info: VideoInfo = self.layout.info
        self.codec = self.layout.codec
        self.models: Sequence[Model] = self._parse("models", lambda n: parse_models(self.codec, n, self.info))
        layers = [model.num_layers for model in self.models]
        size = self.layout.sections["streams"].size
        self.chunks = self._parse("chunks", lambda numbers: parse_chunks(numbers, layers, size))

    def _open_version0(self) -> None:
        self._gaussians = version0.read(self.source)
        self.layout, self.info, self.codec, self.models = None, self._gaussians.info, "version 0", ()
        everything = Reach((-(1 << 31),) * 3, (1 << 31,) * 3)
        self.chunks = [Chunk(0, everything, (Stream(len(self._gaussians), 0, self.source.size, None),))]

    @property
    def num_gaussians(self) -> int:
        """Gaussians of all chunks."""
        return sum(chunk.count for chunk in self.chunks)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.source.size

    @property
    def picture_bytes(self) -> int:
        """Bytes of the file without sound and subtitles."""
        tracks = self.layout.sections.get("tracks") if self.layout is not None else None
        return self.size - (0 if tracks is None else tracks.size)

    @property
    def bits_per_pixel(self) -> float:
        """Bits of the file, without sound and subtitles, per pixel of the video (frames x height x width)."""
        return 8 * self.picture_bytes / self.info.pixels

    def find(self, low: Sequence[float], high: Sequence[float]) -> list[int]:
        """Indices of the chunks whose Gaussians reach into a box of x, y, t in pixels and frames."""
        return [k for k, chunk in enumerate(self.chunks) if chunk.reach.meets(low, high)]

    def read(self, chunks: Iterable[int] | None = None, layers: int | None = None) -> VideoGaussians:
        """The Gaussians of the chunks of given indices, by default of all, and of their most important layers.

        float32 on the CPU, in the unit cube. Raises GarvFormatError where bytes have changed.
        """
        chosen = [self.chunks[k] for k in (range(len(self.chunks)) if chunks is None else chunks)]
        if self.layout is None and chosen:
            return self._gaussians
        together: dict[tuple[int, int], list[tuple[Stream, bytes]]] = {}
        for chunk in chosen:
            for layer, (stream, data) in enumerate(zip(chunk.streams, self.read_streams(chunk, layers))):
                together.setdefault((chunk.model, layer), []).append((stream, data))
        parts = [self._decode(*key, streams) for key, streams in sorted(together.items(), key=lambda item: item[0])]
        means, cholesky, colors = (
            torch.cat([getattr(part, name) for part in parts]) if parts else torch.zeros(0, width)
            for name, width in (("means", 3), ("cholesky", 6), ("colors", self.info.channels))
        )
        return VideoGaussians(means, cholesky, colors, self.info)

    def read_streams(self, chunk: Chunk, layers: int | None = None) -> list[bytes]:
        """The streams of a chunk's first layers, each checked against its CRC; they are read at once."""
        streams = chunk.streams[:layers]
        if not streams:
            return []
        start = streams[0].offset
        offset = self.layout.sections["streams"].offset + start
        data = self.source.read_all_of(offset, sum(stream.size for stream in streams), "streams")
        out = []
        for stream in streams:
            part = data[stream.offset - start : stream.offset - start + stream.size]
            if zlib.crc32(part) != stream.crc:
                raise self._error("the CRC-32 does not match: bytes have changed", stream)
            out.append(part)
        return out

    def tracks(self) -> bytes | None:
        """Sound and subtitles of the source, a Matroska file; None where there are none."""
        if self.layout is None or "tracks" not in self.layout.sections:
            return None
        return self.layout.read(self.source, "tracks")

    def close(self) -> None:
        """Close what was opened; what was read stays."""
        self.source.close()

    def _decode(self, model: int, layer: int, streams: list[tuple[Stream, bytes]]) -> VideoGaussians:
        counts, data = [stream.count for stream, _ in streams], [part for _, part in streams]
        try:
            gaussians = self.models[model].decode(layer, counts, data)
        except ValueError as error:
            raise self._error(str(error), streams[0][0]) from error
        if not all(np.isfinite(v.numpy()).all() for v in (gaussians.means, gaussians.cholesky, gaussians.colors)):
            raise self._error("it leads to infinite values", streams[0][0])
        return gaussians

    def _error(self, problem: str, stream: Stream) -> Exception:
        return self.source.error(problem, "stream", self.layout.sections["streams"].offset + stream.offset)

    def _parse(self, name: str, parse):
        """What `parse` makes of a section's numbers."""
        try:
            return parse(Numbers(self.layout.read(self.source, name)))
        except GarvFormatError:
            raise
        except ValueError as error:
            raise self.source.error(str(error), name, self.layout.sections[name].offset) from error

    def __getstate__(self):
        return {"source": self.source}

    def __setstate__(self, state) -> None:
        self.__init__(state["source"])
