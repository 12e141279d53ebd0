"""The codecs of fixed numbers of bits, sog and paper16-8-8: what they round, how much they take, what they refuse."""

from __future__ import annotations

import random
import struct
import sys
import zlib
from typing import get_args

import numpy as np
import pytest
import torch

from garv_gsplat.codec import (
    CODECS,
    GarvFile,
    GarvFormatError,
    MissingLibraryError,
    encode,
    find_codec,
    forecast_bits,
    load,
)
from garv_gsplat.codec.layout import CODECS as CODES
from garv_gsplat.codec.numbers import pack_numbers
from garv_gsplat.codec.uniform import dequantize, highest_levels, quantize, with_colors
from garv_gsplat.fitting.config import CodecName
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.volume import VideoInfo
from tests.codec.samples import fitted_like
from tests.codec.test_damage import with_sections
from tests.codec.test_quantization import adversarial, rows

INFO = VideoInfo(320, 180, 48)
FIXED = ["sog", "paper16-8-8"]


def attributes(gaussians: VideoGaussians) -> np.ndarray:
    """Means, Cholesky factors and colours in pixels and frames [N, 9 + C]."""
    return np.concatenate([v.double().numpy() for v in (*gaussians.in_pixels(), gaussians.colors)], 1)


# Rounding


def test_no_number_is_off_by_more_than_half_a_step():
    gaussians = fitted_like(2000, INFO)
    exact, rounded = attributes(gaussians), attributes(dequantize(quantize(gaussians)))
    steps = np.ptp(exact, 0) / highest_levels(3)
    error = np.abs(rounded - exact) / steps
    assert (error <= 0.5 + 0.01).all()  # float32 in the unit cube, against 65535 steps
    assert (error.max(0) > 0.4).all()  # and no number is kept finer


def test_the_least_and_the_largest_values_are_kept():
    exact = attributes(fitted_like(500, INFO))
    rounded = attributes(dequantize(quantize(fitted_like(500, INFO))))
    for end in (np.min, np.max):
        np.testing.assert_allclose(end(rounded, 0), end(exact, 0), rtol=1e-5, atol=1e-5)  # float32 in the unit cube


@pytest.mark.parametrize("codec", FIXED)
@pytest.mark.parametrize("name", adversarial())
def test_a_file_holds_what_rounding_gives(codec, name):
    rounded = dequantize(quantize(adversarial()[name]))
    rounded = rounded.take((rounded.colors != 0).any(1))
    np.testing.assert_array_equal(rows(load(encode(adversarial()[name], codec))), rows(rounded))


def test_other_colours_have_a_range_of_their_own():
    gaussians = fitted_like(300, INFO)
    other = with_colors(quantize(gaussians), 0.1 * gaussians.colors)
    step = 0.1 * np.ptp(gaussians.colors.numpy(), 0) / 255
    assert ((dequantize(other).colors - 0.1 * gaussians.colors).abs().numpy() <= 0.51 * step).all()
    assert torch.equal(dequantize(other).means, dequantize(quantize(gaussians)).means)


def test_a_step_has_no_meaning():
    with pytest.raises(ValueError, match="given numbers of bits; leave the step out"):
        encode(fitted_like(10, INFO), "sog", step=0.1)


# Names


def test_every_list_of_the_codecs_is_the_same():
    assert tuple(CODECS) == CODES == get_args(CodecName)


def test_a_codec_that_is_none():
    with pytest.raises(ValueError, match="codec must be one of rans, sog, paper16-8-8, got 'zip'"):
        encode(fitted_like(10, INFO), "zip")


# Files


@pytest.mark.parametrize("codec", FIXED)
@pytest.mark.parametrize("count", [0, 1, 2, 5, 100, 401])
@pytest.mark.parametrize("channels", [1, 3, 8])
def test_any_number_of_gaussians_and_channels(codec, count, channels):
    info = VideoInfo(177, 99, 3, channels=channels)
    file = GarvFile(encode(fitted_like(count, info), codec))
    assert (file.codec, file.info, file.num_gaussians) == (codec, info, count)
    assert len(file.read()) == count


@pytest.mark.parametrize(("channels", "bits"), [(1, 104), (3, 120), (8, 160)])
def test_the_papers_numbers_take_what_the_paper_says(channels, bits):
    file = GarvFile(encode(fitted_like(300, VideoInfo(177, 99, 3, channels=channels)), "paper16-8-8"))
    assert 8 * sum(stream.size for chunk in file.chunks for stream in chunk.streams) == bits * 300
    assert 8 * file.size < bits * 300 + 8 * 450  # header, ranges, entry


@pytest.mark.parametrize("codec", FIXED)
def test_a_forecast_from_a_part_comes_near(monkeypatch, codec):
    gaussians = fitted_like(3000, INFO)
    file = GarvFile(encode(gaussians, codec))
    taken = 8 * sum(stream.size for chunk in file.chunks for stream in chunk.streams) / 3000
    monkeypatch.setattr("garv_gsplat.codec.forecast._SAMPLE", 1500)
    assert forecast_bits(gaussians, codec) == pytest.approx(taken, rel=0.05)


def test_sorted_planes_take_less(monkeypatch):
    gaussians = fitted_like(900, INFO)
    gaussians.colors[:] = gaussians.means  # neighbours in place are alike in colour
    taken = len(encode(gaussians, "sog"))
    monkeypatch.setattr("garv_gsplat.codec.sog.sort_to_grid", lambda features: torch.arange(900).view(30, 30))
    assert taken < 0.9 * len(encode(gaussians, "sog"))


def test_the_same_gaussians_give_the_same_file():
    assert encode(fitted_like(400, INFO), "sog") == encode(fitted_like(400, INFO), "sog")


@pytest.mark.parametrize("codec", CODECS)
def test_a_stream_is_never_smaller_than_its_count_allows(codec):
    alike = fitted_like(1, INFO).take(torch.zeros(6000, dtype=torch.int64))
    assert len(load(encode(alike, codec))) == 6000


# Damage


def with_streams(data: bytes, streams: list[tuple[int, bytes]]) -> bytes:
    """A file of one chunk with other streams: number of Gaussians and bytes of each."""
    numbers = [1, 0, 0, 0, 0, 320, 180, 48, len(streams)]
    for count, part in streams:
        numbers += [count, len(part), zlib.crc32(part)]
    return with_sections(data, {3: pack_numbers(numbers), 4: b"".join(part for _, part in streams)})


def stream_of(data: bytes) -> bytes:
    file = GarvFile(data)
    return file.read_streams(file.chunks[0])[0]


@pytest.mark.parametrize(
    ("codec", "change", "count", "message"),
    [
        ("paper16-8-8", lambda data: data + b"\0", 50, "a stream of 50 Gaussians has 751 bytes"),
        ("paper16-8-8", lambda data: data, 49, "a stream of 49 Gaussians has 750 bytes"),
        ("sog", lambda data: b"\0" * 20, 50, "no room for the sizes of 12 planes"),
        ("sog", lambda data: struct.pack("<I", 1 << 31) + data[4:], 50, "the planes take .* bytes of a stream of"),
        ("sog", lambda data: struct.pack("<12I", *[1 << 31] * 12) + data[48:], 50, "the planes take 25769803824 bytes"),
        ("sog", lambda data: data, 49, "no JPEG XL image of 7x7 uint16"),
        ("sog", lambda data: data, 8 * 1300, "no JPEG XL image of 102x102 uint16"),
        ("sog", lambda data: data[:48] + bytes(len(data) - 48), 50, "no JPEG XL image of 8x8 uint16"),
        ("sog", lambda data: bytes(len(data)), 50, "no JPEG XL image of 8x8 uint16"),
    ],
)
def test_hostile_streams_are_refused(codec, change, count, message):
    data = encode(fitted_like(50, INFO), codec)
    with pytest.raises(GarvFormatError, match=r"stream \(byte \d+\): .*" + message):
        load(with_streams(data, [(count, change(stream_of(data)))]))


@pytest.mark.parametrize("codec", FIXED)
def test_damaged_streams_never_crash(codec):
    data, generator = encode(fitted_like(60, INFO), codec), random.Random(0)
    stream = stream_of(data)
    for _ in range(100):
        damaged = bytearray(stream)
        for _ in range(3):
            damaged[generator.randrange(len(stream))] = generator.randrange(256)
        try:
            assert len(load(with_streams(data, [(60, bytes(damaged))]))) == 60
        except GarvFormatError:
            assert codec == "sog"  # any bytes are numbers of the other one


def bits_of(low: float, high: float) -> list[int]:
    return np.array([[low] * 12, [high] * 12], np.float32).view(np.uint32).ravel().tolist()


@pytest.mark.parametrize("codec", FIXED)
@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (bits_of(2, 1), "the range of an attribute is empty or infinite"),
        (bits_of(1, float("inf")), "empty or infinite"),
        (bits_of(float("nan"), 1), "empty or infinite"),
        (bits_of(0, 1), "goes down to 0.0; they must be positive"),
        (bits_of(1, 2)[:-1], "the numbers end too early"),
        ([*bits_of(1, 2), 0], "1 numbers are left over"),
    ],
)
def test_hostile_models_are_refused(codec, numbers, message):
    with pytest.raises(GarvFormatError, match=r"models \(byte \d+\): .*" + message):
        GarvFile(with_sections(encode(fitted_like(20, INFO), codec), {2: pack_numbers([1, *numbers])}))


def test_a_missing_library_is_named_before_anything_is_done(monkeypatch):
    data = encode(fitted_like(10, INFO), "sog")
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    assert GarvFile(data).num_gaussians == 10
    for call in (lambda: load(data), lambda: encode(fitted_like(10, INFO), "sog"), find_codec("sog").check):
        with pytest.raises(MissingLibraryError, match=r"pip install garv-gsplat\[sog\]"):
            call()
    for codec in ("rans", "paper16-8-8"):
        find_codec(codec).check()
        load(encode(fitted_like(10, INFO), codec))
