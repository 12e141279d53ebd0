"""Launches recorded once as a CUDA graph."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import torch

from garv_gsplat.ops._library import load

Result = TypeVar("Result")

_ONE_AT_A_TIME = threading.Lock()  # torch records one graph at a time in a process
_SCARCE = 1 / 4  # of a device's memory: with more of it free, a recording finds what it needs beside the caches


def can_record(device: torch.device) -> bool:
    """Whether launches on `device` can be recorded: the reference waits for the device, and so cannot be."""
    return device.type == "cuda" and load("CUDA") is None


class Recording:
    """Launches on a device as a CUDA graph; each recording takes the place of the one before, and its memory.

    `torch.cuda.graph` would wait for the whole device and give back all cached memory each time.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._graph: torch.cuda.CUDAGraph | None = None
        self._stream: torch.cuda.Stream | None = None  # memory is only used again on the stream that it was first for

    def record(self, launches: Callable[[], Result]) -> Result:
        """Record what `launches` launches; the tensors that each replay writes anew, those of before no more."""
        # Other threads may go on meanwhile, and what they launch is not recorded.
        with _ONE_AT_A_TIME, torch.cuda.device(self._device), torch.inference_mode(False):
            torch.cuda.current_stream().synchronize()  # with replays of the graph that goes
            self._make_room()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.stream(self._stream):
                # The graph before stays until this one has its memory too, which nobody else holds.
                pool = None if self._graph is None else self._graph.pool()
                graph.capture_begin(pool, capture_error_mode="thread_local")
                try:
                    result = launches()
                finally:
                    graph.capture_end()
            self._graph = graph
        return result

    def replay(self) -> None:
        """Launch what was recorded, on the current stream."""
        with torch.cuda.device(self._device):
            self._graph.replay()

    def _make_room(self) -> None:
        """Give back cached memory, which a recording cannot use, where it may be needed."""
        free, total = torch.cuda.mem_get_info(self._device)
        if self._graph is None or free < _SCARCE * total:
            self._graph, self._stream = None, torch.cuda.Stream(self._device)
            torch.cuda.empty_cache()
