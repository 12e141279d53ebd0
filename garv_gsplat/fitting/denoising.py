"""A fit that leaves noise out: it takes as many Gaussians as make what is left white (see docs/denoising.md)."""

from __future__ import annotations

import torch

from garv_gsplat.fitting.field import GaussianField
from garv_gsplat.fitting.rate import changed, numbers_of
from garv_gsplat.fitting.seen import SeenFrames

PIXELS_LOOKED_AT = 1 << 24  # each time, of frames evenly apart
_PIXELS_AT_ONCE = 1 << 19
_GAUSSIANS_PER_CORRELATION = 8.0  # an exponent: about 8 % more Gaussians for a correlation of 1 %
# Steps of full size leave the numbers off their best by so many times the noise that the best would take up, as in the
# misadjustment of stochastic gradients (Widrow et al., 1976), which is in proportion to how many numbers there are.
_MISADJUSTMENT = 2.0


def whitening_gaussians(field: GaussianField, seen: SeenFrames, factor: float) -> int:
    """How many Gaussians the field should have for what it leaves to come nearer to white noise.

    factor: of the steps' size; what their size adds to the correlation does not count, as it will be gone at the end.
    """
    correlation = neighbour_correlation(field, seen) - _MISADJUSTMENT * factor * fitted_noise(field, 1.0)
    return changed(len(field), len(field) * (1 + correlation) ** _GAUSSIANS_PER_CORRELATION)


def fitted_noise(field: GaussianField, mean_squared_error: float) -> float:
    """Squared error of the noise that a field took up, of noise of the given squared error.

    Least squares take up one in as many parts of the noise's energy as there are values for a number.
    """
    return mean_squared_error * numbers_of(field.info) * len(field) / (field.info.pixels * field.info.channels)


@torch.no_grad()
def neighbour_correlation(field: GaussianField, seen: SeenFrames) -> float:
    """Correlation of what a fit leaves at pixels beside each other, along x and y, of the same channel.

    Noise that is independent from pixel to pixel has none, whatever its strength, even where it depends on brightness.
    What the fit still lacks of the video is smooth, and adds its variance; what the fit took up of the noise is smooth
    as well, and takes its own off (the noise beside a pixel has been fitted, too). So the correlation is 0 where the
    two errors are equal, close to where their sum is least: the residual whiteness principle (Almeida and Figueiredo,
    "Parameter estimation for blind and non-blind deblurring using residual whiteness measures", 2013).
    """
    height, width = seen.frames.shape[1:3]
    looked_at, at_once = (max(1, pixels // (height * width)) for pixels in (PIXELS_LOOKED_AT, _PIXELS_AT_ONCE))
    chosen = torch.arange(0, len(seen), -(-len(seen) // looked_at), device=seen.frames.device)
    covariance = variance = 0.0
    for part in chosen.split(at_once):
        error = seen.frames[part].float() / 255 - field.look(seen.times[part])
        beside = [(error[:, :, 1:] * error[:, :, :-1]).mean(), (error[:, 1:] * error[:, :-1]).mean()]
        covariance += len(part) * float(sum(beside)) / 2
        variance += len(part) * float(error.square().mean())
    return covariance / variance
