"""Launches recorded once as a CUDA graph."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import torch

from garv_gsplat.ops._library import load

Result = TypeVar("Result")

_ONE_AT_A_TIME = threading.Lock()  # torch records one graph at a time in a process


def can_record(device: torch.device) -> bool:
    """Whether launches on `device` can be recorded: the reference waits for the device, and so cannot be."""
    return device.type == "cuda" and load("CUDA") is None


def record(device: torch.device, launches: Callable[[], Result]) -> tuple[torch.cuda.CUDAGraph, Result]:
    """Record what `launches` launches on `device`; the graph, and the tensors that each replay of it writes anew."""
    graph = torch.cuda.CUDAGraph()
    # A stream of the device's own: torch's stays on the first device that recorded. Other threads may go on meanwhile.
    with (
        _ONE_AT_A_TIME,
        torch.cuda.device(device),
        torch.inference_mode(False),
        torch.cuda.graph(graph, stream=torch.cuda.Stream(device), capture_error_mode="thread_local"),
    ):
        result = launches()
    return graph, result
