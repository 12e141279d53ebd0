"""Whole numbers as a bucket, which has a probability, and bits within it, which have none.

Signed numbers up to DIRECT have a bucket of their own; the others, and all unsigned ones, share buckets of half an
octave: n from 1 on is in bucket 2 b + s, b being the bits after its first and s the second bit.
"""

from __future__ import annotations

import numpy as np

from garv_gsplat.ops import DIRECT

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


def split_signed(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `split_unsigned`, of numbers of either sign, at most LARGEST in size."""
    buckets = values.astype(np.int64) + DIRECT
    bits, counts = np.zeros_like(buckets), np.zeros_like(buckets)
    far = np.nonzero(np.abs(values) > DIRECT)  # few of them
    found, bits[far], counts[far] = split_unsigned(np.abs(values[far]) - DIRECT - 1)
    buckets[far] = SIGNED + 2 * found + (values[far] < 0)
    return buckets, bits, counts
