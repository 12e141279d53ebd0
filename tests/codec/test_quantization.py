"""Rounding: small where it matters, the same again, and nothing that breaks it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from garv_gsplat.codec import dequantize, encode, load, quantize, with_colors
from garv_gsplat.codec.quantization import MAX_LAYERS
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.ops import MAX_EXPONENT, MIN_EXPONENT
from garv_gsplat.rendering import rasterization
from garv_gsplat.volume import VideoInfo
from tests.codec.samples import fitted_like

INFO = VideoInfo(1280, 720, 132)


@cache
def adversarial() -> dict[str, VideoGaussians]:
    """Name -> Gaussians that strain the ranges."""
    base = fitted_like(500, INFO)
    alike = VideoGaussians(*(v[:1].repeat(5000, 1) for v in (base.means, base.cholesky, base.colors)), INFO)
    grey = VideoGaussians(base.means, base.cholesky, base.colors[:, :1].repeat(1, 3), INFO)
    black = VideoGaussians(base.means, base.cholesky, torch.zeros_like(base.colors), INFO)
    far, wide, bright, thin = (fitted_like(500, INFO) for _ in range(4))
    far.means[3] = torch.tensor([-1.0, 2.0, 1.9])
    wide.cholesky[5] *= 1e5
    wide.cholesky[6, 1] = -1e4
    bright.colors[7] = torch.tensor([1e4, -3.0, 1e-6])
    thin.cholesky[::3] *= -1e-4
    thin.cholesky[1] = 0
    return {
        "fitted": base,
        "one": VideoGaussians(base.means[:1], base.cholesky[:1], base.colors[:1], INFO),
        "none": VideoGaussians(base.means[:0], base.cholesky[:0], base.colors[:0], INFO),
        "alike": alike,
        "grey": grey,
        "black": black,
        "far": far,
        "wide": wide,
        "bright": bright,
        "thin": thin,
        "one pixel": fitted_like(500, VideoInfo(1, 1, 100_000)),
        "grey video": fitted_like(500, VideoInfo(177, 99, 3, channels=1)),
        "eight channels": fitted_like(500, VideoInfo(177, 99, 3, channels=8)),
    }


def rows(gaussians: VideoGaussians) -> np.ndarray:
    values = np.concatenate([v.numpy() for v in (gaussians.means, gaussians.cholesky, gaussians.colors)], 1)
    return values[np.lexsort(values.T)]


@pytest.mark.parametrize("name", adversarial())
def test_a_file_holds_what_rounding_gives(name):
    levels = quantize(adversarial()[name], 0.14)
    rounded = dequantize(levels.take((levels.colors != 0).any(1)))
    assert len(levels.layers) <= MAX_LAYERS
    np.testing.assert_array_equal(rows(load(encode(adversarial()[name], step=0.14))), rows(rounded))


def test_the_finer_the_step_the_nearer():
    gaussians = fitted_like(4000, VideoInfo(160, 96, 16))
    exact = rasterization(gaussians, [0.25, 0.6])
    errors = []
    for step in (0.4, 0.2, 0.1, 0.05):
        image = rasterization(dequantize(quantize(gaussians, step)), [0.25, 0.6])
        errors.append(float((image - exact).square().mean()))
    ratios = [a / b for a, b in zip(errors, errors[1:])]
    assert all(3 < ratio < 5 for ratio in ratios), ratios  # the square of the step


def test_the_error_is_what_the_step_says():
    """Twelve numbers, each of which adds pi^1.5 step^2 / 12 whatever the Gaussian."""
    info = VideoInfo(160, 96, 64)
    gaussians = fitted_like(1500, info)
    inside = (gaussians.means - 0.5).abs().amax(1) < 0.3
    gaussians = VideoGaussians(gaussians.means[inside], gaussians.cholesky[inside], gaussians.colors[inside], info)
    rounded, centers = dequantize(quantize(gaussians, 0.05)), info.frame_centers()
    error = float((rasterization(rounded, centers) - rasterization(gaussians, centers)).square().sum())
    assert error == pytest.approx(np.pi**1.5 * 0.05**2 * len(gaussians), rel=0.5)


def test_what_matters_more_is_rounded_finer():
    gaussians = fitted_like(3000, INFO)
    levels = quantize(gaussians, 0.14)
    steps = [layer.ratio_step for layer in levels.layers]
    assert len(steps) > 3 and steps == sorted(steps)
    sizes = [dequantize(levels.take(levels.layer == k)).colors.norm(dim=1).mean() for k in (0, len(steps) - 1)]
    assert sizes[0] > 3 * sizes[1]


def test_positions_are_rounded_by_the_size():
    levels = quantize(fitted_like(3000, INFO), 0.14)
    rounded, exact = dequantize(levels), fitted_like(3000, INFO)
    error = (rounded.in_pixels()[0] - exact.in_pixels()[0]).abs().numpy()
    assert (error <= 0.5 * 2.0**levels.exponents + 1e-3).all()
    assert levels.exponents.min() >= MIN_EXPONENT and levels.exponents.max() <= MAX_EXPONENT


def test_other_colours_on_the_same_shapes():
    gaussians = fitted_like(300, INFO)
    levels = quantize(gaussians, 0.14)
    other = with_colors(levels, 0.5 * gaussians.colors)
    assert other.shapes is levels.shapes
    step = levels.color_step / levels_size(levels)
    error = (dequantize(other).colors - 0.5 * gaussians.colors).norm(dim=1).numpy()
    assert (error <= 0.5 * np.sqrt(3) * step + 1e-6).all()


def levels_size(levels) -> np.ndarray:
    tt, _, _, xx, _, yy = dequantize(levels).in_pixels()[1].double().numpy().T
    return np.sqrt(tt * xx * yy)


def test_rounding_does_not_change_the_velocity_with_the_duration():
    """l_xt is rounded against the rounded l_tt: fast Gaussians must not miss their place."""
    gaussians = fitted_like(4000, INFO)
    _, cholesky = gaussians.in_pixels()
    levels = quantize(gaussians, 0.14)
    _, rounded = dequantize(levels).in_pixels()
    fast = (cholesky[:, 1] / cholesky[:, 3]).abs() > 2
    step = np.array([layer.ratio_step for layer in levels.layers])[levels.layer] / 65536
    error = (rounded[:, 1] / rounded[:, 0] - cholesky[:, 1] / cholesky[:, 0]).abs() * rounded[:, 0] / rounded[:, 3]
    assert fast.sum() > 50
    assert (error[fast].numpy() <= 0.51 * step[fast.numpy()]).all()
    assert (rounded[fast, 0] / cholesky[fast, 0] - 1).abs().max() > 0.05


@pytest.mark.parametrize("field", ["means", "cholesky", "colors"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_refuses_numbers_that_are_none(field, value):
    gaussians = fitted_like(20, INFO)
    getattr(gaussians, field)[7, 1] = value
    with pytest.raises(ValueError, match=f"{field} of 1 of 20 Gaussians .* the first is Gaussian 7"):
        quantize(gaussians, 0.14)


def test_refuses_what_lies_nowhere_near():
    gaussians = fitted_like(20, INFO)
    gaussians.means[5, 2] = 2.1
    with pytest.raises(ValueError, match="1 of 20 Gaussians lie outside .* the first is Gaussian 5"):
        quantize(gaussians, 0.14)
