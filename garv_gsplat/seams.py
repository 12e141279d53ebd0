"""The seam around a region of mixed encodings, closed by the colours of wide Gaussians near it.

Wide Gaussians of two encodings that carry the same brightness are of different sizes, so where weights take some of one
and leave out some of the other, the sum is the picture of neither. What it lacks is smooth: small images of some of the
frames show it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from garv_gsplat.colors import NormalEquations
from garv_gsplat.gaussians import VideoGaussians, join
from garv_gsplat.ops import PairBudget
from garv_gsplat.rendering import RENDERING_TAU, VolumeView, color_cutoffs, view_volume
from garv_gsplat.volume import VideoInfo

_SHRINK = 8  # of width and height
_EVERY = 3  # frames
_GAIN = 0.3  # of what is wide: images of that size dim it to no less
_LACKING = 1 / 255  # of white, on average over a Gaussian
_ITERATIONS = 6
_FRAMES_AT_ONCE = 8
_POINT = 1e-6  # of the unit cube

Window = Callable[[VideoGaussians], Tensor]
"""how much Gaussians belong to a region [N], from 0 to 1"""


@torch.no_grad()
def mixed_colors(parts: Sequence[VideoGaussians], windows: Sequence[Window]) -> list[Tensor]:
    """Colours [N, C] of the Gaussians of each encoding, such that the sum of all shows each one in its region.

    parts: encodings of one video, each for what its window has beside those before it, the last one for the rest.

    Colours are weighted by the windows. Then least squares bring the sum nearer to what it is to show, the pictures of
    the encodings weighted pixel by pixel, over the wide Gaussians under which it lacks something: those that are taken
    in part, and those of the last encoding that are taken. All others stay, so that regions stay as they were.
    """
    info, counts = parts[0].info, [len(part) for part in parts]
    size = (max(1, round(info.width / _SHRINK)), max(1, round(info.height / _SHRINK)))
    whole = join(parts)
    weight = torch.cat([_shares(windows, part)[index] for index, part in enumerate(parts)])
    times = (torch.arange(0, info.frames, _EVERY, device=weight.device) + 0.5).split(_FRAMES_AT_ONCE)
    view = view_volume(replace(whole, colors=torch.ones_like(whole.colors)), size=size)
    gains = view.colors[:, :1]

    def equations(chosen: Tensor) -> NormalEquations:
        tensors = (view.means[chosen], view.cholesky[chosen], times, size)
        return NormalEquations(*tensors, maps=view.maps, gains=gains[chosen])

    colors, partly = whole.colors * weight[:, None], weight < 1
    partly[-counts[-1] :] = True
    chosen = ((weight > 0) & partly & (gains[:, 0] >= _GAIN)).nonzero()[:, 0]
    alone = [_drawn(view, whole.colors, some) for some in torch.arange(len(whole), device=weight.device).split(counts)]
    lacking = list(_lacking(alone, _drawn(view, colors, weight.nonzero()[:, 0]), windows, times, info))
    candidates, nothing = equations(chosen), torch.zeros_like(colors[chosen])
    lack, reach = (candidates.gradient(nothing, frames).abs() for frames in (lacking, map(torch.ones_like, lacking)))
    lacks = (lack > _LACKING * reach).any(1)
    colors[chosen[lacks]] += equations(chosen[lacks]).improve(nothing[lacks], lacking, _ITERATIONS)
    return list(colors.split(counts))


def _drawn(view: VolumeView, colors: Tensor, chosen: Tensor) -> VolumeView:
    """The Gaussians of given indices of a view of white ones, in given colours [N, C]."""
    colors = (view.colors * colors)[chosen]
    cutoffs = color_cutoffs(colors, RENDERING_TAU)
    return replace(view, means=view.means[chosen], cholesky=view.cholesky[chosen], colors=colors, cutoffs=cutoffs)


def _shares(windows: Sequence[Window], gaussians: VideoGaussians) -> list[Tensor]:
    """How much Gaussians belong to each encoding [N]: what windows leave to its own, to the last one the rest."""
    left, shares = torch.ones_like(gaussians.means[:, 0]), []
    for window in windows:
        inside = window(gaussians)
        shares.append(left * inside)
        left = left * (1 - inside)
    return [*shares, left]


def _lacking(
    alone: Sequence[VolumeView], mixed: VolumeView, windows: Sequence[Window], times: Sequence[Tensor], info: VideoInfo
) -> Iterator[Tensor]:
    """What images of the mixed ones lack of those of each encoding in its window, [B, H, W, C] of each of `times`."""
    budgets = [PairBudget() for _ in (*alone, mixed)]
    for some in times:
        *images, lacking = (view.render(some, budget) for view, budget in zip((*alone, mixed), budgets))
        shares = _shares(windows, _pixels(lacking, some / info.frames, info))
        yield sum(share.view(*image.shape[:3], 1) * image for share, image in zip(shares, images)) - lacking


def _pixels(images: Tensor, times: Tensor, info: VideoInfo) -> VideoGaussians:
    """The middles of the pixels of images [B, H, W, C] at `times` in the unit cube, as Gaussians of next to no size."""
    _, height, width, channels = images.shape
    down, along = ((torch.arange(n, device=times.device) + 0.5) / n for n in (height, width))
    means = torch.cartesian_prod(times, down, along)[:, [2, 1, 0]].contiguous()
    point = means.new_tensor([1, 0, 0, 1, 0, 1]) * _POINT
    return VideoGaussians(means, point.expand(len(means), 6), images.view(-1, channels), replace(info, motion=None))
