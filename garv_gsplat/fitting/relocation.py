"""Gaussians that matter least move to where the error is largest."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from garv_gsplat.fitting.field import GaussianField
from garv_gsplat.fitting.initialization import draw_indices, into_plane
from garv_gsplat.fitting.optimizer import GaussianAdam
from garv_gsplat.fitting.seen import SeenFrames
from garv_gsplat.gaussians import energies, neighbour_order

START_FRAMES = 2.0  # l_tt of a Gaussian that has moved; it grows where the error lasts
_SIGMAS = (1.0, 2.0, 4.0)  # pixels, that are tried for it
PIXELS_LOOKED_AT = 1 << 25  # each time, which bounds time and memory
PIXELS_AT_ONCE = 1 << 19


@torch.no_grad()
def relocate(
    field: GaussianField,
    optimizer: GaussianAdam,
    seen: SeenFrames,
    step: int,
    share: float,
    wanted: Callable[[], int],
) -> None:
    """Take out the given share of Gaussians, those of the least energy, and add others until there are enough.

    wanted: gives how many are enough; it is called while the device looks at the errors.

    New ones come where one more Gaussian lessens the squared error most, as in matching pursuit; how much follows from
    the error blurred with it, and places are drawn in proportion. Repeats itself for the same seed and step.
    """
    generator = torch.Generator().manual_seed((field.config.seed << 32) + step)
    errors = survey(field, seen, generator)
    count = wanted()
    values = tuple(v.clone() for v in field.values())
    kept = min(count, len(field) - round(share * len(field)))
    best = torch.topk(energies(values[1], values[2], field.info), kept).indices
    if kept < count:
        new = propose(field, seen, errors, count - kept, generator)
        values = tuple(torch.cat([old[best], more]) for old, more in zip(values, new))
    else:
        values = tuple(old[best] for old in values)
    origin = torch.cat([best, best.new_full((count - kept,), -1)])
    order = neighbour_order(values[0], values[1][:, 0].median())
    before = field.attributes
    field.set_values(*(v[order] for v in values))
    optimizer.replace(before, field.attributes, origin[order])


class Survey(NamedTuple):
    """What one more Gaussian would give at each pixel of some of the frames seen (see `_gains`)."""

    chosen: Tensor  # [S] indices of these frames
    gains: Tensor  # [S, H, W]
    sigmas: Tensor  # [S, H, W] uint8
    colors: Tensor  # [S, C, H, W] float16


def survey(field: GaussianField, seen: SeenFrames, generator: torch.Generator) -> Survey:
    """Look at frames drawn with `generator`; does not wait for the device."""
    device, (height, width, channels) = seen.frames.device, seen.frames.shape[1:]
    looked_at, at_once = (max(1, pixels // (height * width)) for pixels in (PIXELS_LOOKED_AT, PIXELS_AT_ONCE))
    chosen = torch.randperm(len(seen), generator=generator)[:looked_at].sort().values.to(device)
    gains = torch.empty(len(chosen), height, width, device=device)
    sigmas = torch.empty_like(gains, dtype=torch.uint8)
    colors = gains.new_empty(len(chosen), channels, height, width, dtype=torch.float16)
    for start in range(0, len(chosen), at_once):
        part = slice(start, start + at_once)
        gains[part], sigmas[part], colors[part] = _gains(field, seen, chosen[part])
    return Survey(chosen, gains, sigmas, colors)


def propose(
    field: GaussianField, seen: SeenFrames, errors: Survey, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Means [count, 3], Cholesky factors [count, 6] and colours [count, C] of Gaussians that the field lacks."""
    chosen, gains, sigmas, colors = errors
    height, width = gains.shape[1:]
    totals = gains.sum((1, 2), dtype=torch.float64).cpu().clamp(min=1e-30)
    drawn = torch.multinomial(totals, count, replacement=True, generator=generator).bincount(minlength=len(chosen))
    # All at once, as an upload for each frame would wait for the frame before.
    uniform = torch.rand(count, generator=generator, dtype=torch.float64).to(gains.device).split(drawn.tolist())
    places = [draw_indices(gains[k].flatten().double(), part) + k * height * width for k, part in enumerate(uniform)]
    place = torch.cat(places)
    frame, y, x = place // (height * width), place // width % height, place % width
    jitter = torch.rand(count, 3, generator=generator).to(gains.device)
    sigma = jitter.new_tensor(_SIGMAS)[sigmas.flatten()[place].long()]
    # Where many are drawn each takes its share of the error: the weights at a point add up to about this.
    density = gains.flatten()[place] * (count / gains.sum())
    overlap = density * (2 * math.pi) ** 1.5 * START_FRAMES * sigma**2
    color = colors[frame, :, y, x].float() / (1 + overlap)[:, None]
    means = torch.stack([x, y, seen.times[chosen[frame]] - 0.5], 1) + jitter
    means, sigma = into_plane(means, sigma, field.maps)
    cholesky = sigma.new_zeros(count, 6)
    cholesky[:, 0] = START_FRAMES
    cholesky[:, 3] = cholesky[:, 5] = sigma
    return means, cholesky, color


def _gains(field: GaussianField, seen: SeenFrames, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What one more Gaussian at each pixel takes off the squared error of the seen frames of indices `chosen` [B].

    Returns gains [B, H, W], indices of the best sigma [B, H, W] uint8 and colours [B, C, H, W] float16. For the weights
    w of a Gaussian of sigma s the best colour is (w . error) / (w . w), twice the error blurred with it, and the gain
    (w . error)^2 / (w . w) is 4 pi s^2 times the blurred error's square. Half the best colour is given.
    """
    error = (seen.frames[chosen].float() / 255 - field.look(seen.times[chosen])).permute(0, 3, 1, 2)
    gain = torch.zeros_like(error[:, 0])
    index, color = torch.zeros_like(gain, dtype=torch.uint8), torch.zeros_like(error, dtype=torch.float16)
    for k, sigma in enumerate(_SIGMAS):
        blurred = _blur(error, sigma)
        more = blurred.square().sum(1) * (4 * math.pi * sigma**2)
        better = more > gain
        gain, index = torch.where(better, more, gain), torch.where(better, k, index)
        color = torch.where(better[:, None], blurred.half(), color)
    return gain, index, color


def _blur(images: Tensor, sigma: float) -> Tensor:
    """[B, C, H, W] blurred with a Gaussian; black outside."""
    radius = math.ceil(3 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=images.device) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    planes = images.flatten(0, 1)[None]
    groups = planes.shape[1]  # a plane each: one after the other they take the CPU ten times as long
    kernels = kernel.expand(groups, 1, 1, -1)
    rows = torch.nn.functional.conv2d(planes, kernels, padding=(0, radius), groups=groups)
    columns = kernels.transpose(2, 3)
    return torch.nn.functional.conv2d(rows, columns, padding=(radius, 0), groups=groups).view_as(images)
