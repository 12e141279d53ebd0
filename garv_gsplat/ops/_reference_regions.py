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
    first: Sequence[float],
    last: Sequence[float],
    threshold: float,
) -> tuple[Tensor, Tensor, Tensor]:
    radius = (2 * (colors.abs().amax(1) / threshold).clamp(min=1).log()).sqrt()
    middle = means * means.new_tensor(size)
    half = radius[:, None] * (standard_deviations(cholesky) * cholesky.new_tensor(size))
    reaching = (middle - half <= means.new_tensor(last)) & (middle + half >= means.new_tensor(first))
    kept = reaching.all(1).nonzero()[:, 0]
    x, y, t = (n / (b - a) for n, a, b in zip(size, low, high))
    offset = means.new_tensor([-a / (b - a) for a, b in zip(low, high)])
    scaled = cholesky[kept] * cholesky.new_tensor([t, x, y, x, y, y])
    return means[kept] * means.new_tensor([x, y, t]) + offset, scaled, colors[kept]


def as_seen(means: Tensor, cholesky: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Means [N, 3] and Cholesky factors [N, 6] as frames see them at their mean time through maps [T, 6] of the plane,
    moving as they see them move from a standard deviation of time before it to one after it. With no maps as they are.
    """
    if len(maps) == 0:
        return means, cholesky
    way = cholesky[:, [1, 2, 0]]
    before, middle, later = (_place_seen(maps, places) for places in (means - way, means, means + way))
    xx, xy, yx, yy = _maps_at(maps, means[:, 2])[:, :4].unbind(1)
    a, b, c = cholesky[:, 3:].unbind(1)
    across, down = (xx * a + xy * b, xy * c), (yx * a + yy * b, yy * c)  # rows of the map times the factor, which a
    wide = torch.hypot(*across)  # rotation of its columns makes triangular again
    skew = (across[0] * down[0] + across[1] * down[1]) / wide
    factor = torch.stack([wide, skew, (xx * yy - xy * yx) * a * c / wide], 1)
    return torch.cat([middle, means[:, 2:]], 1), torch.cat([cholesky[:, :1], (later - before) / 2, factor], 1)


def _place_seen(maps: Tensor, places: Tensor) -> Tensor:
    """Where frames see places x, y, t [N, 3] of the plane [N, 2]."""
    xx, xy, yx, yy, x, y = _maps_at(maps, places[:, 2]).unbind(1)
    p, q, _ = places.unbind(1)
    return torch.stack([xx * p + xy * q + x, yx * p + yy * q + y], 1)


def _maps_at(maps: Tensor, times: Tensor) -> Tensor:
    """The maps [N, 6] at times [N]: in proportion between two frames, before the first and after the last theirs."""
    place = (times * len(maps) - 0.5).clamp(0, len(maps) - 1)
    before = place.floor()
    after = (before + 1).clamp(max=len(maps) - 1)
    return torch.lerp(maps[before.long()], maps[after.long()], (place - before)[:, None])


def typical_spread(means: Tensor, cholesky: Tensor, maps: Tensor) -> Tensor:
    _, cholesky = as_seen(means, cholesky, maps)
    return standard_deviations(cholesky).log().mean(0).exp()


def region_weights(
    means: Tensor, cholesky: Tensor, maps: Tensor, boxes: Tensor, spread: Tensor, narrower: float, feather: float
) -> Tensor:
    means, cholesky = as_seen(means, cholesky, maps)
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
