"""Header and stream table of a `.garv`, format version 0; docs/format.md gives the meaning of every byte."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import BinaryIO

from garv_gsplat.codec.errors import GarvFormatError
from garv_gsplat.codec.streams import DEFLATED, RAW, Stream, timestamps_of, unpack
from garv_gsplat.volume import VideoInfo

MAGIC = b"\x89GARV\r\n\x1a"  # not text, and changed by every transfer that takes it for text
VERSION = 0

# The streams in the order of the file: id, name, bits per number.
STREAMS = {1: ("ranges", 32), 2: ("positions", 16), 3: ("cholesky", 8), 4: ("colors", 8), 5: ("timestamps", 64)}

_PREFIX = struct.Struct("<8sHH")  # magic, version, bytes of the header up to and with its CRC
_FIELDS = struct.Struct("<IIIQQBBHI")  # the names below
_NAMES = ("width", "height", "frames", "frame rate", "frame rate", "channels", "flags", "streams", "Gaussians")
_ENTRY = struct.Struct("<HBBQQI")  # id, bits per number, encoding, offset, bytes, CRC-32
_CRC = struct.Struct("<I")
_TABLE = _PREFIX.size + _FIELDS.size  # offset of the stream table
_HAS_TIMESTAMPS = 1  # flag


@dataclass(frozen=True)
class GarvHeader:
    """What a `.garv` says about itself."""

    version: int
    info: VideoInfo
    num_gaussians: int
    stream_bytes: dict[str, int]
    """stored bytes of each stream"""
    file_bytes: int


@dataclass(frozen=True)
class Entry:
    """One stream of the table."""

    name: str
    encoding: int
    offset: int
    size: int
    crc: int


@dataclass(frozen=True)
class Source:
    """An open file, and what to call it in messages."""

    file: BinaryIO
    name: str
    size: int

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`, fewer where the file ends."""
        self.file.seek(offset)
        return self.file.read(min(size, self.size - offset))

    def error(self, problem: str, field: str = "", offset: int | None = None) -> GarvFormatError:
        """The error to raise for this file."""
        return GarvFormatError(self.name, problem, field=field, offset=offset)


def header_bytes(streams: int) -> int:
    """Size of the header of a file of so many streams."""
    return _TABLE + streams * _ENTRY.size + _CRC.size


def write_header(info: VideoInfo, num_gaussians: int, streams: dict[int, Stream]) -> bytes:
    """The bytes before the streams; raises ValueError for an `info` that does not fit."""
    size = header_bytes(len(streams))
    flags = _HAS_TIMESTAMPS if info.timestamps is not None else 0
    rate = (info.frame_rate.numerator, info.frame_rate.denominator)
    try:
        fields = _FIELDS.pack(
            info.width, info.height, info.frames, *rate, info.channels, flags, len(streams), num_gaussians
        )
    except struct.error as error:
        raise ValueError(
            f"a .garv has 32 bits for sizes and 64 for the frame rate's numerator and denominator, got {info.width}x"
            f"{info.height}, {info.frames} frames, {rate[0]}/{rate[1]} frames per second, {num_gaussians} Gaussians"
        ) from error
    table, offset = b"", size
    for key, stream in streams.items():
        table += _ENTRY.pack(key, STREAMS[key][1], stream.encoding, offset, len(stream.data), stream.crc)
        offset += len(stream.data)
    head = _PREFIX.pack(MAGIC, VERSION, size) + fields + table
    return head + _CRC.pack(zlib.crc32(head))


def parse_header(source: Source) -> tuple[GarvHeader, dict[str, Entry]]:
    """Header and stream table; everything is checked but the streams' own bytes (timestamps are read)."""
    version, size = _parse_prefix(source)
    head = source.read(0, size)
    if len(head) < size:
        raise source.error(f"the file has {source.size} bytes, its header alone {size}: it is cut off", "header", 0)
    if zlib.crc32(head[: -_CRC.size]) != _CRC.unpack_from(head, size - _CRC.size)[0]:
        raise source.error("the CRC-32 does not match: bytes have changed", "header", size - _CRC.size)
    *_, channels, flags, streams, num_gaussians = fields = _FIELDS.unpack_from(head, _PREFIX.size)
    info = _parse_info(source, fields)
    if flags & ~_HAS_TIMESTAMPS:
        raise source.error(f"unknown flags {flags:#x}", "flags", _offset_of("flags"))
    expected = [key for key in STREAMS if STREAMS[key][0] != "timestamps" or flags & _HAS_TIMESTAMPS]
    if streams != len(expected) or size != header_bytes(streams):
        raise source.error(
            f"{streams} streams and {size} bytes of header; "
            f"{len(expected)} and {header_bytes(len(expected))} are expected",
            "streams",
            _offset_of("streams"),
        )
    entries = _parse_table(source, head, expected)
    if flags & _HAS_TIMESTAMPS:
        info = _with_timestamps(source, info, entries["timestamps"])
    sizes = {entry.name: entry.size for entry in entries.values()}
    return GarvHeader(version, info, num_gaussians, sizes, source.size), entries


def read_stream(source: Source, entry: Entry, shapes: list[tuple[str, int]]) -> list:
    """The arrays of one stream, given their (dtype, length); its CRC is checked first."""
    data = source.read(entry.offset, entry.size)
    if zlib.crc32(data) != entry.crc:
        raise source.error(
            f"the CRC-32 of its {entry.size} bytes does not match: bytes have changed", entry.name, entry.offset
        )
    try:
        return unpack(data, entry.encoding, shapes)
    except ValueError as error:
        raise source.error(str(error), entry.name, entry.offset) from error


def _parse_prefix(source: Source) -> tuple[int, int]:
    prefix = source.read(0, _PREFIX.size)
    if not prefix:
        raise source.error("the file is empty")
    if not prefix.startswith(MAGIC):
        if MAGIC.startswith(prefix):
            raise source.error(f"the file ends after {len(prefix)} bytes: it is cut off", "magic", 0)
        raise source.error("this is not a .garv file (it does not begin like one)", "magic", 0)
    if len(prefix) < _PREFIX.size:
        raise source.error(f"the file ends after {len(prefix)} bytes: it is cut off", "version", len(MAGIC))
    _, version, size = _PREFIX.unpack(prefix)
    if version > VERSION:
        raise source.error(
            f"the file has format version {version}, this reader knows versions up to {VERSION}: "
            "a newer garv-gsplat reads it",
            "version",
            len(MAGIC),
        )
    if size < header_bytes(0):
        raise source.error(f"{size} bytes are too few for a header", "header size", len(MAGIC) + 2)
    return version, size


def _parse_info(source: Source, fields: tuple[int, ...]) -> VideoInfo:
    for name, value in zip(_NAMES[:6], fields):
        if value == 0:
            raise source.error("must not be 0", name, _offset_of(name))
    width, height, frames, numerator, denominator, channels, *_ = fields
    try:
        return VideoInfo(width, height, frames, Fraction(numerator, denominator), None, channels)
    except ValueError as error:
        raise source.error(str(error), "video", _PREFIX.size) from error


def _parse_table(source: Source, head: bytes, expected: list[int]) -> dict[str, Entry]:
    """The streams follow the header in the table's order, without gaps, and end where the file ends."""
    entries, end = {}, len(head)
    for row, key in enumerate(expected):
        at = _TABLE + row * _ENTRY.size
        name, bits = STREAMS[key]
        found_key, found_bits, encoding, offset, size, crc = _ENTRY.unpack_from(head, at)
        if (found_key, found_bits) != (key, bits) or encoding not in (RAW, DEFLATED):
            raise source.error(
                f"id {found_key}, {found_bits} bits, encoding {encoding}; id {key}, {bits} bits and encoding "
                f"{RAW} or {DEFLATED} are expected",
                f"entry of stream {name}",
                at,
            )
        if offset != end:
            raise source.error(f"starts at byte {offset}, {end} is expected", f"entry of stream {name}", at)
        end = offset + size
        if end > source.size:
            raise source.error(
                f"ends at byte {end}, but the file has {source.size}: it is cut off", f"stream {name}", offset
            )
        entries[name] = Entry(name, encoding, offset, size, crc)
    if end != source.size:
        raise source.error(f"{source.size - end} bytes after the last stream", "end", end)
    return entries


def _with_timestamps(source: Source, info: VideoInfo, entry: Entry) -> VideoInfo:
    [ticks] = read_stream(source, entry, [("i8", info.frames + 1)])
    try:
        return replace(info, timestamps=timestamps_of(ticks))
    except ValueError as error:
        raise source.error(str(error), entry.name, entry.offset) from error


def _offset_of(name: str) -> int:
    """Byte offset of a field of the header."""
    formats = _FIELDS.format[1:]
    return _PREFIX.size + struct.calcsize("<" + formats[: _NAMES.index(name)])
