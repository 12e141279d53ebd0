"""Fits that repeat themselves bit by bit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Turn `torch.use_deterministic_algorithms` on inside, where `wanted`; otherwise leave it as it is."""
    if not wanted:
        yield
        return
    # A fit multiplies no matrices, but a viewer beside it may, and cuBLAS refuses to without one of two settings.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("error")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
