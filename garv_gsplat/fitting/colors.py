"""The best colours for Gaussians whose geometry is given: a sparse linear least-squares problem."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from garv_gsplat.fitting.seen import SeenFrames
from garv_gsplat.motion import maps_at
from garv_gsplat.ops import PairBudget, accumulate

_WEIGHT_TAU = 1 / 1024  # a Gaussian is left out of a tile where its weight stays below this
_CONVERGED = 1e-10  # of the first residual's square: what is left then is rounding


@torch.no_grad()
def refit_colors(
    means: Tensor,  # [N, 3]
    cholesky: Tensor,  # [N, 6]
    colors: Tensor,  # [N, C] to start from
    seen: SeenFrames,
    *,
    maps: Tensor | None = None,  # [T, 6]
    iterations: int = 8,
    batch_frames: int = 8,
) -> Tensor:
    """Colours [N, C] that come nearer to the frames seen; all in pixels and frames.

    maps: of all frames of the video, where its plane moves.

    Conjugate gradients on the normal equations (Hestenes and Stiefel, 1952), each Gaussian scaled by its own size;
    every iteration renders the video once and takes its gradient once.
    """
    system = _Normal(means, cholesky, seen, maps, batch_frames)
    sizes = (cholesky[:, 0] * cholesky[:, 3] * cholesky[:, 5])[:, None]
    residual = -system.gradient(colors, against_frames=True)
    scaled = residual / sizes
    direction, power = scaled, (residual * scaled).sum(0)
    converged = _CONVERGED * power
    for _ in range(iterations):
        image = system.gradient(direction, against_frames=False)
        length = torch.where(power > converged, power / (direction * image).sum(0), 0)
        colors, residual = colors + length * direction, residual - length * image
        scaled = residual / sizes
        before, power = power, (residual * scaled).sum(0)
        direction = scaled + torch.where(before > converged, power / before, 0) * direction
    return colors


class _Normal:
    """A^T A and A^T f, where A renders colours and f are the frames."""

    def __init__(
        self, means: Tensor, cholesky: Tensor, seen: SeenFrames, maps: Tensor | None, batch_frames: int
    ) -> None:
        self._geometry = (means, cholesky)
        self._cutoffs = torch.full_like(means[:, 0], -2 * math.log(_WEIGHT_TAU))
        self._seen, self._maps, self._batch = seen, maps, batch_frames
        self._budget = PairBudget()

    def gradient(self, colors: Tensor, *, against_frames: bool) -> Tensor:
        """A^T (A colors - f), or A^T A colors [N, C]."""
        height, width = self._seen.frames.shape[1:3]
        total = torch.zeros_like(colors)
        for frames, times in zip(self._seen.frames.split(self._batch), self._seen.times.split(self._batch)):
            motion = maps_at(self._maps, times)
            lists = self._budget.bin(*self._geometry, self._cutoffs, times, width, height, motion)
            with torch.enable_grad():
                variable = colors.detach().requires_grad_(True)
                image = accumulate(*self._geometry, variable, self._cutoffs, times, *lists, width, height, motion)
            error = image.detach()
            if against_frames:
                error = error - frames.float() / 255
            total += torch.autograd.grad(image, variable, error)[0]
        return total
