"""The end of a fit: rounded as the file rounds, colours fitted to what that left, as large as was asked for."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor

from garv_gsplat import codec
from garv_gsplat.fitting.colors import refit_colors
from garv_gsplat.fitting.field import GaussianField
from garv_gsplat.fitting.rate import best_step, numbers_of
from garv_gsplat.gaussians import VideoGaussians, energies

LEAST, MOST = 0.985, 1.0  # of the size that is asked for
_TRIES = 6
_ITERATIONS = 8, 3  # of the colours: the first time, and when they start from colours for another step
_STEPS = (0.02, 1.0)


def finish(field: GaussianField, frames: Tensor, mean_squared_error: float) -> bytes:
    """The file of a fitted video, which leaves the given error; the field stays as it is, so that a fit can go on.

    Geometry is rounded first, then the colours are fitted to it anew and rounded: that takes back a good part of what
    rounding costs. Without a number of Gaussians that was asked for, the size of the file decides over the step, or
    where the codec has none over how many Gaussians of the least energy are left out.
    """
    if codec.find_codec(field.config.codec).has_step:
        return _finish_by_step(field, frames, mean_squared_error)
    return _finish_by_number(field, frames)


def _finish_by_step(field: GaussianField, frames: Tensor, mean_squared_error: float) -> bytes:
    gaussians, name, target = field.gaussians(), field.config.codec, _target(field)
    step = best_step(field.info, len(field), mean_squared_error)
    for attempt in range(_TRIES):
        step = min(max(step, _STEPS[0]), _STEPS[1])
        gaussians, data = _encode(gaussians, name, step, frames, _ITERATIONS[min(attempt, 1)])
        if target is None or LEAST < 8 * len(data) / target <= MOST:
            break
        step *= 2 ** ((8 * len(data) - 0.5 * (LEAST + MOST) * target) / (numbers_of(field.info) * len(gaussians)))
    return data


def _finish_by_number(field: GaussianField, frames: Tensor) -> bytes:
    gaussians, name, target = field.gaussians(), field.config.codec, _target(field)
    for attempt in range(_TRIES):
        gaussians, data = _encode(gaussians, name, None, frames, _ITERATIONS[min(attempt, 1)])
        if target is None or 8 * len(data) <= MOST * target:
            break
        kept = max(1, math.floor(len(gaussians) * 0.5 * (LEAST + MOST) * target / (8 * len(data))))
        gaussians = gaussians.take(energies(gaussians.cholesky, gaussians.colors).topk(kept).indices)
    return data


def _target(field: GaussianField) -> float | None:
    """Bits of the file that were asked for; None where a number of Gaussians was."""
    return None if field.config.num_gaussians else field.config.bpp * field.info.pixels


def _encode(
    gaussians: VideoGaussians, name: str, step: float | None, frames: Tensor, iterations: int
) -> tuple[VideoGaussians, bytes]:
    """The Gaussians with colours that suit their rounded geometry, and the file of both rounded."""
    chosen = codec.find_codec(name)
    levels = chosen.round(gaussians, step)
    rounded = chosen.dequantize(levels).to(frames.device)
    colors = refit_colors(*rounded.in_pixels(), gaussians.colors.to(frames.device), frames, iterations=iterations)
    return replace(gaussians, colors=colors), codec.encode_levels(chosen.with_colors(levels, colors), name)
