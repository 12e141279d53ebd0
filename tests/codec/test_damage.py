"""Damaged and hostile files: each is refused with the field and the offset; none makes a reader crash or allocate."""

from __future__ import annotations

import pickle
import random
import struct
import zlib
from dataclasses import replace
from fractions import Fraction

import pytest

from garv_gsplat.codec import GarvFile, GarvFormatError, encode, load
from garv_gsplat.codec.numbers import pack_numbers
from garv_gsplat.volume import VideoInfo
from tests.codec.samples import fitted_like

INFO = VideoInfo(320, 180, 48, Fraction(30000, 1001))
MAPS = ((1.0, 0.0, 0.0, 1.0, 0.0, 0.0), (1.25, -0.5, 0.25, 0.75, -1.5, 0.125)) * 2
VARIABLE = VideoInfo(64, 48, 4, Fraction(25), (Fraction(0), Fraction(1001, 30000), Fraction(2, 25), Fraction(1, 3)))


MOVING = replace(VARIABLE, motion=MAPS)


@pytest.fixture(
    scope="module",
    params=[(INFO, "rans"), (VARIABLE, "rans"), (MOVING, "rans"), (INFO, "sog"), (INFO, "paper16-8-8")],
    ids=["constant", "variable", "moving", "sog", "paper16-8-8"],
)
def small_file(request) -> bytes:
    info, codec = request.param
    return encode(fitted_like(25, info), codec)


def test_every_flipped_byte_is_found(small_file):
    for offset in range(len(small_file)):
        for mask in (0x01, 0xFF):
            damaged = bytearray(small_file)
            damaged[offset] ^= mask
            with pytest.raises(GarvFormatError):
                load(bytes(damaged))


def test_every_truncation_is_found(small_file):
    for size in range(len(small_file)):
        with pytest.raises(GarvFormatError):
            GarvFile(small_file[:size])
    with pytest.raises(GarvFormatError, match="it is cut off"):
        load(small_file + b"\0")


def sealed(data: bytes, edits: dict[int, bytes]) -> bytes:
    """The file with some header bytes replaced and the header's CRC made right again."""
    changed = bytearray(data)
    for offset, value in edits.items():
        changed[offset : offset + len(value)] = value
    size = struct.unpack_from("<I", changed, 12)[0]
    struct.pack_into("<I", changed, size - 4, zlib.crc32(changed[: size - 4]))
    return bytes(changed)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (16, struct.pack("<I", 0), r"video \(byte 16\): width must be at least 1"),
        (36, struct.pack("<Q", 0), r"video \(byte 16\)"),
        (44, b"\x09", r"video \(byte 16\): channels must be 1 to 8, got 9"),
        (45, b"\x08", r"video \(byte 16\): rotation must be 0 to 7, got 8"),
        (10, b"\x09", r"header \(byte 0\): codec 9"),
        (49, b"\x03", r"header \(byte 0\): codec 0, range 3"),
        (51, b"\x01", r"header \(byte 0\): .* reserved byte 1"),
        (52, b"\x01", r"there is no section models"),
        (52, b"\x09", r"sections \(byte 52\): section 9"),
        (60, struct.pack("<Q", 2**63), r"sections \(byte 52\): section 2 at byte"),
        (68, struct.pack("<Q", 2**64 - 1), r"sections \(byte 76\)"),
        (116, struct.pack("<Q", 2**40), r"the sections end at byte"),
    ],
)
def test_hostile_headers_are_refused_with_the_field_and_the_offset(tmp_path, offset, value, message):
    path = tmp_path / "a.garv"
    path.write_bytes(sealed(encode(fitted_like(25, INFO)), {offset: value}))
    with pytest.raises(GarvFormatError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))
    assert caught.value.offset is not None


def with_sections(data: bytes, replaced: dict[int, bytes]) -> bytes:
    """The file with sections of given rows of the table replaced, all sizes and CRCs right."""
    count, size = data[50], struct.unpack_from("<I", data, 12)[0]
    head, body, offset = bytearray(data[:size]), b"", size
    for row in range(count):
        key, crc, start, length = struct.unpack_from("<BxxxIQQ", data, 52 + 24 * row)
        part = replaced.get(key, data[start : start + length])
        crc = 0 if key == 4 else zlib.crc32(part)
        struct.pack_into("<BxxxIQQ", head, 52 + 24 * row, key, crc, offset, len(part))
        body, offset = body + part, offset + len(part)
    return sealed(bytes(head) + body, {})


CHUNK = [1, 0, 0, 0, 0, 9, 9, 9, 1]  # one chunk, model 0, its reach, one layer


@pytest.mark.parametrize(
    ("key", "stored", "message"),
    [
        (3, b"not zlib", r"chunks \(byte \d+\): cannot be inflated"),
        (3, pack_numbers([0]) + b"x", "does not end where the section ends"),
        (3, zlib.compress(b"\xff" * 20), "the numbers end too early"),
        (3, pack_numbers([0, 7]), "1 numbers are left over"),
        (3, pack_numbers([0]), "the streams take 0 bytes"),
        (3, pack_numbers([1 << 40]), "a number is 1099511627776"),
        (3, pack_numbers([*CHUNK, 1 << 32, 0, 0]), "a stream of 0 bytes cannot hold 4294967296 Gaussians"),
        (3, pack_numbers([1, 1]), "a number is 1, 0 to 0 are allowed"),
        (2, pack_numbers([1, 0]), "the step of the colours is 0.0"),
        (2, pack_numbers([17]), "a number is 17"),
        (2, zlib.compress(bytes(1 << 27)), "does not end where the section ends"),
    ],
)
def test_hostile_lists_are_refused(key, stored, message):
    with pytest.raises(GarvFormatError, match=message):
        load(with_sections(encode(fitted_like(25, INFO)), {key: stored}))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([0] * 23, "the numbers end too early"),
        ([0] * 25, "1 numbers are left over"),
        ([1 << 40, *[0] * 23], "less than millions of its size"),
        ([1 << 61, -(1 << 61), -(1 << 61), *[0] * 21], "less than millions of its size"),
        ([1 << 62, *[0] * 23], "less than millions of its size"),
        ([0, -(1 << 18), *[0] * 22], "must not fold the plane"),
    ],
)
def test_hostile_motion_is_refused(numbers, message):
    with pytest.raises(GarvFormatError, match=rf"motion \(byte \d+\): .*{message}"):
        GarvFile(with_sections(encode(fitted_like(25, MOVING)), {0: pack_numbers(numbers)}))


def test_the_version_says_whether_the_plane_moves():
    for info, version in ((VARIABLE, 2), (MOVING, 1)):
        with pytest.raises(GarvFormatError, match=f"the version is {version}: files of version 2 have"):
            GarvFile(sealed(encode(fitted_like(25, info)), {8: struct.pack("<H", version)}))


def test_hostile_streams_never_crash():
    """Random words decode to something or are refused; nothing is allocated by what they say."""
    data = encode(fitted_like(200, INFO))
    file, generator = GarvFile(data), random.Random(0)
    [chunk] = file.chunks
    refused = 0
    for _ in range(100):
        streams = [generator.randbytes(stream.size) for stream in chunk.streams]
        numbers = [1, 0, 0, 0, 0, 320, 180, 48, len(streams)]
        for stream, part in zip(chunk.streams, streams):
            numbers += [stream.count, len(part), zlib.crc32(part)]
        try:
            load(with_sections(data, {3: pack_numbers(numbers), 4: b"".join(streams)}))
        except GarvFormatError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\x00\x00\x00\x20ftypisom" + bytes(500), "this is not a .garv file"),
        (b"hello, world\n", "this is not a .garv file"),
        (b"\x89GARV\n\x1a" + bytes(100), "this is not a .garv file"),
    ],
)
def test_files_that_are_something_else(tmp_path, content, message):
    path = tmp_path / "video.garv"
    path.write_bytes(content)
    for read in (load, GarvFile):
        with pytest.raises(GarvFormatError, match=f"video.garv: .*{message}"):
            read(path)


def test_a_later_version_says_which(small_file):
    with pytest.raises(GarvFormatError, match="has format version 7, this reader knows versions up to 2"):
        load(small_file[:8] + struct.pack("<H", 7) + small_file[10:])


def test_missing_files_and_folders_are_os_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing.garv")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)


def test_an_error_passes_from_process_to_process():
    with pytest.raises(GarvFormatError) as caught:
        load(b"\x89GARV\r\n\x1a\xff\xff\xff\xff")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.field, copy.offset) == (str(caught.value), "version", 8)
