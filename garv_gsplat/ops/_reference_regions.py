"""The operators on parts of a video in plain torch. Gaussians are in the unit cube, boxes in pixels and frames."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def standard_deviations(cholesky: Tensor) -> Tensor:
    """Of Gaussians along x, y and t [N, 3], in the units of their Cholesky factors [N, 6]."""
    tt, xt, yt, xx, yx, yy = cholesky.unbind(1)
    return torch.stack([xt.hypot(xx), yt.hypot(yx).hypot(yy), tt.abs()], 1)


def crop_gaussians(
    means: Tensor,
    cholesky: Tensor,
    colors: Tensor,
    size: Sequence[int],
    low: Sequence[int],
    high: Sequence[int],
    threshold: float,
) -> tuple[Tensor, Tensor, Tensor]:
    radius = (2 * (colors.abs().amax(1) / threshold).clamp(min=1).log()).sqrt()
    middle = means * means.new_tensor(size)
    half = radius[:, None] * (standard_deviations(cholesky) * cholesky.new_tensor(size))
    reaching = (middle - half <= means.new_tensor(high)) & (middle + half >= means.new_tensor(low))
    kept = reaching.all(1).nonzero()[:, 0]
    x, y, t = (n / (b - a) for n, a, b in zip(size, low, high))
    offset = means.new_tensor([-a / (b - a) for a, b in zip(low, high)])
    scaled = cholesky[kept] * cholesky.new_tensor([t, x, y, x, y, y])
    return means[kept] * means.new_tensor([x, y, t]) + offset, scaled, colors[kept]


def typical_spread(cholesky: Tensor) -> Tensor:
    return standard_deviations(cholesky).log().mean(0).exp()


def region_weights(
    means: Tensor, cholesky: Tensor, boxes: Tensor, spread: Tensor, narrower: float, feather: float
) -> Tensor:
    unit = torch.fmax(spread, standard_deviations(cholesky) * narrower)
    _, l_xt, l_yt = cholesky[:, :3].unbind(1)
    way = torch.stack([l_xt, l_yt, torch.zeros_like(l_xt)], 1)
    places = torch.stack([means, means - way, means + way])
    closest = torch.full_like(means[:, 0], torch.inf)
    for box in boxes[:6].T:
        away = (places - places.clamp(box[:3], box[3:])) / unit
        closest = torch.minimum(closest, torch.linalg.vector_norm(away, dim=-1).amin(0))
    return (2 - closest / feather).clamp(0, 1)


def join_weighted(
    means: Tensor,
    cholesky: Tensor,
    colors: Tensor,
    weights: Tensor,
    other_means: Tensor,
    other_cholesky: Tensor,
    other_colors: Tensor,
    hidden: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    other_weights = 1 - hidden
    kept, others = (w.nonzero()[:, 0] for w in (weights, other_weights))
    some, more = colors[kept] * weights[kept, None], other_colors[others] * other_weights[others, None]
    return (
        torch.cat([means[kept], other_means[others]]),
        torch.cat([cholesky[kept], other_cholesky[others]]),
        torch.cat([some, more]),
    )
