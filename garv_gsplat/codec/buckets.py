"""Whole numbers as a bucket, which has a probability, and bits within it, which have none.

Signed numbers up to DIRECT have a bucket of their own; the others, and all unsigned ones, share buckets of half an
octave: n from 1 on is in bucket 2 b + s, b being the bits after its first and s the second bit.
"""

from __future__ import annotations

import numpy as np

DIRECT = 20
SIGNED = 2 * DIRECT + 1  # buckets of one number each
MAX_BITS = 46  # of an unsigned number
LARGEST = 1 << 20  # of a signed number
NUM_UNSIGNED = 2 * MAX_BITS
NUM_SIGNED = SIGNED + 2 * 2 * (LARGEST.bit_length())

# Of every bucket how many bits follow it, and its least number.
_UNSIGNED_BITS = np.maximum(np.arange(NUM_UNSIGNED) // 2 - 1, 0).astype(np.int8)
_UNSIGNED_LEAST = np.array([0, 0] + [((2 + k % 2) << k // 2 - 1) - 1 for k in range(2, NUM_UNSIGNED)])
_FAR = np.arange(NUM_SIGNED - SIGNED) // 2  # unsigned buckets of the numbers beyond DIRECT, of either sign
_SIGNED_BITS = np.concatenate([np.zeros(SIGNED, np.int8), _UNSIGNED_BITS[_FAR]])
_SIGNED_LEAST = np.concatenate([np.arange(SIGNED) - DIRECT, DIRECT + 1 + _UNSIGNED_LEAST[_FAR]]).astype(np.int32)
_SIGNED_LEAST[SIGNED + 1 :: 2] *= -1
_FIRST_WITH_BITS = int(np.argmax(_SIGNED_BITS > 0))


def split_unsigned(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Buckets, bits and how many they are [N], of numbers [N] from 0 to 2^MAX_BITS - 2."""
    n = values.astype(np.int64) + 1
    after_first = np.frexp(n.astype(np.float64))[1].astype(np.int64) - 1  # exact below 2^53
    counts = np.maximum(after_first - 1, 0)
    second = np.where(after_first > 0, (n >> counts) & 1, 0)
    return 2 * after_first + second, n & ((np.int64(1) << counts) - 1), counts


def unsigned_bits(buckets: np.ndarray) -> np.ndarray:
    """How many bits follow unsigned buckets [N]."""
    return _UNSIGNED_BITS.take(buckets)


def join_unsigned(buckets: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """The inverse of `split_unsigned`."""
    return _UNSIGNED_LEAST.take(buckets) + bits


def split_signed(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `split_unsigned`, of numbers of either sign, at most LARGEST in size."""
    size = np.abs(values)
    far, bits, counts = split_unsigned(np.maximum(size - DIRECT - 1, 0))
    near = size <= DIRECT
    buckets = np.where(near, values + DIRECT, SIGNED + 2 * far + (values < 0))
    return buckets, np.where(near, 0, bits), np.where(near, 0, counts)


def signed_bits(buckets: np.ndarray) -> np.ndarray:
    """How many bits follow signed buckets [N]."""
    return _SIGNED_BITS.take(buckets)


def with_bits(buckets: np.ndarray) -> np.ndarray:
    """Indices of the signed buckets that bits follow: few, of a fit's numbers."""
    return np.flatnonzero(buckets >= _FIRST_WITH_BITS)


def join_signed(buckets: np.ndarray, long: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """The inverse of `split_signed`, int32, given the bits of those alone that have any, and their indices."""
    values = _SIGNED_LEAST.take(buckets)
    values[long] += np.where(values[long] < 0, -bits, bits)
    return values
