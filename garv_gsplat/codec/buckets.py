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


def split_unsigned(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Buckets, bits and how many they are [N], of numbers [N] from 0 to 2^MAX_BITS - 2."""
    n = values.astype(np.int64) + 1
    after_first = np.frexp(n.astype(np.float64))[1].astype(np.int64) - 1  # exact below 2^53
    counts = np.maximum(after_first - 1, 0)
    second = np.where(after_first > 0, (n >> counts) & 1, 0)
    return 2 * after_first + second, n & ((np.int64(1) << counts) - 1), counts


def unsigned_bits(buckets: np.ndarray) -> np.ndarray:
    """How many bits follow unsigned buckets [N]."""
    return np.maximum(buckets.astype(np.int64) // 2 - 1, 0)


def join_unsigned(buckets: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """The inverse of `split_unsigned`."""
    after_first, second = buckets.astype(np.int64) // 2, buckets.astype(np.int64) % 2
    head = np.where(after_first > 0, 2 + second, 1)
    return (head << unsigned_bits(buckets) | bits) - 1


def split_signed(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `split_unsigned`, of numbers of either sign, at most LARGEST in size."""
    size = np.abs(values)
    far, bits, counts = split_unsigned(np.maximum(size - DIRECT - 1, 0))
    near = size <= DIRECT
    buckets = np.where(near, values + DIRECT, SIGNED + 2 * far + (values < 0))
    return buckets, np.where(near, 0, bits), np.where(near, 0, counts)


def signed_bits(buckets: np.ndarray) -> np.ndarray:
    """How many bits follow signed buckets [N]."""
    return np.maximum((buckets - SIGNED) // 4 - 1, 0)


def join_signed(buckets: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """The inverse of `split_signed`."""
    values = buckets - DIRECT
    shared = np.flatnonzero(buckets >= SIGNED)  # few, of a fit's numbers
    far = buckets[shared] - SIGNED
    size = join_unsigned(far // 2, bits[shared]) + DIRECT + 1
    values[shared] = np.where(far % 2 == 1, -size, size)
    return values
