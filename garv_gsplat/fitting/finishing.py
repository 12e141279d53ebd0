"""The end of a fit: rounded as the file rounds, colours fitted to what that left, as large as was asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from garv_gsplat import codec
from garv_gsplat.colors import NormalEquations
from garv_gsplat.fitting.config import FitConfig
from garv_gsplat.fitting.denoising import fitted_noise
from garv_gsplat.fitting.field import GaussianField
from garv_gsplat.fitting.rate import best_step, numbers_of, target_bits
from garv_gsplat.fitting.seen import SeenFrames
from garv_gsplat.gaussians import VideoGaussians, energies
from garv_gsplat.metrics import psnr_per_frame
from garv_gsplat.motion import pixel_maps
from garv_gsplat.rendering import rasterization

LEAST, MOST = 0.985, 1.0  # of the size that is asked for
ABOVE = 0.1  # dB that a file may be better than it is asked for
_TRIES = 8
_ITERATIONS = 6  # of the colours; more gain nothing
_FRAMES_AT_ONCE = 4
_REFITTED_AT_ONCE = 8
_STEPS = (0.001, 4.0)  # far beyond what videos take at either end
_OF_FITTED_NOISE = 0.25  # the error that rounding goes by, where noise is left out: all of it costs 0.15 dB more
_DB_PER_DOUBLING = 1.5  # of the step, about


def finish(field: GaussianField, seen: SeenFrames, mean_squared_error: float) -> bytes:
    """The file of a fitted video, which leaves the given error; the field stays as it is, so that a fit can go on.

    Geometry is rounded first, then the colours are fitted to it anew and rounded: that takes back a good part of what
    rounding costs. The size or the quality that was asked for decides over the step, or where the codec has none over
    how many Gaussians of the least energy are left out.
    """
    if codec.find_codec(field.config.codec).has_step:
        return _finish_by_step(field, seen, mean_squared_error)
    return _finish_by_number(field, seen)


def _finish_by_step(field: GaussianField, seen: SeenFrames, mean_squared_error: float) -> bytes:
    gaussians, config = field.gaussians(), field.config
    error = mean_squared_error
    if config.denoise:  # what is left is noise, which the file is not to come near to
        error = _OF_FITTED_NOISE * fitted_noise(field, mean_squared_error)
    step = _bounded(best_step(config, field.info, len(field), error))
    tried: list[tuple[float, float]] = []  # logarithms of steps, and how much too large or too good the file was
    files = []
    for _ in range(_TRIES):
        files.append(_encode(gaussians, config.codec, step, seen))
        if config.num_gaussians is not None or config.denoise:
            return files[-1]
        missed = _too_good(files[-1], seen, config) if config.psnr else _too_large(files[-1], field)
        tried.append((math.log2(step), missed.by))
        before, step = step, _bounded(2 ** _next(tried, missed.slope))
        if abs(missed.by) <= missed.allowed or step == before:
            break
    nearest = min(range(len(files)), key=lambda k: abs(tried[k][1]))
    return files[nearest]


def _bounded(step: float) -> float:
    return min(max(step, _STEPS[0]), _STEPS[1])


def _finish_by_number(field: GaussianField, seen: SeenFrames) -> bytes:
    gaussians, config = field.gaussians(), field.config
    target = math.inf if config.num_gaussians or config.psnr or config.denoise else target_bits(config, field.info)
    for _ in range(_TRIES):
        data = _encode(gaussians, config.codec, None, seen)
        if 8 * len(data) <= MOST * target:
            break
        kept = max(1, math.floor(len(gaussians) * 0.5 * (LEAST + MOST) * target / (8 * len(data))))
        energy = energies(gaussians.in_pixels()[1], gaussians.colors, field.info)
        gaussians = gaussians.take(energy.topk(kept).indices)
    return data


class _Missed(NamedTuple):
    """How far a file is from what was asked for, in bits or in dB."""

    by: float  # positive where it is too large or too good
    allowed: float
    slope: float  # what a step of twice the size takes off, about


def _too_large(data: bytes, field: GaussianField) -> _Missed:
    target = target_bits(field.config, field.info)
    excess = 8 * len(data) - 0.5 * (LEAST + MOST) * target
    return _Missed(excess, 0.5 * (MOST - LEAST) * target, numbers_of(field.info) * len(field))


def _too_good(data: bytes, seen: SeenFrames, config: FitConfig) -> _Missed:
    excess = _quality(codec.load(data).to(seen.frames.device), seen) - (config.psnr + ABOVE / 2)
    return _Missed(excess, ABOVE / 2, _DB_PER_DOUBLING)


def _next(tried: list[tuple[float, float]], slope: float) -> float:
    """The logarithm of the step to try next: between the last two that lie on either side, or by the usual slope."""
    over = next((point for point in reversed(tried) if point[1] > 0), None)
    under = next((point for point in reversed(tried) if point[1] <= 0), None)
    if over is None or under is None or over[0] >= under[0]:
        return tried[-1][0] + tried[-1][1] / slope
    return over[0] + (under[0] - over[0]) * over[1] / (over[1] - under[1])


def _quality(gaussians: VideoGaussians, seen: SeenFrames) -> float:
    """Mean PSNR of 8-bit frames, of those seen."""
    pairs = zip(shown_frames(gaussians, seen.times / gaussians.info.frames), seen.frames.split(_FRAMES_AT_ONCE))
    return torch.cat([psnr_per_frame(shown, wanted) for shown, wanted in pairs]).mean().item()


def shown_frames(gaussians: VideoGaussians, times: Tensor) -> Iterator[Tensor]:
    """Frames at `times` [B] in the unit cube as they are decoded, a few at a time: uint8 [B, H, W, C]."""
    for some in times.split(_FRAMES_AT_ONCE):
        yield (rasterization(gaussians, some).clamp(0, 1) * 255 + 0.5).to(torch.uint8)


def _encode(gaussians: VideoGaussians, name: str, step: float | None, seen: SeenFrames) -> bytes:
    """The file of Gaussians rounded by a codec, their colours fitted to that."""
    chosen = codec.find_codec(name)
    levels = chosen.round(gaussians, step)
    rounded = chosen.dequantize(levels).to(seen.frames.device)
    times, frames = seen.times.split(_REFITTED_AT_ONCE), seen.frames.split(_REFITTED_AT_ONCE)
    size, maps = (rounded.info.width, rounded.info.height), pixel_maps(rounded.info, seen.frames.device)
    equations = NormalEquations(*rounded.in_pixels(), times, size, maps=maps)
    colors = equations.improve(rounded.colors, (some.float() / 255 for some in frames), _ITERATIONS)
    return codec.encode_levels(chosen.with_colors(levels, colors), name)
