"""The other way to say what a Gaussian's shape is, for cholesky.py."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from garv_gsplat.fitting.parametrization import MIN_TEMPORAL_SIGMA, LogCholesky
from garv_gsplat.volume import VideoInfo


class RotationScale(nn.Module):
    """Means; logarithms of three standard deviations along axes of their own; those axes as a quaternion; colours.

    What 3D Gaussian splatting fits (Kerbl et al., 2023), over t, x and y in frames and pixels.
    """

    def __init__(self, info: VideoInfo) -> None:
        super().__init__()
        self._cholesky = LogCholesky(info, MIN_TEMPORAL_SIGMA)  # for the bounds, which are the same

    def forward(self, attributes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Means [N, 3], Cholesky factors [N, 6] and colours [N, C] of attributes [N, 10 + C]."""
        means, logs, quaternions, colors = attributes.split([3, 3, 4, attributes.shape[1] - 10], 1)
        # In double precision: forming the covariance and factoring it cancels for thin, fast Gaussians.
        axes = _rotation(quaternions.double()) * logs.double().exp()[:, None]
        factor = torch.linalg.cholesky(axes @ axes.mT).to(attributes.dtype)
        columns, rows = torch.triu_indices(3, 3)  # column by column, as `VideoGaussians.cholesky` has them
        return means.contiguous(), factor[:, rows, columns], colors.contiguous()

    def inverse(self, means: Tensor, cholesky: Tensor, colors: Tensor) -> Tensor:
        """The attributes of Gaussians that lie along the axes, as those that a fit starts from."""
        upright = means.new_tensor([1.0, 0.0, 0.0, 0.0]).expand(len(means), 4)
        return torch.cat([means, cholesky[:, (0, 3, 5)].log(), upright, colors], 1)

    def project(self, attributes: Tensor) -> None:
        """`LogCholesky`'s bounds of means and standard deviations, and quaternions of length 1, in place."""
        self._cholesky.project(attributes)
        attributes[:, 6:10] = nn.functional.normalize(attributes[:, 6:10])


def _rotation(quaternions: Tensor) -> Tensor:
    """Rotation matrices [N, 3, 3] of quaternions [N, 4], of any length."""
    w, x, y, z = nn.functional.normalize(quaternions).unbind(1)
    entries = [
        *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    ]
    return torch.stack(entries, 1).view(-1, 3, 3)
