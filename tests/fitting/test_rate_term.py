"""What a Gaussian's bits cost: the formula against files, and the gradient against the formula."""

from __future__ import annotations

import math

import pytest
import torch

from garv_gsplat import codec
from garv_gsplat.fitting import FitConfig, GaussianField, fit
from garv_gsplat.fitting.rate import price_of
from garv_gsplat.fitting.rate_term import add_rate
from garv_gsplat.gaussians import VideoGaussians, energies
from garv_gsplat.volume import VideoInfo
from tests.codec.samples import fitted_like
from tests.media import pattern

INFO = VideoInfo(320, 180, 48)


def bits_of(attributes: torch.Tensor) -> torch.Tensor:
    """The bits of Gaussians [N], but for a constant; attributes [N, 9 + C] of `LogCholesky`."""
    logs = attributes[:, 3:6].sum(1)
    energy = attributes[:, 9:].square().sum(1).log() + logs
    return (0.5 * attributes.shape[1] * energy - logs) / math.log(2)


@pytest.mark.parametrize(("wider", "brighter", "more"), [(1.0, 2.0, 12), (1.5, 1.0, 15 * math.log2(1.5))])
def test_a_file_takes_about_the_bits_that_the_formula_says(wider, brighter, more):
    gaussians = fitted_like(4000, INFO)
    means, cholesky = gaussians.in_pixels()
    changed = VideoGaussians.from_pixels(means, wider * cholesky, brighter * gaussians.colors, INFO)
    before, after = (8 * len(codec.encode(each, step=0.05)) / 4000 for each in (gaussians, changed))
    assert after - before == pytest.approx(more, rel=0.15)


def test_the_gradient_is_that_of_the_bits_and_only_rows_that_are_seen_have_one():
    attributes = torch.rand(6, 12, generator=torch.Generator().manual_seed(0)) + 0.5
    attributes[:, 3] = math.log(1e3)  # every frame shows them
    attributes.requires_grad_(True)
    (wanted,) = torch.autograd.grad(bits_of(attributes).sum(), attributes)
    attributes.grad = torch.zeros_like(attributes)
    attributes.grad[::2, 0] = 1.0
    add_rate(attributes, torch.tensor(3.0), 48, 8, 1 / 255)
    attributes.grad[::2, 0] -= 1.0
    torch.testing.assert_close(attributes.grad[::2], 3 * math.log(2) * wanted[::2], rtol=1e-3, atol=1e-6)
    assert (attributes.grad[1::2] == 0).all()


def test_those_that_few_steps_see_pay_for_the_others_in_these():
    """A Gaussian that 4 of 40 frames show is seen by one in ten steps of one frame."""
    attributes = torch.ones(2, 12, requires_grad=True)
    with torch.no_grad():
        attributes[:, 3] = torch.tensor([1e3, 0.5 * 4 / math.sqrt(2 * math.log(255))]).log()
    attributes.grad = torch.ones_like(attributes)
    add_rate(attributes, torch.tensor(1.0), 40, 1, 1 / 255)
    torch.testing.assert_close((attributes.grad[1] - 1) / (attributes.grad[0] - 1).clamp(min=1e-9), 10 * seen_columns())


def seen_columns() -> torch.Tensor:
    """The columns [12] that the bits depend on."""
    return torch.tensor([0.0] * 3 + [1.0] * 3 + [0.0] * 3 + [1.0] * 3)


def test_the_price_grows_and_is_nothing_where_bits_do_not_count():
    field = GaussianField(FitConfig(), INFO, 100)
    prices = [price_of(field, progress, factor=0.0) for progress in (0.0, 0.14, 0.24, 1.0)]
    assert prices[0] == 0 and prices[1] == pytest.approx(prices[3] / 2) and prices[2] == prices[3] > 0
    without = [{"codec": "sog"}, {"codec": "paper16-8-8"}, {"schedule": "plateau"}]
    for settings in (*without, {"num_gaussians": 100}, {"denoise": True}, {"rate_weight": 0.0}):
        assert price_of(GaussianField(FitConfig(**settings), INFO, 100), 1.0, factor=0.0) == 0
    image = FitConfig(parametrization="gaussian-image")
    assert price_of(GaussianField(image, INFO, 100), 1.0, factor=0.0) == 0


def test_a_fit_by_rate_has_less_energy(device):
    frames = torch.as_tensor(pattern(8, 96, 64, seed=0))
    means = []
    for weight in (0.0, 0.35):
        config = FitConfig(bpp=0.6, batch_frames=4, relocations=0, rate_weight=weight)
        fitted = fit(frames, config, steps=200, device=device).gaussians
        means.append(energies(fitted.in_pixels()[1], fitted.colors, fitted.info).log2().mean().item())
    assert means[1] < means[0] - 0.25
