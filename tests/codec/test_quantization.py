"""Rounding: the same in the fit and in the file, idempotent, differentiable, small."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from garv_gsplat.codec import Quantizer
from garv_gsplat.codec.quantization import POSITION_STEPS, VALUE_STEPS, from_color_planes, to_color_planes
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.volume import VideoInfo
from tests.codec.samples import fitted_like

INFO = VideoInfo(1280, 720, 132)


def calibrated(gaussians: VideoGaussians) -> Quantizer:
    return Quantizer.calibrate(*gaussians.in_pixels(), gaussians.colors, gaussians.info)


@cache
def adversarial() -> dict[str, VideoGaussians]:
    """Name -> Gaussians that strain the ranges."""
    base = fitted_like(500, INFO)
    alike = VideoGaussians(*(v[:1].repeat(50, 1) for v in (base.means, base.cholesky, base.colors)), INFO)
    grey = VideoGaussians(base.means, base.cholesky, base.colors[:, :1].repeat(1, 3), INFO)
    black = VideoGaussians(base.means, base.cholesky, torch.zeros_like(base.colors), INFO)
    far, wide, bright, thin = (fitted_like(500, INFO) for _ in range(4))
    far.means[3] = torch.tensor([1e6, -1e6, 40.0])
    wide.cholesky[5] *= 1e5
    wide.cholesky[6, 1] = -1e4
    bright.colors[7] = torch.tensor([1e4, -3.0, 1e-6])
    thin.cholesky[::3] *= -1e-4
    thin.cholesky[1] = 0
    huge = fitted_like(500, INFO)
    huge.cholesky[2], huge.colors[3], huge.means[4] = 1e30, -1e30, 1e30
    long = VideoInfo(1, 1, 100_000)
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
        "huge": huge,
        "one pixel": fitted_like(500, long),
        "grey video": fitted_like(500, VideoInfo(177, 99, 3, channels=1)),
        "eight channels": fitted_like(500, VideoInfo(177, 99, 3, channels=8)),
    }


@pytest.mark.parametrize("name", adversarial())
def test_encoding_a_decoded_file_gives_the_same_levels(name):
    gaussians = adversarial()[name]
    quantizer = calibrated(gaussians)
    positions, values = quantizer.encode(gaussians)
    decoded = quantizer.decode(positions, values, gaussians.info)
    again = quantizer.encode(decoded)
    assert torch.equal(again[0], positions)
    assert torch.equal(again[1], values)


@pytest.mark.parametrize("name", adversarial())
def test_every_level_survives(name):
    """Not only the levels that these Gaussians use: random ones, and both ends."""
    gaussians = adversarial()[name]
    quantizer, channels = calibrated(gaussians), gaussians.info.channels
    random = torch.Generator().manual_seed(1)
    positions = torch.randint(0, POSITION_STEPS + 1, (4000, 3), generator=random, dtype=torch.int32)
    values = torch.randint(0, VALUE_STEPS + 1, (4000, 6 + channels), generator=random, dtype=torch.uint8)
    positions[0], positions[1], values[0], values[1] = 0, POSITION_STEPS, 0, VALUE_STEPS
    again = quantizer.encode(quantizer.decode(positions, values, gaussians.info))
    assert torch.equal(again[0], positions)
    assert torch.equal(again[1], values)


@pytest.mark.parametrize("name", adversarial())
def test_round_is_what_the_file_holds(name):
    gaussians = adversarial()[name]
    quantizer = calibrated(gaussians)
    means, cholesky = gaussians.in_pixels()
    rounded = quantizer.round(means, cholesky, gaussians.colors)
    # Through the unit cube values change by an ulp, which moves one that lies between two levels to the other one.
    snapped = VideoGaussians.from_pixels(*rounded, gaussians.info)
    decoded = quantizer.decode(*quantizer.encode(snapped), gaussians.info)
    for a, b in zip((*decoded.in_pixels(), decoded.colors), rounded):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=1e-5 * max(1.0, float(b.abs().max()) if len(b) else 0.0))
    again = quantizer.round(*rounded)
    for a, b in zip(again, rounded):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=1e-5 * max(1.0, float(b.abs().max()) if len(b) else 0.0))


def test_gradients_pass_straight_through():
    gaussians = fitted_like(300, INFO)
    quantizer = calibrated(gaussians)
    means, cholesky = gaussians.in_pixels()
    inputs = [v.clone().requires_grad_() for v in (10 * means, cholesky, gaussians.colors)]  # many means clamped
    outputs = quantizer.round(*inputs)
    weights = [torch.randn_like(v) for v in outputs]
    sum((o * w).sum() for o, w in zip(outputs, weights)).backward()
    for value, weight in zip(inputs, weights):
        assert torch.equal(value.grad, weight)


def test_values_outside_of_the_range_move_to_its_end():
    gaussians = fitted_like(300, INFO)
    quantizer = calibrated(gaussians)
    means, cholesky = gaussians.in_pixels()
    low, high = quantizer.ranges[:3, 0], quantizer.ranges[:3, 1]
    rounded = quantizer.round(means + 1e5, cholesky * 1e6, gaussians.colors)
    torch.testing.assert_close(rounded[0], high.expand(300, 3))
    torch.testing.assert_close(rounded[1][:, 0].log(), quantizer.ranges[3, 1].expand(300))
    rounded = quantizer.round(means - 1e5, -cholesky, gaussians.colors)
    torch.testing.assert_close(rounded[0], low.expand(300, 3))
    assert (rounded[1][:, [0, 3, 5]] > 0).all()


def test_positions_have_room_to_move():
    gaussians = fitted_like(300, INFO)
    means, _ = gaussians.in_pixels()
    ranges = calibrated(gaussians).ranges[:3]
    span = means.amax(0) - means.amin(0)
    torch.testing.assert_close(means.amin(0) - ranges[:, 0], 0.02 * span, rtol=1e-3, atol=0)
    torch.testing.assert_close(ranges[:, 1] - means.amax(0), 0.02 * span, rtol=1e-3, atol=0)


def test_one_flung_out_gaussian_does_not_spoil_the_others():
    clean = fitted_like(2000, INFO)
    spoiled = fitted_like(2000, INFO)
    spoiled.means[0] = torch.tensor([50.0, -50.0, 50.0])
    spoiled.cholesky[0, 1:3] = 1e6
    spoiled.colors[0] = 1e5
    for gaussians in (clean, spoiled):
        errors = relative_errors(gaussians, calibrated(gaussians))
        assert all(e < limit for e, limit in zip(errors, (0.02, 0.012, 0.03, 0.01))), errors


def relative_errors(gaussians: VideoGaussians, quantizer: Quantizer) -> list[float]:
    """Median errors: positions in pixels, log widths, ratios off the diagonal, colours relative to the mean colour."""
    means, cholesky = gaussians.in_pixels()
    r_means, r_cholesky, r_colors = quantizer.round(means, cholesky, gaussians.colors)
    widths = (r_cholesky[:, [0, 3, 5]] / cholesky[:, [0, 3, 5]]).log()
    # velocity in widths of the Gaussian over its own duration
    drift = (r_cholesky[:, 1] / r_cholesky[:, 0] - cholesky[:, 1] / cholesky[:, 0]) * cholesky[:, 0] / cholesky[:, 3]
    colors = (r_colors - gaussians.colors) / gaussians.colors.abs().median()
    return [float(e.abs().median()) for e in (r_means - means, widths, drift, colors)]


def test_rounding_does_not_change_the_velocity_with_the_duration():
    """l_xt is rounded against the rounded l_tt: fast Gaussians must not miss their place."""
    gaussians = fitted_like(4000, INFO)
    means, cholesky = gaussians.in_pixels()
    quantizer = calibrated(gaussians)
    _, rounded, _ = quantizer.round(means, cholesky, gaussians.colors)
    fast = (cholesky[:, 1] / cholesky[:, 3]).abs() > 2
    velocity, kept = cholesky[:, 1] / cholesky[:, 0], rounded[:, 1] / rounded[:, 0]
    duration_error = (rounded[:, 0] / cholesky[:, 0] - 1).abs()
    error = (kept / velocity - 1).abs()
    # without it the error would be the duration's own and half a step of the ratio more
    step = 0.5 * quantizer_step(quantizer, 4)
    assert fast.sum() > 50
    assert (error[fast] <= 1.2 * step + 1e-3).float().mean() > 0.98
    assert duration_error.max() > 2e-3


def quantizer_step(quantizer: Quantizer, row: int) -> float:
    """Relative step of an attribute in its tails."""
    low, high, _ = quantizer.ranges[row].tolist()
    return (high - low) / VALUE_STEPS


def test_colour_planes_have_an_exact_inverse():
    colors = torch.randn(1000, 3, dtype=torch.float64)
    torch.testing.assert_close(from_color_planes(to_color_planes(colors)), colors, rtol=1e-14, atol=1e-14)
    basis = to_color_planes(torch.eye(3, dtype=torch.float64)).T  # rows: the planes in R, G, B
    gram = basis @ basis.T
    torch.testing.assert_close(gram, torch.diag(gram.diagonal()))


def test_grey_stays_grey_and_static_stays_static():
    base = fitted_like(500, INFO)
    cholesky = base.cholesky.clone()
    cholesky[::2, 1:3] = 0
    grey = VideoGaussians(base.means, cholesky, base.colors[:, :1].repeat(1, 3), INFO)
    decoded = calibrated(grey).decode(*calibrated(grey).encode(grey), INFO)
    torch.testing.assert_close(decoded.colors[:, 0], decoded.colors[:, 1], rtol=0, atol=1e-6)
    torch.testing.assert_close(decoded.colors[:, 0], decoded.colors[:, 2], rtol=0, atol=1e-6)
    assert decoded.cholesky[::2, 1:3].abs().max() < 1e-6


def test_works_in_double_precision_and_as_a_buffer():
    gaussians = fitted_like(100, INFO)
    module = torch.nn.Module()
    module.register_buffer("ranges", calibrated(gaussians).ranges)
    means, cholesky = gaussians.in_pixels()
    single = Quantizer(module.ranges).round(means, cholesky, gaussians.colors)
    double = Quantizer(module.ranges).round(means.double(), cholesky.double(), gaussians.colors.double())
    assert double[0].dtype == torch.float64
    moved = (single[1] - double[1]).abs() > 1e-4 * double[1].abs().clamp(min=0.1)
    assert moved.float().mean() < 0.01  # a value between two levels may go to either


@pytest.mark.parametrize("field", ["means", "cholesky", "colors"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_refuses_numbers_that_are_none(field, value):
    gaussians = fitted_like(20, INFO)
    quantizer = calibrated(gaussians)
    getattr(gaussians, field)[7, 1] = value
    for refuse in (quantizer.encode, calibrated):
        with pytest.raises(ValueError, match=f"{field} of 1 of 20 Gaussians .* the first is Gaussian 7"):
            refuse(gaussians)


def test_refuses_other_channels_and_shapes():
    quantizer = calibrated(fitted_like(20, INFO))
    grey = fitted_like(20, VideoInfo(8, 8, 8, channels=1))
    with pytest.raises(ValueError, match="made for 3 channels, got 1"):
        quantizer.encode(grey)
    with pytest.raises(ValueError, match="made for 3 channels, got 1"):
        quantizer.round(*grey.in_pixels(), grey.colors)
    with pytest.raises(ValueError, match=r"ranges must be \[9 \+ channels, 3\]"):
        Quantizer(torch.zeros(9, 3))


@pytest.mark.cuda
def test_the_gpu_rounds_like_the_cpu_and_never_waits():
    gaussians = fitted_like(5000, INFO)
    quantizer = calibrated(gaussians)
    inputs = [*gaussians.in_pixels(), gaussians.colors]
    on_gpu, gpu_quantizer = [v.cuda().requires_grad_() for v in inputs], quantizer.to("cuda")
    ones = [torch.ones_like(v) for v in on_gpu]
    gpu_quantizer.round(*on_gpu)  # the first call loads the kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        rounded = gpu_quantizer.round(*on_gpu)
        torch.autograd.backward(rounded, ones)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for a, b in zip(rounded, quantizer.round(*inputs)):
        moved = (a.detach().cpu() - b).abs() > 1e-4 * b.abs().clamp(min=0.1)
        assert moved.float().mean() < 0.01  # a value between two levels may go to either
    # the best of two equal candidates may differ, what it costs may not
    ranges = Quantizer.calibrate(*(v.detach() for v in on_gpu), INFO).ranges.cpu()
    for a, b in zip(relative_errors(gaussians, Quantizer(ranges)), relative_errors(gaussians, quantizer)):
        assert a == pytest.approx(b, rel=0.3)
