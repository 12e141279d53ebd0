"""The seam around a region of mixed encodings, closed by the colours of wide Gaussians near it.

Wide Gaussians of two encodings that carry the same brightness are of different sizes, so where weights take some of one
and leave out some of the other, the sum is the picture of neither. What it lacks is smooth: small images of some of the
frames show it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from garv_gsplat.colors import NormalEquations
from garv_gsplat.gaussians import VideoGaussians, join
from garv_gsplat.gaze import Region
from garv_gsplat.ops import PairBudget
from garv_gsplat.rendering import view_volume

_SHRINK = 8  # of width and height
_EVERY = 3  # frames
_GAIN = 0.5  # of what is wide: images of that size dim it by no more
_LACKING = 0.25 / 255  # of white, on average over a Gaussian
_ITERATIONS = 8
_FRAMES_AT_ONCE = 8


@torch.no_grad()
def close_seams(parts: Sequence[VideoGaussians], weights: Sequence[Tensor], regions: Sequence[Region]) -> list[Tensor]:
    """Colours [N, C] of the Gaussians of each encoding: weighted, and such that their sum shows each one in its region.

    parts: encodings of one video, each for what its region has beside those before it, the last one for the rest.
    weights: of their Gaussians [N] each, from 0 to 1.

    Least squares over wide Gaussians under which the weighted sum lacks something: those that are taken in part, and
    those of the last encoding that are taken. All others keep their weighted colours, so regions stay as they were.
    """
    info, device = parts[0].info, parts[0].means.device
    size = (max(1, round(info.width / _SHRINK)), max(1, round(info.height / _SHRINK)))
    times = (torch.arange(0, info.frames, _EVERY, device=device) + 0.5).split(_FRAMES_AT_ONCE)
    whole, weight = join(parts), torch.cat(list(weights))
    view = view_volume(replace(whole, colors=torch.ones_like(whole.colors)), size=size)
    gains = view.colors[:, :1]

    def equations(chosen: Tensor) -> NormalEquations:
        tensors = (view.means[chosen], view.cholesky[chosen], times, size)
        return NormalEquations(*tensors, maps=view.maps, gains=gains[chosen])

    colors, partly = whole.colors * weight[:, None], weight < 1
    partly[-len(parts[-1]) :] = True
    chosen = ((weight > 0) & partly & (gains[:, 0] >= _GAIN)).nonzero()[:, 0]
    lacking = list(_lacking(parts, weights, regions, times, size))
    candidates, nothing = equations(chosen), torch.zeros_like(colors[chosen])
    lack, reach = (candidates.gradient(nothing, frames).abs() for frames in (lacking, map(torch.ones_like, lacking)))
    lacks = (lack > _LACKING * reach).any(1)
    colors[chosen[lacks]] += equations(chosen[lacks]).improve(nothing[lacks], lacking, _ITERATIONS)
    return list(colors.split([len(part) for part in parts]))


def _lacking(
    parts: Sequence[VideoGaussians],
    weights: Sequence[Tensor],
    regions: Sequence[Region],
    times: Sequence[Tensor],
    size: tuple[int, int],
) -> Iterator[Tensor]:
    """What images of the weighted sum lack to show each encoding in its region, [B, H, W, C] of each of `times`."""
    mixed = join([replace(part, colors=part.colors * w[:, None]).take(w > 0) for part, w in zip(parts, weights)])
    views = [view_volume(each, size=size) for each in (*parts, mixed)]
    budgets = [PairBudget() for _ in views]
    for some in times:
        *alone, lacking = (view.render(some, budget) for view, budget in zip(views, budgets))
        lacking, left = -lacking, 1.0
        for image, region in zip(alone, regions):
            covered = region.coverage((some / parts[0].info.frames).tolist(), size).to(image)[..., None]
            lacking += left * covered * image
            left = left * (1 - covered)
        yield lacking + left * alone[-1]
