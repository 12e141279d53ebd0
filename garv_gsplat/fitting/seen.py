"""What a fit sees of a video."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from garv_gsplat.fitting.config import FitConfig


@dataclass(frozen=True, eq=False)
class SeenFrames:
    """The frames that are fitted. Those held out are not in it, so nothing that a fit does can depend on them."""

    frames: Tensor
    """[S, H, W, C] uint8"""
    times: Tensor
    """[S] of their centres, in frames of the video: k + 0.5 of frame k"""

    def __len__(self) -> int:
        return len(self.frames)

    def to(self, device: torch.device | str) -> SeenFrames:
        """The same frames on `device`."""
        return replace(self, frames=self.frames.to(device), times=self.times.to(device))


def seen_frames(frames: Tensor, config: FitConfig) -> SeenFrames:
    """What a fit with these settings sees of the video's frames uint8 [T, H, W, C]."""
    indices = torch.arange(len(frames), device=frames.device)
    if config.hold_out is None:
        return SeenFrames(frames, indices + 0.5)
    seen = indices[~held_out(len(frames), config.hold_out).to(frames.device)]
    return SeenFrames(frames[seen], seen + 0.5)


def held_out(frames: int, every: int) -> Tensor:
    """Which of a video's frames [T] bool are held out: each `every`-th, but for the last one, which nothing follows."""
    indices = torch.arange(frames)
    return (indices % every == every - 1) & (indices < frames - 1)
