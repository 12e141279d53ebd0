"""Whole numbers in a file: lists of them, and buckets with the bits that follow."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from garv_gsplat.codec import buckets
from garv_gsplat.codec.numbers import Numbers, pack_numbers
from tests.codec import reader

LARGEST = (1 << 63) - 1


def test_numbers_of_64_bits_come_back():
    values = [0, -1, 1, 63, -64, 64, 127, 128, -(1 << 31), 1 << 32, LARGEST, -LARGEST, -LARGEST - 1]
    numbers = Numbers(pack_numbers(values))
    assert [numbers.take(-LARGEST - 1, LARGEST) for _ in values[:4]] == values[:4]
    assert numbers.take_many(len(values) - 4, -LARGEST - 1, LARGEST) == values[4:]
    numbers.finish()
    Numbers(pack_numbers([])).finish()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "end too early"),
        (b"\x02", "a number is 1, -3 to 0 are allowed"),
        (b"\x00\x80", "end too early"),  # cut off within the second
        (b"\xff" * 9 + b"\x02", "end too early"),  # 65 bits
        (b"\xff" * 10 + b"\x01", "end too early"),
    ],
)
def test_what_is_no_number_or_out_of_bounds_is_refused(raw, message):
    with pytest.raises(ValueError, match=message):
        Numbers(zlib.compress(raw)).take(-3, 0)


def test_unsigned_buckets_and_bits_give_their_numbers_back():
    edges = [(1 << k) + d for k in range(buckets.MAX_BITS + 1) for d in (-2, -1, 0, 1)]
    values = np.array([v for v in [*range(300), *edges] if 0 <= v < (1 << buckets.MAX_BITS) - 1])
    found, bits, counts = buckets.split_unsigned(values)
    assert found.min() == 0 and found.max() == buckets.NUM_UNSIGNED - 1
    assert counts.tolist() == [reader.bits_after(bucket) for bucket in found.tolist()]
    assert [reader.unsigned(*pair) for pair in zip(found.tolist(), bits.tolist())] == values.tolist()


def test_signed_buckets_and_bits_give_their_numbers_back():
    sizes = np.array([*range(300), *((1 << k) + d for k in range(9, 20) for d in (-1, 0, 20, 21, 22)), buckets.LARGEST])
    values = np.concatenate([sizes, -sizes])
    found, bits, counts = buckets.split_signed(values)
    assert found.max() < buckets.NUM_SIGNED
    assert counts.tolist() == [reader.bits_of_signed(bucket) for bucket in found.tolist()]
    assert [reader.signed(*pair) for pair in zip(found.tolist(), bits.tolist())] == values.tolist()
