"""The end of a fit: rounded as the file rounds, colours fitted to what that left, as large as was asked for."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from garv_gsplat import codec
from garv_gsplat.fitting.colors import refit_colors
from garv_gsplat.fitting.field import GaussianField
from garv_gsplat.fitting.rate import best_step, numbers_of
from garv_gsplat.gaussians import VideoGaussians

LEAST, MOST = 0.985, 1.0  # of the size that is asked for
_TRIES = 6
_ITERATIONS = 8, 3  # of the colours: the first time, and when they start from colours for another step
_STEPS = (0.02, 1.0)


def finish(field: GaussianField, frames: Tensor, mean_squared_error: float) -> bytes:
    """The file of a fitted video, which leaves the given error; the field stays as it is, so that a fit can go on.

    Geometry is rounded first, then the colours are fitted to it anew and rounded: that takes back a good part of what
    rounding costs. Without a number of Gaussians that was asked for, the step is chosen by the size of the file.
    """
    gaussians = field.gaussians()
    target = None if field.config.num_gaussians else field.config.bpp * field.info.pixels
    step = best_step(field.info, len(field), mean_squared_error)
    for attempt in range(_TRIES):
        step = min(max(step, _STEPS[0]), _STEPS[1])
        gaussians, data = _encode(gaussians, step, frames, _ITERATIONS[min(attempt, 1)])
        if target is None or LEAST < 8 * len(data) / target <= MOST:
            break
        step *= 2 ** ((8 * len(data) - 0.5 * (LEAST + MOST) * target) / (numbers_of(field.info) * len(gaussians)))
    return data


def _encode(gaussians: VideoGaussians, step: float, frames: Tensor, iterations: int) -> tuple[VideoGaussians, bytes]:
    """The Gaussians with colours that suit their rounded geometry, and the file of both rounded."""
    levels = codec.quantize(gaussians, step)
    rounded = codec.dequantize(levels).to(frames.device)
    colors = refit_colors(*rounded.in_pixels(), gaussians.colors.to(frames.device), frames, iterations=iterations)
    return replace(gaussians, colors=colors), codec.encode_levels(codec.with_colors(levels, colors))
