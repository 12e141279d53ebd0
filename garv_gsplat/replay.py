"""One frame at a time on CUDA: all launches of a frame recorded once as a graph and then started by one call."""

from __future__ import annotations

import threading

import torch
from torch import Tensor

from garv_gsplat.motion import maps_at
from garv_gsplat.ops import ListBudget, record
from garv_gsplat.packing import PackedVolume


class FrameReplay:
    """Draws single frames as `PackedVolume.draw` does, with a fifth of its work on the host.

    The recorded launches work on memory of their own, about twice a frame's; a frame is copied out of it. From several
    threads or streams frames are drawn one after the other.
    """

    def __init__(self, volume: PackedVolume, window: tuple[int, int, int, int], budget: ListBudget) -> None:
        self._volume, self._window, self._budget = volume, window, budget
        with torch.inference_mode(False):  # or only inference could write into it
            # the position, and beside it the map that the frame is seen through
            self._place = torch.zeros(1 if volume.maps is None else 7, device=volume.records.device)
            missing = torch.zeros(1, dtype=torch.int64, pin_memory=True)
        # The longest list without room, which the graph itself copies to the host.
        self._missing, self._missing_now = missing, missing.numpy()
        self._device = self._place.device
        self._graph: torch.cuda.CUDAGraph | None = None
        self._lock = threading.Lock()
        self._stream: torch.cuda.Stream | None = None  # that the last frame was drawn on

    def places(self, positions: Tensor) -> Tensor:
        """What `draw` takes for positions [B] in slices, a row each."""
        motion = maps_at(self._volume.maps, positions)
        return positions[:, None] if motion is None else torch.cat([positions[:, None], motion], 1)

    def draw(self, place: Tensor) -> Tensor:
        """The frame uint8 [1, height, width, C] at a place, a row of `places`."""
        with self._lock:
            self._follow(torch.cuda.current_stream(self._device))
            self._place.copy_(place)
            if self._graph is None or self._missing_now[0] > 0:
                self._record()
            self._graph.replay()
            return self._image.clone()

    def _follow(self, stream: torch.cuda.Stream) -> None:
        """Have `stream` wait until the last frame has been copied out, if that was drawn on another one."""
        if self._stream is not None and stream != self._stream:
            stream.wait_stream(self._stream)
        self._stream = stream

    def _record(self) -> None:
        """Record the launches, with room for the longest list that is known of."""
        self._budget.longest = max(self._budget.longest, int(self._missing_now[0]))
        self._budget.run(self._launch)  # measures, the first time
        self._missing_now[0] = 0
        self._graph = None  # so that its memory can serve the new one
        room = self._budget.room

        def work() -> Tensor:
            image, longest = self._launch(room)
            self._missing.copy_(longest, non_blocking=True)
            return image

        self._graph, self._image = record(self._device, work)

    def _launch(self, room: int) -> tuple[Tensor, Tensor]:
        motion = None if len(self._place) == 1 else self._place[None, 1:]
        return self._volume.launch(self._place[:1], self._window, room, motion=motion)
