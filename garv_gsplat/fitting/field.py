"""The trainable video."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from garv_gsplat.fitting.config import FitConfig
from garv_gsplat.fitting.initialization import draw_at_random, draw_from_video
from garv_gsplat.fitting.parametrization import (
    MIN_TEMPORAL_SIGMA,
    MIN_TEMPORAL_SIGMA_HELD_OUT,
    PARAMETRIZATIONS,
)
from garv_gsplat.fitting.registration import estimate_motion
from garv_gsplat.fitting.seen import SeenFrames
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.motion import maps_at, pixel_maps
from garv_gsplat.ops import PairBudget, accumulate
from garv_gsplat.volume import VideoInfo


class GaussianField(nn.Module):
    """The Gaussians of a video as one parameter, attributes [N, 9 + C] (see `parametrization`), rendered by frames.

    The number of Gaussians may change while a video is fitted.
    """

    def __init__(self, config: FitConfig, info: VideoInfo, num_gaussians: int) -> None:
        super().__init__()
        self.config = config
        self.info = info
        self.attributes = nn.Parameter(torch.zeros(num_gaussians, 9 + info.channels))
        self.move(info.motion)
        self._pair_budget = PairBudget()
        self._eval_budget = PairBudget()  # apart, or a frame looked at would be taken for a recorded step's

    def __len__(self) -> int:
        return len(self.attributes)

    def move(self, motion: tuple[tuple[float, ...], ...] | None) -> None:
        """See the plane that the Gaussians lie in through other maps (see `VideoInfo.motion`)."""
        self.info = replace(self.info, motion=motion)
        device = self.attributes.device
        shortest = MIN_TEMPORAL_SIGMA if self.config.hold_out is None else MIN_TEMPORAL_SIGMA_HELD_OUT
        self.parametrization = PARAMETRIZATIONS[self.config.parametrization](self.info, shortest).to(device)
        self.register_buffer("maps", pixel_maps(self.info, device), persistent=False)

    @torch.no_grad()
    def initialize(self, seen: SeenFrames) -> None:
        """Start from the frames that are fitted."""
        n = len(self)
        if self.config.parametrization == "log-cholesky":
            if self.config.global_motion:
                numbers = (seen.times - 0.5).long().tolist()
                self.move(estimate_motion(seen.frames, numbers, self.info.frames))
            drawn = draw_from_video(seen, n, self.config.seed, self.maps)
            self.attributes.copy_(self.parametrization.inverse(*drawn))
        else:
            self.attributes.copy_(draw_at_random(self.info, n, self.config.seed))
        self.project()

    def values(self) -> tuple[Tensor, Tensor, Tensor]:
        """Means [N, 3], Cholesky factors [N, 6] and colours [N, C] in pixels and frames."""
        return self.parametrization(self.attributes)

    @torch.no_grad()
    def set_values(self, means: Tensor, cholesky: Tensor, colors: Tensor) -> None:
        """Take other Gaussians, given in pixels and frames, as many as there are: `attributes` is another parameter."""
        self.attributes = nn.Parameter(self.parametrization.inverse(means, cholesky, colors))

    def forward(self, times: Tensor) -> Tensor:
        """Images [B, H, W, C] at times [B] in frames (frame k has its centre at k + 0.5), not clamped."""
        return self._render(times, self._pair_budget)

    @torch.no_grad()
    def look(self, times: Tensor) -> Tensor:
        """`forward` beside the steps of a fit: without gradients, and without counting for their lists."""
        return self._render(times, self._eval_budget)

    def _render(self, times: Tensor, budget: PairBudget) -> Tensor:
        size = (self.info.width, self.info.height)
        return render_frames(*self.values(), times, size, self.config.tau, budget, maps_at(self.maps, times))

    def room(self, frames: int) -> int:
        """Pairs that the lists of a step of `frames` frames get room for, as far as is known."""
        return self._pair_budget.capacity(frames)

    def watch_room(self) -> None:
        """After a recorded step: let its number of pairs count for the next ones."""
        self._pair_budget.watch()

    @torch.no_grad()
    def project(self) -> None:
        """Move the attributes back to where they mean something: means near the volume, widths above the pixel grid."""
        self.parametrization.project(self.attributes)

    @torch.no_grad()
    def gaussians(self) -> VideoGaussians:
        """The Gaussians as they are now, in the unit cube."""
        return VideoGaussians.from_pixels(*(v.detach().clone() for v in self.values()), self.info)

    def load_state_dict(self, state_dict: dict, strict: bool = True, assign: bool = False):
        """Also takes a state of another number of Gaussians."""
        stored = state_dict.get("attributes")
        if stored is not None and stored.shape != self.attributes.shape:
            self.attributes.data = self.attributes.new_zeros(stored.shape)
        return super().load_state_dict(state_dict, strict, assign)


def render_frames(
    means: Tensor,  # [N, 3]
    cholesky: Tensor,  # [N, 6]
    colors: Tensor,  # [N, C]
    times: Tensor,  # [B]
    size: tuple[int, int],
    tau: float,
    budget: PairBudget,
    motion: Tensor | None = None,  # [B, 6]
) -> Tensor:
    """Images [B, H, W, C] of (width, height) pixels as a fit renders them; all in pixels and frames.

    tau: a Gaussian is left out of a tile where its weight stays below this.
    """
    cutoffs = torch.full_like(colors[:, 0], -2 * math.log(tau) if tau else math.inf)
    lists = budget.bin(means, cholesky, cutoffs, times, *size, motion)
    return accumulate(means, cholesky, colors, cutoffs, times, *lists, *size, motion)
