"""What Adam sees of a Gaussian: one row of attributes, and the way there and back."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from garv_gsplat.volume import VideoInfo

MIN_SPATIAL_SIGMA = 0.25  # pixels; narrower Gaussians fall between the pixel centres and get no gradient
MIN_TEMPORAL_SIGMA = 0.25  # frames; likewise
# Frames, where some are held out: a shorter Gaussian lives in one or two frames that are seen, so that nothing tells
# how it moves, and dies between them. docs/interpolation.md has what other floors give.
MIN_TEMPORAL_SIGMA_HELD_OUT = 1.5
_WIDEST = 4.0  # of the volume, as a sigma: such a Gaussian is the same everywhere
_OUTSIDE = 0.1  # of the volume's size that means may lie outside of it on each side
_OUTSIDE_MOVING = 0.95  # likewise, in a plane that frames see parts of
_BOUND = 0.5  # what GaussianImage adds to its diagonal entries


class LogCholesky(nn.Module):
    """x, y, t in pixels and frames; log l_tt, l_xx, l_yy; l_xt / l_xx, l_yt / l_yy, l_yx / l_yy; colours.

    A step of a logarithm or a ratio means the same to a small Gaussian and to a wide one.
    """

    def __init__(self, info: VideoInfo, min_temporal_sigma: float) -> None:
        super().__init__()
        size = torch.tensor([info.width, info.height, info.frames], dtype=torch.float32)
        # Constants live beside the parameters: an upload in each step would wait for the step before.
        beside = torch.full_like(size, _OUTSIDE)
        if info.motion is not None:
            beside[:2] = _OUTSIDE_MOVING
        self.register_buffer("_low", -beside * size, persistent=False)
        self.register_buffer("_high", (1 + beside) * size, persistent=False)
        self.register_buffer("_floor", _min_sigmas(min_temporal_sigma).log(), persistent=False)
        self.register_buffer("_ceiling", (_WIDEST * size[[2, 0, 1]]).log(), persistent=False)

    def forward(self, attributes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Means [N, 3], Cholesky factors [N, 6] and colours [N, C] in pixels and frames, of attributes [N, 9 + C]."""
        means, logs, ratios, colors = _split(attributes)
        (tt, xx, yy), (xt, yt, yx) = logs.exp().unbind(1), ratios.unbind(1)
        return means.contiguous(), torch.stack([tt, xt * xx, yt * yy, xx, yx * yy, yy], 1), colors.contiguous()

    def inverse(self, means: Tensor, cholesky: Tensor, colors: Tensor) -> Tensor:
        """The attributes of Gaussians."""
        tt, xt, yt, xx, yx, yy = cholesky.unbind(1)
        rest = torch.stack([tt.log(), xx.log(), yy.log(), xt / xx, yt / yy, yx / yy], 1)
        return torch.cat([means, rest, colors], 1)

    def project(self, attributes: Tensor) -> None:
        """Move attributes back to where they mean something, in place: near the volume, wider than the pixel grid, and
        not so wide that a further step is without an effect."""
        attributes[:, :3].clamp_(self._low, self._high)
        attributes[:, 3:6].clamp_(self._floor, self._ceiling)


class GaussianImage(nn.Module):
    """GaussianImage's (ECCV 2024): atanh of positions in [-1, 1], and Cholesky entries, a half less on the diagonal."""

    def __init__(self, info: VideoInfo, min_temporal_sigma: float) -> None:
        super().__init__()
        if info.motion is not None:
            raise ValueError(
                "gaussian-image keeps means inside of the frames, and where the plane moves they lie beside them: fit "
                "with log-cholesky, or start from Gaussians of a fit with global_motion off"
            )
        half = torch.tensor([info.width, info.height, info.frames], dtype=torch.float32) / 2
        self.register_buffer("_half", half, persistent=False)
        self.register_buffer("_floor", _min_sigmas(min_temporal_sigma) - _BOUND, persistent=False)

    def forward(self, attributes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `LogCholesky.forward`."""
        positions, diagonal, off, colors = _split(attributes)
        (tt, xx, yy), (xt, yt, yx) = (diagonal + _BOUND).unbind(1), off.unbind(1)
        means = (positions.tanh() + 1) * self._half
        return means, torch.stack([tt, xt, yt, xx, yx, yy], 1), colors.contiguous()

    def inverse(self, means: Tensor, cholesky: Tensor, colors: Tensor) -> Tensor:
        """As `LogCholesky.inverse`."""
        positions = torch.atanh((means / self._half - 1).clamp(-1 + 1e-6, 1 - 1e-6))
        return torch.cat([positions, cholesky[:, (0, 3, 5)] - _BOUND, cholesky[:, (1, 2, 4)], colors], 1)

    def project(self, attributes: Tensor) -> None:
        """As `LogCholesky.project`; positions cannot leave the volume."""
        attributes[:, 3:6].clamp_(min=self._floor)


PARAMETRIZATIONS = {"log-cholesky": LogCholesky, "gaussian-image": GaussianImage}


def _min_sigmas(temporal: float) -> Tensor:
    """Of l_tt, l_xx, l_yy."""
    return torch.tensor([temporal, MIN_SPATIAL_SIGMA, MIN_SPATIAL_SIGMA])


def _split(attributes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Three columns, three, three, and the colours."""
    return attributes.split([3, 3, 3, attributes.shape[1] - 9], 1)
