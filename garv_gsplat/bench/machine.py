"""What the figures were measured on, and how much of its memory was used."""

from __future__ import annotations

import gc
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from garv_gsplat import __version__
from garv_gsplat.ops import serving


def describe(device: torch.device) -> dict[str, Any]:
    """Device and versions."""
    return {
        "device": device_name(device),
        "device_type": device.type,
        "cpu": _cpu_name(),
        "cpu_threads": torch.get_num_threads(),
        "cpu_count": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "garv_gsplat": __version__,
        "kernels": serving(),
    }


def device_name(device: torch.device) -> str:
    """The GPU's name, or the CPU's with the number of threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} threads of {_cpu_name()}"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


@dataclass(frozen=True)
class PeakMemory:
    """Bytes of a GPU; None on the CPU."""

    allocated: int | None
    """most that torch's tensors took at once, the Gaussians among them"""
    reserved: int | None
    """most that torch's allocator held at once"""
    device_in_use: int | None
    """afterwards on the whole device: torch's, the CUDA context and modules, and any other process"""


def start_counting(device: torch.device) -> None:
    """Forget the peak so far, and give back what no tensor uses."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.synchronize(device)
        torch._C._cuda_clearCublasWorkspaces()  # 64 MiB of the reference's matrix products, which nothing timed makes
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> PeakMemory:
    """The peak since `start_counting`."""
    if device.type != "cuda":
        return PeakMemory(None, None, None)
    free, total = torch.cuda.mem_get_info(device)
    return PeakMemory(torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device), total - free)
