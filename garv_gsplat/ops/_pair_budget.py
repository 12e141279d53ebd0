"""How many Gaussian-tile pairs a launch gets room for, learned from earlier launches without waiting for them."""

from __future__ import annotations

import torch
from torch import Tensor

from garv_gsplat.ops._library import ensure_kernels

_HEADROOM = 1.25
_SPARE_PAIRS = 4096  # so that a scene of few pairs may grow


class PairBudget:
    """Room for the lists of `bin_gaussians`, one budget for a series of launches of the same kind.

    The first launch counts its pairs and waits for the number. Every later one takes the largest number of pairs a
    frame that has arrived from the launches before it, plus a quarter, and starts at once. A launch that needs more is
    slower, never wrong (see `bin_gaussians`), and the next ones get more room.
    """

    def __init__(self) -> None:
        self.pairs_per_frame = 0.0
        self._size: tuple[int, int] | None = None
        self._arriving: list[tuple[torch.cuda.Event, Tensor, int]] = []

    def bin(
        self, means: Tensor, cholesky: Tensor, cutoffs: Tensor, times: Tensor, width: int, height: int
    ) -> tuple[Tensor, Tensor]:
        """`bin_gaussians` with room for every pair that is to be expected; same arguments, same result."""
        ensure_kernels(means.device)
        args = (*(t.detach().contiguous() for t in (means, cholesky, cutoffs, times)), width, height)
        if self._size != (width, height):
            offsets, _ = torch.ops.garv.bin_gaussians(*args, 0)
            self._size, self._arriving = (width, height), []
            self.pairs_per_frame = int(offsets[-1]) / max(1, len(times))
        self._collect()
        isect_offsets, flatten_ids = torch.ops.garv.bin_gaussians(*args, self.capacity(len(times)))
        self._watch(isect_offsets[-1:], len(times))
        return isect_offsets, flatten_ids

    def capacity(self, frames: int) -> int:
        """Pairs that a launch of `frames` frames gets room for."""
        return int(self.pairs_per_frame * frames * _HEADROOM) + _SPARE_PAIRS

    def _watch(self, total: Tensor, frames: int) -> None:
        if total.device.type != "cuda":
            self.pairs_per_frame = max(self.pairs_per_frame, int(total) / max(1, frames))
            return
        host = torch.empty(1, dtype=torch.int64, pin_memory=True)
        host.copy_(total, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._arriving.append((event, host, frames))

    def _collect(self) -> None:
        while self._arriving and self._arriving[0][0].query():
            _, host, frames = self._arriving.pop(0)
            self.pairs_per_frame = max(self.pairs_per_frame, int(host) / max(1, frames))
