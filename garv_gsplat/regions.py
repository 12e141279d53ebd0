"""Parts of a video: the Gaussians that a region needs, two encodings mixed, and the colours of single points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from garv_gsplat import ops
from garv_gsplat.gaussians import VideoGaussians, neighbour_order, reach_of, scale_axes
from garv_gsplat.gaze import Region
from garv_gsplat.motion import (
    after,
    box_in_plane,
    inverse,
    part_of,
    pixel_maps,
    points_in_plane,
    seen_of_plane,
)
from garv_gsplat.volume import Box, VideoInfo

FEATHER = 3.5
"""standard deviations; of narrower bands the seam shows, wider ones take more Gaussians of both encodings"""
_WIDE = 2  # times what is typical: more costs quality inside of regions, less outside; docs/mixing.md
_POINTS_AT_ONCE, _SPACING = 64, 8.0  # of a plane these are squares of as many pixels to a side
_SEEN = 1.0  # of the video's size from its middle, by frames of a part: what is wide may lie further out
_FURTHEST = 1.49  # of the video's size from its middle; docs/format.md allows 1.5
_GAUSSIANS_AT_ONCE = 1 << 15


def crop_info(info: VideoInfo, box: Box) -> tuple[VideoInfo, tuple[int, int, int], tuple[int, int, int]]:
    """The video inside of a box, and the box's lowest and highest x, y, t in whole pixels and frames, rounded.

    Raises ValueError for a box that leaves the video or holds no pixel or frame.
    """
    size = (info.width, info.height, info.frames)
    low, high = zip(*((round(a * n), round(b * n)) for n, (a, b) in zip(size, map(box.range, "xyt"))))
    if not all(0 <= a < b <= n for a, b, n in zip(low, high, size)):
        raise ValueError(
            f"the box must hold pixels and frames of the video, which has {info.width}x{info.height} pixels and "
            f"{info.frames} frames; got x {low[0]} to {high[0]}, y {low[1]} to {high[1]}, t {low[2]} to {high[2]}"
        )
    width, height, frames = (b - a for a, b in zip(low, high))
    times = info.timestamps and tuple(t - info.timestamps[low[2]] for t in info.timestamps[low[2] : high[2]])
    part = {"width": width, "height": height, "frames": frames, "timestamps": times}
    return replace(info, **part, motion=part_of(info, low, high)), low, high


def crop_gaussians(gaussians: VideoGaussians, box: Box, threshold: float) -> VideoGaussians:
    """The video inside of a box, its ends rounded to pixels and frames, as one of its own.

    Gaussians that add less than `threshold` of white everywhere in it are left out. Not differentiable. Raises as
    `crop_info` does.
    """
    return gaussians_in(gaussians, *crop_info(gaussians.info, box), threshold)


def gaussians_in(
    gaussians: VideoGaussians, info: VideoInfo, low: Sequence[int], high: Sequence[int], threshold: float
) -> VideoGaussians:
    """`crop_gaussians` for what `crop_info` gives of a box."""
    size = (gaussians.info.width, gaussians.info.height, gaussians.info.frames)
    seen = box_in_plane(pixel_maps(gaussians.info), low, high)
    return VideoGaussians(*ops.crop_gaussians(_tensors(gaussians), size, low, high, threshold, seen), info)


def pull_in(gaussians: VideoGaussians) -> VideoGaussians:
    """The same video by Gaussians whose means a file can hold: no further out than the video's own size.

    A plane that moves is first scaled and shifted so that all that frames see of it lies near the video's middle.

    A part of a video is reached by wide Gaussians from far away. Distance from the video's middle and variance are
    scaled by the same s < 1, which keeps the slope of log G in the middle; the colour makes up for its value there.
    Only the curvature grows, by 1 / s, which is little over the video's size where a Gaussian is much wider. First
    along a Gaussian's way through time, which leaves its picture at any one time as it is; then, if need be, all
    around.
    """
    if gaussians.info.motion is not None:
        gaussians = _placed(gaussians)
    means, cholesky, colors = (t.clone() for t in (gaussians.means, gaussians.cholesky, gaussians.colors))
    middle = means + (0.5 - means[:, 2:]) / cholesky[:, :1] * cholesky[:, [1, 2, 0]]  # where it is half way through
    way = means - middle
    s = (_FURTHEST - (middle - 0.5) * way.sign()) / way.abs()
    s = s.where(s > 0, 1.0).amin(1, keepdim=True).clamp(max=1)
    passed = (0.5 - means[:, 2:]) / cholesky[:, :1]  # standard deviations from the mean to the middle
    colors *= torch.exp(-0.5 * (1 - s) * passed**2)
    moved = (1 - s) * passed * cholesky[:, :3]  # t, x, y
    means += moved[:, [1, 2, 0]]
    cholesky[:, :3] *= s.sqrt()
    distance = (means - 0.5).abs().amax(1, keepdim=True)
    s = torch.where(distance > 1.001 * _FURTHEST, _FURTHEST / distance, 1.0)  # 1 for what was pulled in before
    colors *= _weights(means, cholesky, torch.full_like(means[:1], 0.5))[0, :, None] ** (1 - s)
    return VideoGaussians(0.5 + s * (means - 0.5), cholesky * s.sqrt(), colors, gaussians.info)


def _placed(gaussians: VideoGaussians) -> VideoGaussians:
    """The same video in another plane, of which frames see nothing further from the middle than _SEEN allows."""
    info = gaussians.info
    maps = torch.from_numpy(info.maps)
    seen = torch.from_numpy(seen_of_plane(info.maps, (0, 0), (1, 1)))
    low, high = seen[:, :2].amin(0), seen[:, 2:].amax(0)
    if ((low - 0.5).abs().maximum((high - 0.5).abs()) <= _SEEN).all():
        return gaussians
    scale = (2 * _SEEN / (high - low)).clamp(max=1)
    x, y = offset = 0.5 - scale * (low + high) / 2
    (xx, yy), zero = scale, torch.zeros(())
    motion = after(maps, inverse(torch.stack([xx, zero, zero, yy, x, y])))
    means, cholesky = scale_axes(gaussians.means, gaussians.cholesky, (float(xx), float(yy), 1.0))
    means = means + torch.nn.functional.pad(offset, (0, 1)).to(means)
    return VideoGaussians(means, cholesky, gaussians.colors, replace(info, motion=tuple(map(tuple, motion.tolist()))))


def mix(high: VideoGaussians, low: VideoGaussians, region: Region, feather: float = FEATHER) -> VideoGaussians:
    """Two encodings of one video in one: `high` inside of the region, `low` outside (GaRV sec. 4.4).

    A video is a sum of Gaussians, so w high + (1 - w) low is one, too. Where w changes little over a Gaussian it is
    the number at the Gaussian's mean, which scales its colour; that is what `feather` is for: `weights_in`. With a
    hard edge tails would be missing on one side of it and doubled on the other.

    On a GPU this waits once, for the number of Gaussians. Not differentiable. Raises ValueError for encodings of
    different videos, and a feather that is not positive.
    """
    check_one_video([high.info, low.info])
    spread, boxes = spread_of(high), _boxes_of(region, high.means)
    shown, hidden = (_weights_in(boxes, gaussians, spread, feather) for gaussians in (high, low))
    return VideoGaussians(*ops.join_weighted(_tensors(high), shown, _tensors(low), hidden), high.info)


def weights_in(region: Region, gaussians: VideoGaussians, spread: Tensor, feather: float = FEATHER) -> Tensor:
    """How much each Gaussian belongs to a region [N]: 1 in it and up to `feather` around it, then over as much to 0.

    What counts is the closest of its mean and the places of its picture a standard deviation of time before and after.
    spread: what distances are measured by, along x, y and t [3]; `spread_of` the encoding that is drawn inside. Those
    of much wider Gaussians, which reach in from further away, are measured by their own.
    """
    return _weights_in(_boxes_of(region, gaussians.means), gaussians, spread, feather)


def _boxes_of(region: Region, like: Tensor) -> Tensor:
    """The region's boxes as columns, of the dtype and on the device of a tensor."""
    # Not pinned, uploading them would wait for the device.
    boxes = torch.empty(region.columns.shape, dtype=like.dtype, pin_memory=like.is_cuda).copy_(region.columns)
    return boxes.to(like.device, non_blocking=True)


def _weights_in(boxes: Tensor, gaussians: VideoGaussians, spread: Tensor, feather: float) -> Tensor:
    """`weights_in` by boxes as columns."""
    if not feather > 0:
        raise ValueError(f"feather must be a positive number of standard deviations, got {feather}")
    means, cholesky, maps = gaussians.means, gaussians.cholesky, gaussians.maps
    return ops.region_weights(means, cholesky, boxes, spread, 1 / _WIDE, feather, maps)


def spread_of(gaussians: VideoGaussians) -> Tensor:
    """The Gaussians' typical standard deviations along x, y and t [3], as frames see them: geometric means, in the unit
    cube."""
    return ops.typical_spread(gaussians.means, gaussians.cholesky, gaussians.maps)


def check_one_video(infos: Sequence[VideoInfo]) -> None:
    """ValueError where videos differ in size, timing, channels or motion."""
    kinds = [(i.width, i.height, i.frames, i.frame_rate, i.timestamps, i.channels) for i in infos]
    alike = all(kind == kinds[0] for kind in kinds)  # to hash timestamps and motion takes longer
    if alike and any(i.motion != infos[0].motion for i in infos):
        raise ValueError(
            "only encodings whose Gaussians lie in one plane can be mixed: these were fitted with other motion of the "
            "camera; fit them to the same frames, or with --no-global-motion"
        )
    if not alike:
        got = " and ".join(
            f"{i.width}x{i.height} of {i.channels} channels, {i.frames} frames at {float(i.frame_rate):g} fps"
            for i in infos
        )
        raise ValueError(f"only encodings of one video can be mixed, alike in size and timing; got {got}")


def _tensors(gaussians: VideoGaussians) -> tuple[Tensor, Tensor, Tensor]:
    return gaussians.means, gaussians.cholesky, gaussians.colors


def colors_at(gaussians: VideoGaussians, points: Tensor, threshold: float) -> Tensor:
    """Colours [P, C], not clamped, at points [P, 3]: x, y, t in pixels and frames, whole numbers at the centres.

    Gaussians may be left out where they add less than `threshold` of white.
    """
    means, cholesky = gaussians.in_pixels()
    low, high = reach_of(gaussians, threshold)
    points = points.to(means) + 0.5
    if gaussians.info.motion is not None:
        points = points_in_plane(gaussians.info, points)
    colors = means.new_zeros(len(points), gaussians.info.channels)
    # Neighbours in time and space, which few Gaussians reach; found in two steps, or most tests would be in vain.
    for many in neighbour_order(points, 1.0, _SPACING).split(_POINTS_AT_ONCE**2):
        near = _reaching(low, high, points[many])
        for some in many.split(_POINTS_AT_ONCE):
            reaching = near[_reaching(low[near], high[near], points[some])]
            for part in reaching.split(_GAUSSIANS_AT_ONCE):
                weights = _weights(means[part], cholesky[part], points[some])
                colors[some] += (weights[..., None] * gaussians.colors[part]).sum(1)
    return colors


def _reaching(low: Tensor, high: Tensor, points: Tensor) -> Tensor:
    """Indices of the boxes, from low to high [N, 3], that meet the box around points [P, 3]."""
    return ((low <= points.amax(0)) & (high >= points.amin(0))).all(1).nonzero()[:, 0]


def _weights(means: Tensor, cholesky: Tensor, points: Tensor) -> Tensor:
    """exp(-|L^-1 (p - mean)|^2 / 2) of every point and Gaussian [P, N]."""
    centers, weights, factor = ops.slice_gaussians(means, cholesky, points[:, 2])
    dx, dy = (points[:, None, :2] - centers).unbind(2)
    xx, yx, yy = factor.unbind(1)
    a = dx / xx
    b = (dy - yx * a) / yy
    return weights * torch.exp(-0.5 * (a**2 + b**2))
