"""The representation: 3D Gaussians over (x, y, t), and the affine maps that carry them from one volume to another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from garv_gsplat.ops import standard_deviations
from garv_gsplat.volume import VideoInfo


@dataclass
class VideoGaussians:
    """A video as a sum of Gaussians in the unit cube over (x, y, t).

    Gaussian n adds ``colors[n] * exp(-|L_n^-1 (p - means[n])|^2 / 2)`` to the point p, peak 1 (GaRV eq. 2). L is stored
    in the axis order (t, x, y): conditioning on t (eqs. 5, 6) then leaves the trailing 2x2 block as it stands.
    """

    means: Tensor  # [N, 3] x, y, t; unit cube
    cholesky: Tensor  # [N, 6] l_tt, l_xt, l_yt, l_xx, l_yx, l_yy: rows of L in the axis order (t, x, y); unit cube
    colors: Tensor  # [N, C], 1.0 is white; may be negative
    info: VideoInfo

    def __post_init__(self) -> None:
        n = len(self.means)
        expected = {"means": (n, 3), "cholesky": (n, 6), "colors": (n, self.info.channels)}
        for name, shape in expected.items():
            if tuple(getattr(self, name).shape) != shape:
                raise ValueError(f"{name} must be {list(shape)}, got {list(getattr(self, name).shape)}")
        kinds = {(tensor.dtype, tensor.device) for tensor in (self.means, self.cholesky, self.colors)}
        if len(kinds) > 1 or self.means.dtype not in (torch.float32, torch.float64):
            got = " and ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds))
            raise ValueError(f"means, cholesky and colors must all be float32 or float64 on one device, got {got}")

    def __len__(self) -> int:
        return len(self.means)

    @cached_property
    def maps(self) -> Tensor | None:
        """`info.motion` [T, 6] of the Gaussians' dtype and on their device; None where their plane stands still."""
        if self.info.motion is None:
            return None
        return torch.tensor(self.info.maps, dtype=self.means.dtype, device=self.means.device)

    def take(self, chosen: Tensor) -> VideoGaussians:
        """The Gaussians of the given indices or mask, on the Gaussians' device."""
        return replace(self, means=self.means[chosen], cholesky=self.cholesky[chosen], colors=self.colors[chosen])

    def to(self, device: torch.device | str) -> VideoGaussians:
        """The same Gaussians on `device`."""
        return replace(
            self, means=self.means.to(device), cholesky=self.cholesky.to(device), colors=self.colors.to(device)
        )

    def in_pixels(self) -> tuple[Tensor, Tensor]:
        """Means [N, 3] and Cholesky factors [N, 6] in pixels and frames, as the fit and the operators want them."""
        size = (self.info.width, self.info.height, self.info.frames)
        return scale_axes(self.means, self.cholesky, size)

    @classmethod
    def from_pixels(cls, means: Tensor, cholesky: Tensor, colors: Tensor, info: VideoInfo) -> VideoGaussians:
        """The inverse of `in_pixels`: means [N, 3] and Cholesky factors [N, 6] given in pixels and frames."""
        size = (1 / info.width, 1 / info.height, 1 / info.frames)
        return cls(*scale_axes(means, cholesky, size), colors, info)


def join(parts: Sequence[VideoGaussians]) -> VideoGaussians:
    """All Gaussians of parts of one video, in turn; at least one part."""
    names = ("means", "cholesky", "colors")
    return VideoGaussians(*(torch.cat([getattr(part, name) for part in parts]) for name in names), parts[0].info)


def scale_axes(means: Tensor, cholesky: Tensor, scale: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Stretch the axes (x, y, t) by `scale`; rows of L scale, so it stays triangular.

    means [N, 3], cholesky [N, 6]; returns the same shapes.
    """
    x, y, t = scale
    return means * means.new_tensor([x, y, t]), cholesky * cholesky.new_tensor([t, x, y, x, y, y])


def energies(cholesky: Tensor, colors: Tensor, info: VideoInfo) -> Tensor:
    """What each Gaussian adds to the squared video by itself [N]: |color|^2 l_tt l_xx l_yy, times pi^(3/2).

    cholesky [N, 6] in pixels and frames, colors [N, C]; the common factor is left out. What is wider or lives longer
    than the video counts as far as the video goes: sqrt(pi) l is the length over which a constant adds as much.
    """
    largest = cholesky.new_tensor([info.frames, info.width, info.height]) / math.sqrt(math.pi)
    return colors.square().sum(1) * torch.minimum(cholesky[:, (0, 3, 5)].abs(), largest).prod(1)


def reach_of(gaussians: VideoGaussians, threshold: float) -> tuple[Tensor, Tensor]:
    """Lowest and highest x, y, t [N, 3] in pixels and frames at which each Gaussian still adds `threshold` of white.

    With 0 they reach everywhere. The bounds of black ones are not of use: NaN with 0, else their means.
    """
    means, cholesky = gaussians.in_pixels()
    radius = (2 * (gaussians.colors.abs().amax(1) / threshold).clamp(min=1).log()).sqrt()
    half = radius[:, None] * standard_deviations(cholesky)
    return means - half, means + half


_CELLS_BEFORE = 2**8  # the first one, for means outside of the frames


def neighbour_order(means: Tensor, stretch: Tensor | float, spacing: float = 32.0) -> Tensor:
    """Indices [N] that put neighbours beside each other in memory, which atomics and caches thank for.

    means [N, 3] in pixels and frames; stretches of `stretch` frames follow each other, within one the squares of
    `spacing` pixels along a Morton curve.
    """
    if len(means) == 0:
        return torch.zeros(0, dtype=torch.int64, device=means.device)
    times = ((means[:, 2] - means[:, 2].min()) / stretch).nan_to_num().clamp(0, 2**30).long()
    cells = ((means[:, :2] / spacing).nan_to_num() + _CELLS_BEFORE).clamp(0, 2**10 - 1).long()
    return torch.argsort(times << 20 | _spread(cells[:, 0]) | _spread(cells[:, 1]) << 1, stable=True)


def _spread(v: Tensor) -> Tensor:
    """Ten bits, each followed by a free one."""
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        v = (v | v << shift) & mask
    return v


def affine_map(
    means: Tensor,  # [N, 3]
    cholesky: Tensor,  # [N, 6]
    matrix: Sequence[Sequence[float]],  # 3x3 over (x, y, t)
    offset: Sequence[float],  # 3
) -> tuple[Tensor, Tensor]:
    """Carry Gaussians through p -> matrix p + offset; Gaussians stay Gaussians.

    Where the map mixes axes, M L is made triangular again by Givens rotations from the right. Forming M L L^T M^T and
    factoring it would cancel badly in float32 for thin, fast Gaussians.
    """
    if all(matrix[i][j] == 0 for i in range(3) for j in range(3) if i != j) and all(matrix[i][i] > 0 for i in range(3)):
        means, cholesky = scale_axes(means, cholesky, [matrix[i][i] for i in range(3)])
        return means + means.new_tensor(list(offset)), cholesky
    m = means.new_tensor([list(row) for row in matrix])
    # Sums, no matrix products: those torch refuses on a GPU under use_deterministic_algorithms, and may round to TF32.
    means = (means[:, None] * m).sum(2) + means.new_tensor(list(offset))
    order = [2, 0, 1]  # (x, y, t) -> (t, x, y)
    columns = list((m[order][:, order, None] * _to_matrix(cholesky)[:, None]).sum(2).unbind(-1))
    for row, keep, clear in ((0, 0, 1), (0, 0, 2), (1, 1, 2)):
        columns[keep], columns[clear] = _givens(columns[keep], columns[clear], row)
    columns[2] = columns[2] * torch.where(columns[2][:, 2:] < 0, -1.0, 1.0)
    rows, cols = zip(*_ENTRIES)
    return means, torch.stack(columns, -1)[:, rows, cols]


_ENTRIES = ((0, 0), (1, 0), (2, 0), (1, 1), (2, 1), (2, 2))  # where the six numbers stand in L


def _to_matrix(cholesky: Tensor) -> Tensor:
    matrix = cholesky.new_zeros(len(cholesky), 3, 3)
    for k, (row, col) in enumerate(_ENTRIES):
        matrix[:, row, col] = cholesky[:, k]
    return matrix


def _givens(keep: Tensor, clear: Tensor, row: int) -> tuple[Tensor, Tensor]:
    """Rotate two columns [N, 3] of L so that `clear` becomes 0 in `row` and `keep` is not negative there."""
    a, b = keep[:, row : row + 1], clear[:, row : row + 1]
    r = torch.hypot(a, b)
    flat = r == 0
    c = torch.where(flat, 1.0, a / r.where(~flat, 1.0))
    s = torch.where(flat, 0.0, b / r.where(~flat, 1.0))
    return c * keep + s * clear, c * clear - s * keep
