"""Header and sections of a `.garv`, format versions 1 and 2; docs/format.md gives the meaning of every byte."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from garv_gsplat.codec.motion import motion_of_numbers, numbers_of_motion
from garv_gsplat.codec.numbers import Numbers, pack_numbers
from garv_gsplat.codec.source import FIRST_READ, Source
from garv_gsplat.codec.timestamps import LARGEST, ticks_of_times, times_of_ticks
from garv_gsplat.volume import ColorInfo, VideoInfo

MAGIC = b"\x89GARV\r\n\x1a"  # not text, and changed by every transfer that takes it for text
VERSION = 2
"""the latest; files whose plane stands still are of version 1"""
CODECS = ("rans", "sog", "paper16-8-8")
SECTIONS = {0: "motion", 1: "timestamps", 2: "models", 3: "chunks", 4: "streams", 5: "tracks"}

_HEADER = struct.Struct("<8sHHIIIIQQ8B")
_SECTION = struct.Struct("<BxxxIQQ")  # id, CRC-32, offset, bytes
_CRC = struct.Struct("<I")
_RANGES = (None, False, True)  # of ColorInfo.full_range


@dataclass(frozen=True)
class Section:
    """A run of bytes of the file."""

    name: str
    offset: int
    size: int
    crc: int


@dataclass(frozen=True)
class Layout:
    """What stands where in a file."""

    info: VideoInfo
    codec: str
    sections: Mapping[str, Section]

    def read(self, source: Source, name: str) -> bytes:
        """All bytes of a section, checked against their CRC."""
        section = self.sections[name]
        data = source.read_all_of(section.offset, section.size, name)
        if zlib.crc32(data) != section.crc:
            raise source.error("the CRC-32 does not match: bytes have changed", name, section.offset)
        return data

    def parts(self, source: Source) -> dict[str, bytes]:
        """The bytes of every section, as they are."""
        return {name: source.read_all_of(s.offset, s.size, name) for name, s in self.sections.items()}


def write_layout(info: VideoInfo, codec: str, sections: Mapping[str, bytes]) -> bytes:
    """A whole file; sections in the order of SECTIONS, without timestamps and motion, which follow from `info`.

    Motion is rounded, as `rounded_motion` does. Raises ValueError for an `info` that does not fit.
    """
    sections = dict(sections)
    if info.timestamps is not None:
        sections["timestamps"] = pack_numbers(ticks_of_times(info.timestamps))
    if info.motion is not None:
        sections["motion"] = pack_numbers(numbers_of_motion(info.motion))
    present = [(key, sections[name]) for key, name in SECTIONS.items() if name in sections]
    size = _HEADER.size + len(present) * _SECTION.size + _CRC.size
    color = info.color
    described = (info.rotation, color.primaries, color.transfer, color.matrix, _RANGES.index(color.full_range))
    rate, version = info.frame_rate.as_integer_ratio(), 1 if info.motion is None else VERSION
    try:
        head = _HEADER.pack(
            *(MAGIC, version, CODECS.index(codec), size, info.width, info.height, info.frames, *rate),
            *(info.channels, *described, len(present), 0),
        )
    except struct.error as error:
        raise ValueError(
            f"a .garv has 32 bits for sizes and 64 for the frame rate's numerator and denominator, got {info.width}x"
            f"{info.height}, {info.frames} frames, {rate[0]}/{rate[1]} frames per second"
        ) from error
    offset = size
    for key, data in present:
        crc = 0 if SECTIONS[key] == "streams" else zlib.crc32(data)  # each stream has its own
        head += _SECTION.pack(key, crc, offset, len(data))
        offset += len(data)
    return b"".join([head, _CRC.pack(zlib.crc32(head)), *(data for _, data in present)])


def read_version(source: Source) -> int:
    """The format version of a file; GarvFormatError for what is no `.garv`, or a later one."""
    prefix = source.read(0, len(MAGIC) + 2)
    if not prefix:
        raise source.error("the file is empty")
    if not prefix.startswith(MAGIC):
        if MAGIC.startswith(prefix):
            raise source.error(f"the file ends after {len(prefix)} bytes: it is cut off", "magic", 0)
        raise source.error("this is not a .garv file (it does not begin like one)", "magic", 0)
    if len(prefix) < len(MAGIC) + 2:
        raise source.error(f"the file ends after {len(prefix)} bytes: it is cut off", "version", len(MAGIC))
    version = struct.unpack_from("<H", prefix, len(MAGIC))[0]
    if version > VERSION:
        raise source.error(
            f"the file has format version {version}, this reader knows versions up to {VERSION}: "
            "a newer garv-gsplat reads it",
            "version",
            len(MAGIC),
        )
    return version


def read_layout(source: Source) -> Layout:
    """Header, sections, timestamps and motion of a file of version 1 or 2, all checked; raises GarvFormatError."""
    start = source.read(0, FIRST_READ)
    if len(start) < _HEADER.size:
        raise source.error(f"the file ends after {len(start)} bytes: it is cut off", "header", 0)
    _, version, codec, size, width, height, frames, *rate = _HEADER.unpack_from(start)
    channels, rotation, primaries, transfer, matrix, full_range, count, zero = rate[2:]
    if size != _HEADER.size + count * _SECTION.size + _CRC.size:
        raise source.error(f"{size} bytes do not go with {count} sections", "header size", len(MAGIC) + 4)
    head = start[:size]
    if len(head) < size:
        raise source.error(f"the file has {len(head)} bytes, its header alone {size}: it is cut off", "header", 0)
    if zlib.crc32(head[: -_CRC.size]) != _CRC.unpack_from(head, size - _CRC.size)[0]:
        raise source.error("the CRC-32 does not match: bytes have changed", "header", size - _CRC.size)
    if codec >= len(CODECS) or full_range >= len(_RANGES) or zero:
        raise source.error(f"codec {codec}, range {full_range} and reserved byte {zero} are not known", "header", 0)
    try:
        info = VideoInfo(
            *(width, height, frames, Fraction(rate[0], rate[1]), None, channels),
            *(ColorInfo(primaries, transfer, matrix, _RANGES[full_range]), rotation),
        )
    except (ValueError, ZeroDivisionError) as error:
        raise source.error(str(error), "video", len(MAGIC) + 8) from error
    layout = Layout(info, CODECS[codec], _read_sections(source, head, count))
    if (version == 2) != ("motion" in layout.sections):
        problem = f"the version is {version}: files of version 2 have a section motion, those of version 1 have none"
        raise source.error(problem, "sections", _HEADER.size)
    return replace(layout, info=replace(_with_timestamps(source, layout), motion=_motion(source, layout)))


def _read_sections(source: Source, head: bytes, count: int) -> dict[str, Section]:
    """Sections follow the header in order, without gaps, and end where the file ends."""
    sections, end, before = {}, len(head), -1
    for row in range(count):
        at = _HEADER.size + row * _SECTION.size
        key, crc, offset, size = _SECTION.unpack_from(head, at)
        if key not in SECTIONS or key <= before or offset != end:
            raise source.error(f"section {key} at byte {offset} is not expected there", "sections", at)
        sections[SECTIONS[key]] = Section(SECTIONS[key], offset, size, crc)
        end, before = offset + size, key
    missing = {"models", "chunks", "streams"} - set(sections)
    if missing:
        raise source.error(f"there is no section {' and no '.join(sorted(missing))}", "sections", _HEADER.size)
    if end != source.size:
        raise source.error(f"the sections end at byte {end}, the file at {source.size}: it is cut off", "end", end)
    return sections


def _with_timestamps(source: Source, layout: Layout) -> VideoInfo:
    if "timestamps" not in layout.sections:
        return layout.info
    try:
        numbers = Numbers(layout.read(source, "timestamps"))
        ticks = numbers.take_many(layout.info.frames + 1, -LARGEST, LARGEST)
        numbers.finish()
        return replace(layout.info, timestamps=times_of_ticks(ticks))
    except ValueError as error:
        raise source.error(str(error), "timestamps", layout.sections["timestamps"].offset) from error


def _motion(source: Source, layout: Layout) -> tuple[tuple[float, ...], ...] | None:
    if "motion" not in layout.sections:
        return None
    try:
        numbers = Numbers(layout.read(source, "motion"))
        motion = motion_of_numbers(numbers.take_many(6 * layout.info.frames, -LARGEST, LARGEST))
        numbers.finish()
        return motion
    except ValueError as error:
        raise source.error(str(error), "motion", layout.sections["motion"].offset) from error
