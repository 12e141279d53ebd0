"""Finds and loads the compiled libraries beside the package, and tells which kernel serves which device."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path

import torch

_FOLDER = Path(__file__).parent
LIBRARIES = {"CPU": "_garv_cpu.so", "CUDA": "_garv_cuda.so"}


@cache
def load(backend: str) -> str | None:
    """Load the library of "CPU" or "CUDA"; the reason why it is not there, or None when it is."""
    path = _FOLDER / LIBRARIES[backend]
    if not path.exists():
        return f"{path.name} was not built"
    try:
        torch.ops.load_library(str(path))
    except OSError as error:
        return f"{path.name} does not load: {error}"
    return None


def ensure_kernels(device: torch.device) -> None:
    """Load what serves `device`; warns once when only the slow reference does."""
    backend = device.type.upper()
    reason = load(backend) if backend in LIBRARIES else f"there is no library for {device.type}"
    if reason is not None:
        _warn_once(device.type, reason)


@cache
def _warn_once(device_type: str, reason: str) -> None:
    warnings.warn(
        f"{device_type} tensors are served by the slow reference in Python: {reason}; "
        "`garv info` lists the kernels, reinstall with a compiler (CUDA: with CUDA_HOME set) to build them",
        RuntimeWarning,
        stacklevel=4,
    )


def serving() -> dict[str, str]:
    """Which implementation serves "CPU" and "CUDA": "compiled", or "reference" with the reason."""
    reasons = {backend: load(backend) for backend in LIBRARIES}
    return {b: "compiled" if reason is None else f"reference ({reason})" for b, reason in reasons.items()}
