"""Which frames a step sees."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


class FrameSampler:
    """Batches of frames: random orders of the whole video, one after the other.

    A batch depends on the seed and the step alone, so a resumed fit goes on as if it had not stopped.
    """

    def __init__(self, frames: int, batch_frames: int, seed: int, device: torch.device | str = "cpu") -> None:
        self.frames = frames
        self.batch_frames = min(batch_frames, frames)
        # Kept on the device: an upload in each step would wait for the step before.
        self._order = lru_cache(maxsize=2)(lambda epoch: _permutation(frames, seed, epoch).to(device))

    def batch(self, step: int) -> Tensor:
        """Frame indices [B] of step `step`, on the device."""
        epoch, first = divmod(step * self.batch_frames, self.frames)
        last = first + self.batch_frames
        indices = self._order(epoch)[first:last]
        if last > self.frames:
            indices = torch.cat([indices, self._order(epoch + 1)[: last - self.frames]])
        return indices


def _permutation(frames: int, seed: int, epoch: int) -> Tensor:
    generator = torch.Generator().manual_seed((seed << 32) + epoch)
    return torch.randperm(frames, generator=generator)
