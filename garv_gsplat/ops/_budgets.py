"""How much room the lists of a launch get, learned from earlier launches without waiting for them."""

from __future__ import annotations

import threading
import weakref
from collections import defaultdict
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from garv_gsplat.ops import _deterministic
from garv_gsplat.ops._library import ensure_kernels

_HEADROOM = 1.25
_ROOM_USED = 1.1  # from here on there is more room for the next launch, or a recorded one would be recorded each time
_SPARE_PAIRS = 4096  # so that a scene of few pairs may grow
_SPARE_ENTRIES = 32


def motion_or_none(motion: Tensor | None, times: Tensor) -> Tensor:
    """The maps [B, 6] of frames at times [B] as the operators take them: none of them, [0, 6], where nothing moves."""
    if motion is None:
        return no_motion(times.device, times.dtype)
    if motion.shape != (len(times), 6) or motion.device != times.device or motion.dtype != times.dtype:
        raise ValueError(
            f"motion must be [{len(times)}, 6] {times.dtype} on {times.device}, a map for each time, "
            f"got {list(motion.shape)} {motion.dtype} on {motion.device}"
        )
    return motion


@cache
def no_motion(device: torch.device, dtype: torch.dtype) -> Tensor:
    """No maps, [0, 6], as the operators take them where nothing moves."""
    with torch.inference_mode(False):  # or only inference could use it
        return torch.empty(0, 6, device=device, dtype=dtype)


class PairBudget:
    """Room for the lists of `bin_gaussians`, one budget for a series of launches of the same kind.

    The first launch counts its pairs and waits for the number. Every later one takes the largest number of pairs a
    frame that has arrived from the launches before it, plus a quarter, and starts at once. A launch that needs more is
    slower, never wrong (see `bin_gaussians`), and the next ones get more room.
    """

    def __init__(self) -> None:
        self.pairs_per_frame = 0.0
        self._size: tuple[int, int] | None = None
        self._arriving = _Arriving()

    def bin(
        self,
        means: Tensor,
        cholesky: Tensor,
        cutoffs: Tensor,
        times: Tensor,
        width: int,
        height: int,
        motion: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """`bin_gaussians` with room for every pair that is to be expected; same arguments, same result."""
        ensure_kernels(means.device)
        tensors = (means, cholesky, cutoffs, times, motion_or_none(motion, times))
        args = (*(t.detach().contiguous() for t in tensors), width, height)
        frames = max(1, len(times))
        if self._size != (width, height):
            offsets, _ = torch.ops.garv.bin_gaussians(*args, 0)
            self._size, self._arriving = (width, height), _Arriving()
            self.pairs_per_frame = int(offsets[-1]) / frames
        isect_offsets, flatten_ids = _deterministic.bin_gaussians(*args, self.capacity(frames))
        self._total, self._frames = isect_offsets[-1:], frames
        self.watch()
        return isect_offsets, flatten_ids

    def watch(self) -> None:
        """Have the last launch's number of pairs come to the host some time, and learn from what has come.

        For launches that were recorded; others are watched as they are made.
        """
        if self._total.is_cuda and torch.cuda.is_current_stream_capturing():
            return
        pairs_per_frame = self._arriving.take()
        if pairs_per_frame > self.pairs_per_frame * _ROOM_USED:
            self.pairs_per_frame = pairs_per_frame
        self._arriving.send(self._total, scale=1 / self._frames)

    def capacity(self, frames: int) -> int:
        """Pairs that a launch of `frames` frames gets room for."""
        return int(self.pairs_per_frame * frames * _HEADROOM) + _SPARE_PAIRS


_FREE_WORDS: defaultdict[str, list[Tensor]] = defaultdict(list)


def _word(device: torch.device) -> Tensor:
    """A number [1] int64, 0, on the host where `device` can write it."""
    try:
        return _FREE_WORDS[device.type].pop().zero_()
    except IndexError:
        with torch.inference_mode(False):  # or only inference could write into it
            return torch.zeros(1, dtype=torch.int64, pin_memory=device.type == "cuda")


class ListBudget:
    """Room for each list of `draw`, one budget for all launches of a volume; learned as `PairBudget` learns.

    Launches tell the host themselves, in memory that both see, so a launch costs no copy and no event.
    """

    def __init__(self, device: torch.device) -> None:
        self.longest = 0
        self._device, self._measured = device, False
        self._missing = _word(device)
        self._missing_now = self._missing.numpy()
        # Launches may still write there; of another budget that makes lists too long at most.
        weakref.finalize(self, _FREE_WORDS[device.type].append, self._missing)

    def run(self, launch: Callable[[int, Tensor], Tensor]) -> Tensor:
        """The image that `launch(room, missing)` gives; into `missing` it has the longest list written without room."""
        if not self._measured:
            launch(0, self._missing)
            if self._device.type == "cuda":
                torch.cuda.current_stream(self._device).synchronize()
            self._measured = True
        # What other streams write meanwhile may be less than what was there; then a later launch tells.
        self.longest = max(self.longest, int(self._missing_now[0]))
        return launch(self.room, self._missing)

    @property
    def room(self) -> int:
        """Entries that a list gets room for."""
        return int(self.longest * _HEADROOM) + _SPARE_ENTRIES


class _Arriving:
    """A number on its way to the host, one at a time: what is missed of a growing scene comes with a later launch."""

    def __init__(self) -> None:
        self._host: Tensor | None = None
        self._event: torch.cuda.Event | None = None
        self._scale = 1.0
        self._under_way = False
        self._lock = threading.Lock()

    def send(self, number: Tensor, scale: float) -> None:
        with self._lock:
            self._send(number, scale)

    def take(self) -> float:
        """The number times its scale once it is there; 0 before."""
        with self._lock:
            if not self._under_way or (self._event is not None and not self._event.query()):
                return 0.0
            self._under_way = False
            return int(self._host) * self._scale

    def _send(self, number: Tensor, scale: float) -> None:
        if self._under_way:
            return
        self._scale = scale
        if not number.is_cuda:
            self._host = number
        else:
            if self._event is None:
                with torch.inference_mode(False):  # or only inference could write into it
                    self._host = torch.empty(1, dtype=torch.int64, pin_memory=True)
                self._event = torch.cuda.Event()
            self._host.copy_(number, non_blocking=True)
            self._event.record(torch.cuda.current_stream(number.device))
        self._under_way = True
