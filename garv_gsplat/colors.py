"""The best colours for Gaussians whose geometry is given: a sparse linear least-squares problem."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import repeat

import torch
from torch import Tensor

from garv_gsplat.motion import maps_at
from garv_gsplat.ops import PairBudget, accumulate

_WEIGHT_TAU = 1 / 1024  # a Gaussian is left out of a tile where its weight stays below this
_CONVERGED = 1e-10  # of the first residual's square: what is left then is rounding


class NormalEquations:
    """A^T A and A^T f, where A renders the colours of given Gaussians and f are frames; all in pixels and frames."""

    def __init__(
        self,
        means: Tensor,  # [N, 3]
        cholesky: Tensor,  # [N, 6]
        times: Sequence[Tensor],  # [B] each, rendered in one launch
        size: tuple[int, int],  # width, height
        *,
        maps: Tensor | None = None,  # [T, 6]
        gains: Tensor | None = None,  # [N, 1]
    ) -> None:
        """maps: of all frames of the video, where its plane moves. gains: what colours are multiplied by as they are
        rendered, by default 1."""
        self._geometry, self._times, self._size, self._maps = (means, cholesky), times, size, maps
        self._scales = cholesky[:, (0, 3, 5)].prod(1, keepdim=True)
        self._gains = torch.ones_like(means[:, :1]) if gains is None else gains
        self._cutoffs = torch.full_like(means[:, 0], -2 * math.log(_WEIGHT_TAU))
        self._budget = PairBudget()

    @torch.no_grad()
    def gradient(self, colors: Tensor, frames: Iterable[Tensor] | None = None) -> Tensor:
        """A^T (A colors - f), or without frames A^T A colors [N, C].

        frames: [B, H, W, C], 1.0 is white, those of each of `times`.
        """
        total = torch.zeros_like(colors)
        for times, shown in zip(self._times, repeat(None) if frames is None else frames):
            motion = maps_at(self._maps, times)
            lists = self._budget.bin(*self._geometry, self._cutoffs, times, *self._size, motion)
            with torch.enable_grad():
                variable = colors.detach().requires_grad_(True)
                drawn = variable * self._gains
                image = accumulate(*self._geometry, drawn, self._cutoffs, times, *lists, *self._size, motion)
            error = image.detach() if shown is None else image.detach() - shown
            total += torch.autograd.grad(image, variable, error)[0]
        return total

    @torch.no_grad()
    def improve(self, colors: Tensor, frames: Iterable[Tensor], iterations: int = 8) -> Tensor:
        """Colours [N, C] that come nearer to the frames, from those given [N, C].

        Conjugate gradients (Hestenes and Stiefel, 1952), each Gaussian scaled by its own size; every iteration renders
        all frames once and takes their gradient once.
        """
        residual = -self.gradient(colors, frames)
        scaled = residual / self._scales
        direction, power = scaled, (residual * scaled).sum(0)
        converged = _CONVERGED * power
        for _ in range(iterations):
            image = self.gradient(direction)
            length = torch.where(power > converged, power / (direction * image).sum(0), 0)
            colors, residual = colors + length * direction, residual - length * image
            scaled = residual / self._scales
            before, power = power, (residual * scaled).sum(0)
            direction = scaled + torch.where(before > converged, power / before, 0) * direction
        return colors
