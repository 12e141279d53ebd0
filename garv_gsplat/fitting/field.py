"""The trainable video."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from garv_gsplat.codec import Quantizer, gaussians_for_bpp
from garv_gsplat.fitting.config import FitConfig
from garv_gsplat.fitting.initialization import draw_at_random, draw_from_video
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.ops import PairBudget, accumulate
from garv_gsplat.volume import VideoInfo

MIN_SPATIAL_SIGMA = 0.25  # pixels; narrower Gaussians fall between the pixel centres and get no gradient
MIN_TEMPORAL_SIGMA = 0.25  # frames; likewise
_OUTSIDE = 0.1  # of the volume's size that means may lie outside of it on each side
_DIAGONAL = (0, 3, 5)  # l_tt, l_xx, l_yy in a row of the Cholesky factors
_CHOLESKY_BOUND = 0.5  # what GaussianImage adds to its diagonal entries


def gaussians_for(config: FitConfig, info: VideoInfo) -> int:
    """How many Gaussians a fit of this video has: as many as a file of `config.bpp` bits per pixel holds."""
    return config.num_gaussians or gaussians_for_bpp(config.bpp, info)


class GaussianField(nn.Module):
    """The Gaussians of a video as parameters, rendered frame by frame, rounded as the file will round them when asked.

    Parameters are means [N, 3], cholesky [N, 6] and colors [N, C] in pixels and frames, or what
    `FitConfig.parametrization` makes of them.
    """

    def __init__(self, config: FitConfig, info: VideoInfo, num_gaussians: int) -> None:
        super().__init__()
        self.config = config
        self.info = info
        self.means = nn.Parameter(torch.zeros(num_gaussians, 3))
        self.cholesky = nn.Parameter(torch.zeros(num_gaussians, 6))
        self.colors = nn.Parameter(torch.zeros(num_gaussians, info.channels))
        self.register_buffer("quantizer_ranges", torch.zeros(9 + info.channels, 3))
        self.register_buffer("rounding", torch.tensor(False))
        size = torch.tensor([info.width, info.height, info.frames], dtype=torch.float32)
        bound = _CHOLESKY_BOUND if config.parametrization == "gaussian-image" else 0.0
        sigmas = torch.full((6,), -math.inf)
        sigmas[list(_DIAGONAL)] = torch.tensor([MIN_TEMPORAL_SIGMA, MIN_SPATIAL_SIGMA, MIN_SPATIAL_SIGMA]) - bound
        bounds = torch.zeros(6)
        bounds[list(_DIAGONAL)] = bound
        # Constants live beside the parameters: an upload in each step would wait for the step before.
        for name, value in (("_size", size), ("_cholesky_floor", sigmas), ("_cholesky_bound", bounds)):
            self.register_buffer(name, value, persistent=False)
        self._rounds = False  # the buffer's value on the host, so that no step waits for the device
        self._pair_budget = PairBudget()
        self._eval_budget = PairBudget()  # apart, or a frame looked at would be taken for a recorded step's

    def initialize(self, frames: Tensor) -> None:
        """Start from the video's frames uint8 [T, H, W, C]."""
        n = len(self.means)
        if self.config.parametrization == "pixel":
            values = draw_from_video(frames, n, self.config.seed)
        else:
            values = draw_at_random(self.info, n, self.config.seed)
        with torch.no_grad():
            for parameter, value in zip((self.means, self.cholesky, self.colors), values):
                parameter.copy_(value)
        self.project()

    def param_groups(self) -> dict[str, list[nn.Parameter]]:
        """One optimizer each; `FitConfig.learning_rates` has the same names."""
        return {"means": [self.means], "cholesky": [self.cholesky], "colors": [self.colors]}

    def values(self) -> tuple[Tensor, Tensor, Tensor]:
        """Means, Cholesky factors and colours in pixels and frames, rounded once rounding has started."""
        means, cholesky, colors = self.means, self.cholesky, self.colors
        if self.config.parametrization == "gaussian-image":
            means = (means.tanh() + 1) * (0.5 * self._size)
            cholesky = cholesky + self._cholesky_bound
        if self._rounds:
            means, cholesky, colors = Quantizer(self.quantizer_ranges).round(means, cholesky, colors)
        return means, cholesky, colors

    def forward(self, times: Tensor) -> Tensor:
        """Images [B, H, W, C] at times [B] in frames (frame k has its centre at k + 0.5), not clamped."""
        means, cholesky, colors = self.values()
        tau = self.config.tau
        cutoffs = torch.full_like(colors[:, 0], -2 * math.log(tau) if tau else math.inf)
        size = (self.info.width, self.info.height)
        budget = self._pair_budget if self.training else self._eval_budget
        lists = budget.bin(means, cholesky, cutoffs, times, *size)
        return accumulate(means, cholesky, colors, cutoffs, times, *lists, *size)

    @property
    def rounds(self) -> bool:
        """Whether rounding has started."""
        return self._rounds

    def room(self, frames: int) -> int:
        """Pairs that the lists of a step of `frames` frames get room for, as far as is known."""
        return self._pair_budget.capacity(frames)

    def watch_room(self) -> None:
        """After a recorded step: let its number of pairs count for the next ones."""
        self._pair_budget.watch()

    @torch.no_grad()
    def start_rounding(self) -> None:
        """Fix the quantizer's ranges by the values at hand and round from now on."""
        self._rounds = False
        self.quantizer_ranges.copy_(Quantizer.calibrate(*self.values(), self.info).ranges)
        self.rounding.fill_(True)
        self._rounds = True

    @torch.no_grad()
    def project(self) -> None:
        """Move the parameters back to where they mean something: means near the volume, widths above the pixel grid."""
        if self.config.parametrization == "pixel":
            self.means.clamp_(-_OUTSIDE * self._size, (1 + _OUTSIDE) * self._size)
        self.cholesky.clamp_(min=self._cholesky_floor)

    @torch.no_grad()
    def gaussians(self) -> VideoGaussians:
        """The Gaussians as they are now, in the unit cube."""
        return VideoGaussians.from_pixels(*(v.detach().clone() for v in self.values()), self.info)

    def quantizer(self) -> Quantizer | None:
        """The quantizer that the values are rounded by; None before rounding has started."""
        return Quantizer(self.quantizer_ranges.clone()) if self._rounds else None

    def load_state_dict(self, state_dict: dict, strict: bool = True, assign: bool = False):
        """Also takes a state of another number of Gaussians."""
        for name in ("means", "cholesky", "colors"):
            parameter = getattr(self, name)
            if name in state_dict and state_dict[name].shape != parameter.shape:
                parameter.data = parameter.new_zeros(state_dict[name].shape)
        result = super().load_state_dict(state_dict, strict, assign)
        self._rounds = bool(self.rounding)
        return result
