"""The `.garv` file: round trips, sizes, damage."""

from __future__ import annotations

import os
import pickle
import struct
import zlib
from fractions import Fraction

import numpy as np
import pytest
import torch

from garv_gsplat.codec import GarvFormatError, Quantizer, file_bits, gaussians_for_bpp, load, read_header, save
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.volume import VideoInfo
from tests.codec.samples import fitted_like

INFO = VideoInfo(320, 180, 48, Fraction(30000, 1001))
VARIABLE = VideoInfo(64, 48, 4, Fraction(25), (Fraction(0), Fraction(1001, 30000), Fraction(2, 25), Fraction(1, 3)))


def test_load_gives_what_the_quantizer_rounds_to(tmp_path):
    gaussians = fitted_like(3000, INFO)
    quantizer = Quantizer.calibrate(*gaussians.in_pixels(), gaussians.colors, INFO)
    save(tmp_path / "a.garv", gaussians, quantizer)
    positions, values = quantizer.encode(gaussians)
    order = torch.argsort(positions[:, 2], stable=True)
    expected = quantizer.decode(positions[order], values[order], INFO)
    loaded = load(tmp_path / "a.garv")
    assert loaded.info == INFO
    for name in ("means", "cholesky", "colors"):
        assert getattr(loaded, name).dtype == torch.float32
        assert torch.equal(getattr(loaded, name), getattr(expected, name))


def test_saving_what_was_loaded_gives_the_same_levels(tmp_path):
    gaussians = fitted_like(1000, INFO)
    quantizer = Quantizer.calibrate(*gaussians.in_pixels(), gaussians.colors, INFO)
    save(tmp_path / "a.garv", gaussians, quantizer)
    save(tmp_path / "b.garv", load(tmp_path / "a.garv"), quantizer)
    assert (tmp_path / "a.garv").read_bytes() == (tmp_path / "b.garv").read_bytes()


@pytest.mark.parametrize("count", [0, 1, 2, 500])
@pytest.mark.parametrize("channels", [1, 3, 8])
def test_any_number_of_gaussians_and_channels(tmp_path, count, channels):
    info = VideoInfo(177, 99, 1, channels=channels)
    size = save(tmp_path / "a.garv", fitted_like(count, info))
    loaded = load(tmp_path / "a.garv")
    assert len(loaded) == count
    assert loaded.info == info
    assert size == (tmp_path / "a.garv").stat().st_size <= file_bits(count, info) // 8


@pytest.mark.parametrize(
    "times",
    [
        VARIABLE.timestamps,
        (Fraction(1, 7), Fraction(1, 3), Fraction(5, 9), Fraction(10**9)),
        tuple(Fraction(k / 29.97) for k in range(4)),
        tuple(Fraction(k, 90000) for k in (0, 1, 2, 90000 * 86400)),
    ],
)
def test_timestamps_are_exact(tmp_path, times):
    info = VideoInfo(64, 48, 4, Fraction(25), times)
    save(tmp_path / "a.garv", fitted_like(10, info))
    assert load(tmp_path / "a.garv").info == info
    assert read_header(tmp_path / "a.garv").info == info


def test_timestamps_without_a_common_time_base_are_refused(tmp_path):
    info = VideoInfo(
        64, 48, 4, Fraction(25), (Fraction(0), Fraction(1, 2**31 - 1), Fraction(1, 2), Fraction(1 + 3**40, 3**40))
    )
    with pytest.raises(ValueError, match="no common time base of 64 bits; round them"):
        save(tmp_path / "a.garv", fitted_like(10, info))
    assert not list(tmp_path.iterdir())


def test_frame_rate_from_a_float_is_exact_and_a_longer_one_refused(tmp_path):
    info = VideoInfo(64, 48, 4, Fraction(29.97))
    save(tmp_path / "a.garv", fitted_like(10, info))
    assert load(tmp_path / "a.garv").info == info
    with pytest.raises(ValueError, match="64 for the frame rate's numerator"):
        save(tmp_path / "b.garv", fitted_like(10, VideoInfo(64, 48, 4, Fraction(3**50, 2**70))))


def test_header_without_the_gaussians(tmp_path):
    size = save(tmp_path / "a.garv", fitted_like(3000, INFO))
    header = read_header(tmp_path / "a.garv")
    assert (header.version, header.info, header.num_gaussians, header.file_bytes) == (0, INFO, 3000, size)
    assert list(header.stream_bytes) == ["ranges", "positions", "cholesky", "colors"]
    assert sum(header.stream_bytes.values()) == size - 148


def test_size_is_bounded_and_the_order_in_time_pays(tmp_path):
    assert file_bits(0, INFO) == 8 * 292
    assert file_bits(1000, INFO) - file_bits(0, INFO) == 120_000
    size = save(tmp_path / "a.garv", fitted_like(12_000, INFO))
    assert size < 0.92 * file_bits(12_000, INFO) / 8  # 12 of 120 bits come off for the order alone


@pytest.mark.parametrize("info", [INFO, VARIABLE, VideoInfo(1920, 1080, 600)])
@pytest.mark.parametrize("bpp", [0.01, 0.15, 2.0])
def test_as_many_gaussians_as_the_bits_per_pixel_allow(info, bpp):
    n = gaussians_for_bpp(bpp, info)
    assert n == 1 or file_bits(n, info) <= bpp * info.pixels < file_bits(n + 1, info)


def test_nothing_is_written_for_numbers_that_are_none(tmp_path):
    gaussians = fitted_like(10, INFO)
    gaussians.colors[3, 1] = float("nan")
    with pytest.raises(ValueError, match="colors of 1 of 10"):
        save(tmp_path / "a.garv", gaussians)
    assert not list(tmp_path.iterdir())


def test_an_old_file_stays_when_writing_fails(tmp_path, monkeypatch):
    save(tmp_path / "a.garv", fitted_like(10, INFO))
    before = (tmp_path / "a.garv").read_bytes()

    def refuse(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        save(tmp_path / "a.garv", fitted_like(20, INFO))
    assert [p.name for p in tmp_path.iterdir()] == ["a.garv"]
    assert (tmp_path / "a.garv").read_bytes() == before


def test_places_that_cannot_be_written_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist; make it first"):
        save(tmp_path / "nowhere" / "a.garv", fitted_like(1, INFO))
    with pytest.raises(IsADirectoryError, match="is a folder"):
        save(tmp_path, fitted_like(1, INFO))


# Damage


@pytest.fixture(scope="module", params=[INFO, VARIABLE], ids=["constant", "variable"])
def small_file(request, tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("damage") / "a.garv"
    save(path, fitted_like(25, request.param))
    return path.read_bytes()


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
            load(small_file[:size])
        with pytest.raises(GarvFormatError):
            read_header(small_file[:size])
    with pytest.raises(GarvFormatError, match="1 bytes after the last stream"):
        load(small_file + b"\0")


def sealed(data: bytes, edits: dict[int, bytes]) -> bytes:
    """The file with some header bytes replaced and the header's CRC made right again."""
    changed = bytearray(data)
    for offset, value in edits.items():
        changed[offset : offset + len(value)] = value
    size = struct.unpack_from("<H", changed, 10)[0]
    struct.pack_into("<I", changed, size - 4, zlib.crc32(changed[: size - 4]))
    return bytes(changed)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (12, struct.pack("<I", 0), r"width \(byte 12\): must not be 0"),
        (32, struct.pack("<Q", 0), r"frame rate \(byte 24\): must not be 0"),
        (40, b"\x09", r"video \(byte 12\): channels must be 1 to 8, got 9"),
        (41, b"\x80", r"flags \(byte 41\)"),
        (42, b"\x02", r"streams \(byte 42\)"),
        (44, struct.pack("<I", 2**32 - 1), r"positions \(byte \d+\)"),
        (44, struct.pack("<I", 26), r"positions \(byte \d+\)"),
        (48, b"\x02", r"entry of stream ranges \(byte 48\)"),
        (51, b"\x02", r"entry of stream ranges \(byte 48\)"),
        (52, struct.pack("<Q", 2**63), r"entry of stream ranges \(byte 48\): starts at byte"),
        (60, struct.pack("<Q", 2**64 - 1), r"stream ranges \(byte 148\): ends at byte \d+, but the file has"),
    ],
)
def test_hostile_headers_are_refused_with_the_field_and_the_offset(tmp_path, offset, value, message):
    path = tmp_path / "a.garv"
    save(path, fitted_like(25, INFO))
    path.write_bytes(sealed(path.read_bytes(), {offset: value}))
    with pytest.raises(GarvFormatError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))
    assert caught.value.offset is not None


def with_stream(data: bytes, key: int, stored: bytes, encoding: int) -> bytes:
    """The file with the last stream replaced, all sizes and CRCs right."""
    entry = 48 + 24 * (key - 1)
    offset = struct.unpack_from("<Q", data, entry + 4)[0]
    row = struct.pack("<BQQI", encoding, offset, len(stored), zlib.crc32(stored))
    return sealed(data[:offset] + stored, {entry + 3: row})


@pytest.mark.parametrize(
    ("stored", "encoding", "message"),
    [
        (zlib.compress(bytes(75 + 1)), 1, "inflates to more than the 75 bytes"),
        (zlib.compress(bytes(50_000_000)), 1, "inflates to more than the 75 bytes"),
        (zlib.compress(bytes(74)), 1, "holds 74 bytes, 75 are expected"),
        (zlib.compress(bytes(75)) + b"x", 1, "does not end where the stream ends"),
        (zlib.compress(bytes(75))[:-2], 1, "does not end where the stream ends"),
        (b"not zlib", 1, "cannot be inflated"),
        (b"", 1, "0 deflated bytes cannot hold 75"),
        (bytes(74), 0, "holds 74 bytes, 75 are expected"),
    ],
)
def test_hostile_streams_are_refused(tmp_path, stored, encoding, message):
    save(tmp_path / "a.garv", fitted_like(25, INFO))
    with pytest.raises(GarvFormatError, match=message):
        load(with_stream((tmp_path / "a.garv").read_bytes(), 4, stored, encoding))


@pytest.mark.parametrize(
    ("row", "values", "message"),
    [
        (4, (1.0, 1.0, 1.0), "low must be below high"),
        (4, (0.0, 1.0, 0.0), "scale positive"),
        (4, (0.0, float("nan"), 1.0), "low must be below high"),
        (0, (0.0, float("inf"), 1.0), "low must be below high"),
        (3, (0.0, 1e4, 1.0), "infinite values"),
        (9, (-1e4, 1e4, 1.0), "infinite values"),
    ],
)
def test_hostile_ranges_are_refused(tmp_path, row, values, message):
    path = tmp_path / "a.garv"
    save(path, fitted_like(25, INFO))
    data = path.read_bytes()
    assert struct.unpack_from("<HBB", data, 48) == (1, 32, 0)  # the ranges' random bytes do not deflate
    planes = np.frombuffer(data[148:292], np.uint8).reshape(4, 36).copy()
    numbers = np.ascontiguousarray(planes.T).view("<f4").reshape(12, 3)
    numbers[row] = values
    stored = np.ascontiguousarray(numbers.reshape(-1, 1).view(np.uint8).T).tobytes()
    data = data[:148] + stored + data[292:]
    with pytest.raises(GarvFormatError, match=message):
        load(sealed(data, {48 + 20: struct.pack("<I", zlib.crc32(stored))}))


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
    for read in (load, read_header):
        with pytest.raises(GarvFormatError, match=f"video.garv: .*{message}"):
            read(path)


def test_a_later_version_says_which(small_file):
    with pytest.raises(GarvFormatError, match="has format version 7, this reader knows versions up to 0"):
        load(small_file[:8] + struct.pack("<H", 7) + small_file[10:])


def test_missing_files_and_folders_are_os_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing.garv")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)


def test_bytes_load_like_their_file(small_file, tmp_path):
    (tmp_path / "a.garv").write_bytes(small_file)
    a, b = load(tmp_path / "a.garv"), load(small_file)
    assert isinstance(a, VideoGaussians)
    assert torch.equal(a.means, b.means)


def test_an_error_passes_from_process_to_process():
    with pytest.raises(GarvFormatError) as caught:
        load(b"\x89GARV\r\n\x1a\xff\xff\xff\xff")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.field, copy.offset) == (str(caught.value), "version", 8)
