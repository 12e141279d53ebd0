"""Reading files of format version 0, which nothing writes any more; docs/format-v0.md is their specification."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch

from garv_gsplat.codec.source import Source
from garv_gsplat.codec.timestamps import times_of_ticks
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.volume import VideoInfo

VERSION = 0
_HEADER = struct.Struct("<8sHHIIIQQBBHI")
_ENTRY = struct.Struct("<HBBQQI")  # id, bits per number, encoding, offset, bytes, CRC-32
_STREAMS = {1: ("ranges", 32), 2: ("positions", 16), 3: ("cholesky", 8), 4: ("colors", 8), 5: ("timestamps", 64)}
_MAX_DEFLATE_RATIO = 1032  # deflate makes no more than this many bytes of one
_RATIOS = [4, 5, 7]  # rows of l_xt / l_xx, l_yt / l_yy, l_yx / l_yy among the attributes


def read(source: Source) -> VideoGaussians:
    """All Gaussians of a file; raises GarvFormatError."""
    info, count, entries = _read_header(source)
    if 5 in entries:
        [ticks] = _read_stream(source, entries[5], "timestamps", [("<i8", info.frames + 1)])
        try:
            info = replace(info, timestamps=times_of_ticks(ticks.tolist()))
        except ValueError as error:
            raise source.error(str(error), "timestamps", entries[5][0]) from error
    channels = info.channels
    [ranges] = _read_stream(source, entries[1], "ranges", [("<f4", 3 * (9 + channels))])
    x, y, t_steps = _read_stream(source, entries[2], "positions", [("<u2", count)] * 3)
    values = _read_stream(source, entries[3], "cholesky", [("u1", count)] * 6)
    values += _read_stream(source, entries[4], "colors", [("u1", count)] * channels)
    low, high, scale = ranges.astype(np.float64).reshape(-1, 3).T
    if not (np.isfinite(ranges).all() and (low < high).all() and (scale > 0).all()):
        raise source.error("a range is empty or its scale not positive", "ranges", entries[1][0])
    positions = np.stack([x, y, np.cumsum(t_steps, dtype=np.uint16)], 1)
    levels = np.concatenate([positions, np.stack(values, 1)], 1).astype(np.float64)
    gaussians = _gaussians(levels, low, high, scale, info)
    if not all(bool(v.isfinite().all()) for v in (gaussians.means, gaussians.cholesky, gaussians.colors)):
        raise source.error("they lead to infinite values", "ranges", entries[1][0])
    return gaussians


def _read_header(source: Source) -> tuple[VideoInfo, int, dict[int, tuple[int, int, int, int]]]:
    """Video, number of Gaussians, and offset, bytes, CRC and encoding of each stream."""
    size = struct.unpack("<H", source.read_all_of(10, 2, "header size"))[0]
    if size < _HEADER.size + 4:
        raise source.error(f"{size} bytes are too few for a header", "header size", 10)
    head = source.read_all_of(0, size, "header")
    if zlib.crc32(head[:-4]) != struct.unpack("<I", head[-4:])[0]:
        raise source.error("the CRC-32 does not match: bytes have changed", "header", size - 4)
    fields = _HEADER.unpack_from(head)
    _, _, _, width, height, frames, numerator, denominator, channels, flags, streams, count = fields
    expected = [key for key in _STREAMS if key != 5 or flags & 1]
    if flags & ~1 or streams != len(expected) or size != _HEADER.size + streams * _ENTRY.size + 4:
        raise source.error(f"flags {flags:#x}, {streams} streams and {size} bytes do not go together", "header", 41)
    try:
        info = VideoInfo(width, height, frames, Fraction(numerator, denominator), None, channels)
    except (ValueError, ZeroDivisionError) as error:
        raise source.error(str(error), "video", 12) from error
    entries, end = {}, size
    for row, key in enumerate(expected):
        at = _HEADER.size + row * _ENTRY.size
        name, bits = _STREAMS[key]
        found, found_bits, encoding, offset, length, crc = _ENTRY.unpack_from(head, at)
        if (found, found_bits, offset) != (key, bits, end) or encoding > 1:
            raise source.error(f"stream {name} is not where it should be", "stream table", at)
        entries[key] = (offset, length, crc, encoding)
        end += length
    if end != source.size:
        raise source.error(f"the streams end at byte {end}, the file at {source.size}: it is cut off", "end", end)
    return info, count, entries


def _read_stream(source: Source, entry: tuple[int, int, int, int], name: str, shapes: list[tuple[str, int]]) -> list:
    """The arrays of a stream, given their (dtype, length): planes of bytes, perhaps deflated."""
    offset, length, crc, encoding = entry
    data = source.read_all_of(offset, length, name)
    expected = sum(np.dtype(dtype).itemsize * count for dtype, count in shapes)
    if zlib.crc32(data) != crc:
        raise source.error("the CRC-32 does not match: bytes have changed", name, offset)
    if encoding == 1 and expected <= _MAX_DEFLATE_RATIO * length:
        try:
            data = zlib.decompressobj().decompress(data, expected + 1)
        except zlib.error as error:
            raise source.error(f"cannot be inflated ({error})", name, offset) from error
    if len(data) != expected:
        raise source.error(f"holds {len(data)} bytes, {expected} are expected", name, offset)
    raw, arrays, start = np.frombuffer(data, np.uint8), [], 0
    for dtype, count in shapes:
        size = np.dtype(dtype).itemsize
        planes = raw[start : start + size * count].reshape(size, count)
        arrays.append(np.ascontiguousarray(planes.T).view(dtype).reshape(count))
        start += size * count
    return arrays


def _gaussians(levels: np.ndarray, low: np.ndarray, high: np.ndarray, scale: np.ndarray, info: VideoInfo):
    """Gaussians of levels [N, 9 + C] in the order x, y, t, l_tt, l_xt, l_yt, l_xx, l_yx, l_yy, colours."""
    steps = np.array([65535] * 3 + [255] * (levels.shape[1] - 3))
    with np.errstate(over="ignore", invalid="ignore"):  # what is infinite is refused by the caller
        coordinates = low + levels * (high - low) / steps
        values = np.sinh(coordinates) * scale
        xt, yt, yx = values[:, _RATIOS].T
        tt, xx, yy = np.exp(coordinates[:, [3, 6, 8]]).T
        cholesky = np.stack([tt, xt * xx, yt * yy, xx, yx * yy, yy], 1)
        colors = values[:, 9:]
        if info.channels == 3:
            luma, orange, green = colors.T
            colors = np.stack([luma - green + orange, luma + 2 * green, luma - green - orange], 1)
        parts = (
            torch.from_numpy(np.ascontiguousarray(v.astype(np.float32))) for v in (coordinates[:, :3], cholesky, colors)
        )
    return VideoGaussians.from_pixels(*parts, info)
