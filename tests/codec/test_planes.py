"""Planes in JPEG XL: the same numbers again, or ValueError."""

from __future__ import annotations

import random
import sys

import imagecodecs
import numpy as np
import pytest

from garv_gsplat.codec import MissingLibraryError
from garv_gsplat.codec.planes import decode_plane, encode_plane


def noise(shape: tuple[int, int], dtype: type[np.unsignedinteger]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (7, 7), (130, 257)])
def test_there_and_back(dtype, shape):
    plane = noise(shape, dtype)
    decoded = decode_plane(encode_plane(plane), dtype, shape)
    assert decoded.dtype == dtype
    np.testing.assert_array_equal(decoded, plane)


def test_smooth_planes_are_small():
    ramp = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint16) * 300
    assert len(encode_plane(ramp)) < 0.1 * len(encode_plane(noise((64, 64), np.uint16)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no JPEG XL",
        encode_plane(noise((8, 8), np.uint16)),
        encode_plane(noise((9, 8), np.uint8)),
        encode_plane(noise((8, 8), np.uint8))[:-9],
        imagecodecs.jpegxl_encode(np.zeros((8, 8, 3), np.uint8), lossless=True),
        imagecodecs.jpegxl_encode(np.zeros((20_000, 20_000), np.uint8), lossless=True, effort=1),  # 40 kB say 400 MB
    ],
    ids=["nothing", "text", "16 bits", "other size", "cut off", "colours", "huge"],
)
def test_anything_else_is_refused(data):
    with pytest.raises(ValueError, match="no JPEG XL image of 8x8 uint8"):
        decode_plane(data, np.uint8, (8, 8))


def test_damage_is_refused_or_gives_other_numbers():
    data, generator = encode_plane(noise((20, 20), np.uint16)), random.Random(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(data)
        damaged[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        try:
            assert decode_plane(bytes(damaged), np.uint16, (20, 20)).shape == (20, 20)
        except ValueError:
            refused += 1
    assert refused > 30  # of 300; where there is nothing to predict, other bits are other numbers


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    for call in (lambda: encode_plane(np.zeros((2, 2), np.uint8)), lambda: decode_plane(b"", np.uint8, (2, 2))):
        with pytest.raises(MissingLibraryError, match=r"needs imagecodecs: pip install garv-gsplat\[sog\]"):
            call()
