"""Frames, crops, zooms and line scans of `VideoGaussians`: one affine map of the volume, then a slice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from garv_gsplat.gaussians import VideoGaussians, affine_map
from garv_gsplat.grids import check_plane, check_size
from garv_gsplat.motion import inverse, maps_at, pixel_maps
from garv_gsplat.ops import PairBudget, accumulate
from garv_gsplat.volume import Box

# Grey levels of 255. What is culled adds up over the Gaussians of a pixel: on scenes where all colours are positive
# either loses up to 0.1 levels a pixel, and fitted videos, whose colours have both signs, lose less. Decoding draws
# wide Gaussians on coarser grids, whose tiles keep more of their tails.
RENDERING_TAU = 0.03
DECODING_TAU = 0.07

_IMAGE_AXES = {"t": ("x", "y"), "y": ("x", "t"), "x": ("t", "y")}  # slicing axis: the image's columns and rows


def rasterization(
    gaussians: VideoGaussians,
    times: Tensor | Sequence[float],  # [B]
    *,
    size: tuple[int, int] | None = None,
    crop: Box | None = None,
    axis: str = "t",
    tau: float = RENDERING_TAU,
    pair_budget: PairBudget | None = None,
) -> Tensor:
    """Render slices of the volume (GaRV eq. 3; eq. 7 for line scans): images [B, H, W, C], float, not clamped.

    times: positions of the slices along `axis` in the unit cube; the centre of frame k is (k + 0.5) / frames.
    size: (W, H) of the images in pixels; by default the crop at the video's own resolution.
    crop: the part of the volume to show; its range along `axis` is ignored.
    axis: "t" gives frames (columns x, rows y), "y" line scans of a row (columns x, rows t), "x" line scans of a column
        (columns t, rows y).
    tau: Gaussians are left out of a tile where max|color| p(t) exp(-d/2) stays below tau / 255; 0 leaves out nothing.
    pair_budget: keep one between calls of the same kind and no call but the first waits for the device.

    Shrinking is antialiased: each Gaussian is widened by the variance of the pixels it is averaged over and dimmed so
    that its sum stays. Differentiable in the Gaussians' tensors.

    Raises ValueError for times, a size, an axis or a tau that is not of this kind, TypeError for a broken size.
    """
    view = view_volume(gaussians, size=size, crop=crop, axis=axis, tau=tau)
    positions = torch.as_tensor(times, dtype=view.means.dtype, device=view.means.device) * view.depth
    if positions.ndim != 1:
        raise ValueError(f"times must be [B], one position a slice, got {list(positions.shape)}")
    return view.render(positions, pair_budget or PairBudget())


@dataclass
class VolumeView:
    """Gaussians carried into an image's own volume (columns, rows, slices), ready to be rendered again and again."""

    means: Tensor  # [N, 3] columns, rows, slices
    cholesky: Tensor  # [N, 6] slices first
    colors: Tensor  # [N, C]
    cutoffs: Tensor  # [N]
    width: int
    height: int
    depth: int  # slices the whole unit cube has along the slicing axis
    maps: Tensor | None = None  # [depth, 6] how each slice sees the Gaussians' plane, where it moves

    def render(self, positions: Tensor, pair_budget: PairBudget) -> Tensor:
        """Images [B, height, width, C] at `positions` [B] in slices; slice k has its centre at k + 0.5."""
        size, motion = (self.width, self.height), maps_at(self.maps, positions)
        lists = pair_budget.bin(self.means, self.cholesky, self.cutoffs, positions, *size, motion)
        return accumulate(self.means, self.cholesky, self.colors, self.cutoffs, positions, *lists, *size, motion)


def view_volume(
    gaussians: VideoGaussians,
    *,
    size: tuple[int, int] | None = None,
    crop: Box | None = None,
    axis: str = "t",
    tau: float = RENDERING_TAU,
) -> VolumeView:
    """Carry the Gaussians into the volume of the images that `rasterization` describes; same arguments.

    Where the plane moves, `VolumeView.maps` carry them on. Raises ValueError for line scans of such a video, whose rows
    are seen through different maps: `VideoDecoder.line_scan` draws them.
    """
    if axis not in _IMAGE_AXES:
        raise ValueError(f'axis must be "t", "x" or "y", got {axis!r}')
    info, crop = gaussians.info, crop or Box()
    if axis != "t" and info.motion is not None:
        raise ValueError('the plane moves, so axis must be "t": VideoDecoder.line_scan draws slices across time')
    resolution = {"x": info.width, "y": info.height, "t": info.frames}
    axes = (*_IMAGE_AXES[axis], axis)
    ranges = [crop.range(a) for a in axes[:2]] + [(0.0, 1.0)]
    native = [resolution[a] * (high - low) for a, (low, high) in zip(axes, ranges)]
    width, height = check_size(size or (max(1, round(native[0])), max(1, round(native[1]))))
    counts = (width, height, resolution[axis])
    matrix = [[0.0] * 3 for _ in range(3)]
    for row, (name, count, (low, high)) in enumerate(zip(axes, counts, ranges)):
        matrix[row]["xyt".index(name)] = count / (high - low)
    offset = [-low * count / (high - low) for count, (low, high) in zip(counts, ranges)]
    maps = None
    if info.motion is not None:
        scale = [matrix[0][0], matrix[1][1]]
        maps = pixel_maps(info, gaussians.means.device, scale) + gaussians.means.new_tensor([0, 0, 0, 0, *offset[:2]])
        offset = [0.0] * 3
    means, cholesky = affine_map(gaussians.means, gaussians.cholesky, matrix, offset)
    shrink = [n / count for n, count in zip(native[:2], counts[:2])]
    seen = maps_at(maps, means[:, 2].detach())  # as at a Gaussian's mean time, for it may be seen through many maps
    cholesky, colors = _low_pass(cholesky, gaussians.colors, shrink, seen)
    return VolumeView(means, cholesky, colors, color_cutoffs(colors, tau), *counts, maps)


def view_plane(
    gaussians: VideoGaussians,
    origin: Sequence[float],
    u: Sequence[float],
    v: Sequence[float],
    size: tuple[int, int],
    *,
    tau: float = RENDERING_TAU,
) -> VolumeView:
    """Carry the Gaussians into the volume whose slice at 0 shows a plane of the video, however it lies.

    Pixel (i, j) of the image shows the point origin + i u + j v: x, y, t in pixels and frames, whole numbers at the
    centres. Steps longer than one pixel or frame are averaged over, as `rasterization` does where it shrinks.

    Raises ValueError for steps that span no plane, for a size below 1x1, and where the plane of the frames moves.
    """
    if gaussians.info.motion is not None:
        raise ValueError("the plane of the frames moves: VideoDecoder.slice_plane draws planes across time")
    (width, height), (origin, u, v) = check_size(size), check_plane(origin, u, v)
    normal = torch.linalg.cross(u, v)
    carry = torch.linalg.inv(torch.stack([u, v, normal / normal.norm()], 1))
    info = gaussians.info
    matrix = carry * torch.tensor([info.width, info.height, info.frames])
    offset = torch.tensor([0.5, 0.5, 0.0]) - carry @ (origin + 0.5)
    means, cholesky = affine_map(gaussians.means, gaussians.cholesky, matrix.tolist(), offset.tolist())
    cholesky, colors = _low_pass(cholesky, gaussians.colors, [float(step.norm()) for step in (u, v)])
    return VolumeView(means, cholesky, colors, color_cutoffs(colors, tau), width, height, 1)


def color_cutoffs(colors: Tensor, tau: float) -> Tensor:
    """Squared distances u^2 + d [N] beyond which max|color| exp(-(u^2 + d) / 2) is below tau / 255; inf for tau = 0."""
    if tau < 0:
        raise ValueError(f"tau must not be negative, got {tau}")
    if tau == 0:
        return torch.full_like(colors[:, 0], math.inf)
    return 2 * (colors.detach().abs().amax(1) * (255 / tau)).log()


def _low_pass(
    cholesky: Tensor, colors: Tensor, shrink: Sequence[float], seen: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Average over the source pixels that one output pixel covers, `shrink` of them along columns and rows.

    n samples 1/n apart have variance (1 - 1/n^2) / 12; it is added to the slices' covariance. seen: the maps [N, 6]
    that Gaussians are seen through, behind which output pixels lie.
    """
    fx, fy = ((1 - 1 / n**2) / 12 if n > 1 + 1e-6 else 0.0 for n in shrink)
    if fx == fy == 0:
        return cholesky, colors
    xx, xy, yx, yy = (1.0, 0.0, 0.0, 1.0) if seen is None else inverse(seen)[:, :4].unbind(1)
    depth, (a, b, c) = cholesky[:, :3], cholesky[:, 3:].unbind(1)
    wide_a = (a**2 + fx * xx**2 + fy * xy**2).sqrt()
    wide_b = (a * b + fx * xx * yx + fy * xy * yy) / wide_a
    # the determinants of the sum and of the old covariance differ by terms of which none is negative, so none cancels
    more = fx * (a * yx - b * xx) ** 2 + fy * (a * yy - b * xy) ** 2 + fx * fy * (xx * yy - xy * yx) ** 2
    wide_c = (c**2 + more / wide_a**2).sqrt()
    widened = torch.stack([wide_a, wide_b, wide_c], 1)
    return torch.cat([depth, widened], 1), colors * ((a * c) / (wide_a * wide_c))[:, None]
