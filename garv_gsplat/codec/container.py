"""Writing and reading `.garv` files; docs/format.md gives the meaning of every byte."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from garv_gsplat.codec.header import (
    STREAMS,
    Entry,
    GarvHeader,
    Source,
    header_bytes,
    parse_header,
    read_stream,
    write_header,
)
from garv_gsplat.codec.quantization import Quantizer
from garv_gsplat.codec.streams import pack, ticks_of
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.volume import VideoInfo


def file_bits(num_gaussians: int, info: VideoInfo) -> int:
    """Most bits that a file of so many Gaussians takes, 96 + 8 C each and the header; deflating may save some."""
    fixed = header_bytes(len(STREAMS) - (info.timestamps is None)) + 4 * 3 * (9 + info.channels)
    if info.timestamps is not None:
        fixed += 8 * (info.frames + 1)
    return 8 * fixed + num_gaussians * (3 * 16 + 6 * 8 + 8 * info.channels)


def gaussians_for_bpp(bpp: float, info: VideoInfo) -> int:
    """Gaussians whose file has at most `bpp` bits per pixel of the video, whatever deflating saves.

    At least 1, though the smallest file of a very small video may be larger than asked for.
    """
    per_gaussian = file_bits(1, info) - file_bits(0, info)
    return max(1, int((bpp * info.pixels - file_bits(0, info)) / per_gaussian))


def save(path: str | os.PathLike, gaussians: VideoGaussians, quantizer: Quantizer | None = None) -> int:
    """Write Gaussians to a `.garv` and return its size in bytes.

    quantizer: the one the fit rounded by; calibrated on these Gaussians when left out. The file stores the Gaussians in
    the order of their times. It appears at `path` complete or not at all.

    Raises ValueError for numbers that are infinite or not a number, before anything is written, and OSError where the
    file cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file in it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist; make it first")
    data = _serialize(gaussians.to("cpu"), quantizer)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return len(data)


def load(source: str | os.PathLike | bytes) -> VideoGaussians:
    """Read a `.garv`, a path or its bytes: Gaussians in the unit cube, float32 on the CPU.

    Raises GarvFormatError for anything that is not a whole, unchanged `.garv` of a version this reader knows, and
    OSError where the file cannot be read.
    """
    with _open(source) as file:
        header, entries = parse_header(file)
        n, channels = header.num_gaussians, header.info.channels
        [ranges] = read_stream(file, entries["ranges"], [("f4", 3 * (9 + channels))])
        x, y, t_steps = read_stream(file, entries["positions"], [("u2", n)] * 3)
        values = read_stream(file, entries["cholesky"], [("u1", n)] * 6)
        values += read_stream(file, entries["colors"], [("u1", n)] * channels)
        positions = np.stack([x, y, np.cumsum(t_steps, dtype=np.uint16)], 1).astype(np.int32)
        quantizer = _quantizer(file, entries["ranges"], ranges)
        levels = torch.from_numpy(positions), torch.from_numpy(np.stack(values, 1))
        gaussians = quantizer.decode(*levels, header.info)
        if not all(bool(v.isfinite().all()) for v in (gaussians.means, gaussians.cholesky, gaussians.colors)):
            raise file.error("they lead to infinite values", "ranges", entries["ranges"].offset)
        return gaussians


def read_header(source: str | os.PathLike | bytes) -> GarvHeader:
    """What a `.garv` says about itself, without reading its Gaussians; raises what `load` raises."""
    with _open(source) as file:
        return parse_header(file)[0]


def _serialize(gaussians: VideoGaussians, quantizer: Quantizer | None) -> bytes:
    info = gaussians.info
    if quantizer is None:
        quantizer = Quantizer.calibrate(*gaussians.in_pixels(), gaussians.colors, info)
    positions, values = (levels.numpy() for levels in quantizer.to("cpu").encode(gaussians))
    # The order is free. In the order of time the steps from one t to the next are small, and their high bytes zero.
    order = np.argsort(positions[:, 2], kind="stable")
    x, y, t = positions[order].T.astype(np.uint16)
    planes = list(values[order].T)
    streams = {
        1: pack([quantizer.ranges.detach().cpu().numpy().astype(np.float32).reshape(-1)]),
        2: pack([x, y, np.diff(t, prepend=np.uint16(0))]),
        3: pack(planes[:6]),
        4: pack(planes[6:]),
    }
    if info.timestamps is not None:
        streams[5] = pack([ticks_of(info.timestamps)])
    return write_header(info, len(gaussians), streams) + b"".join(stream.data for stream in streams.values())


def _quantizer(file: Source, entry: Entry, ranges: np.ndarray) -> Quantizer:
    table = torch.from_numpy(ranges.astype(np.float32)).reshape(-1, 3)
    low, high, scale = table.unbind(1)
    bad = ~(table.isfinite().all(1) & (low < high) & (scale > 0))
    if bad.any():
        row = int(bad.nonzero()[0])
        raise file.error(
            f"attribute {row} has low {float(low[row])}, high {float(high[row])}, scale {float(scale[row])}; "
            "low must be below high and scale positive",
            entry.name,
            entry.offset + 12 * row,
        )
    return Quantizer(table)


@contextmanager
def _open(source: str | os.PathLike | bytes) -> Iterator[Source]:
    if isinstance(source, bytes):
        yield Source(io.BytesIO(source), "bytes", len(source))
        return
    with open(source, "rb") as file:
        yield Source(file, os.fspath(source), os.fstat(file.fileno()).st_size)
