"""A fit of noisy frames: what comes out lacks the noise, and nobody says how much of it there is."""

from __future__ import annotations

import functools

import pytest
import torch

from garv_gsplat.codec import load
from garv_gsplat.fitting import FitConfig, GaussianField, fit
from garv_gsplat.fitting.denoising import fitted_noise, neighbour_correlation, whitening_gaussians
from garv_gsplat.fitting.seen import SeenFrames, seen_frames
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.metrics import psnr
from garv_gsplat.rendering import rasterization
from garv_gsplat.volume import VideoInfo
from tests.media import pattern

CLEAN = torch.as_tensor(pattern(12, 64, 48, seed=0))
INFO = VideoInfo(64, 48, 12)


def noise(sigma: float) -> torch.Tensor:
    return sigma * torch.randn(CLEAN.shape, generator=torch.Generator().manual_seed(1))


def with_noise(sigma: float) -> torch.Tensor:
    return (CLEAN + noise(sigma)).round().clamp(0, 255).to(torch.uint8)


@functools.lru_cache
def denoised(sigma: float) -> VideoGaussians:
    config = FitConfig(denoise=True, batch_frames=4)
    return load(fit(with_noise(sigma), config, steps=200, device="cpu").data)


def grey_field(n: int = 100) -> GaussianField:
    """One that shows about a grey of 100 everywhere, by Gaussians four times as wide as the volume."""
    field = GaussianField(FitConfig(), INFO, n)
    middle, widths = torch.tensor([[32.0, 24.0, 6.0]]), torch.tensor([[48.0, 0, 0, 256.0, 0, 192.0]])
    field.set_values(middle.repeat(n, 1), widths.repeat(n, 1), torch.full((n, 3), 100 / 255 / n))
    return field


def seen(values: torch.Tensor) -> SeenFrames:
    return seen_frames(values.round().clamp(0, 255).to(torch.uint8), FitConfig())


def test_white_noise_is_not_correlated_and_a_video_is():
    white = torch.where(noise(1.0) > 0, 100.0, -100.0)
    blurred = torch.nn.functional.avg_pool2d(white.permute(0, 3, 1, 2), 3, 1, 1).permute(0, 2, 3, 1)
    # 1 / sqrt(2 x 110,592 values) is 0.002, and the grey is 2 % less in the corners
    assert neighbour_correlation(grey_field(), seen(100 + white)) == pytest.approx(0, abs=0.01)
    assert neighbour_correlation(grey_field(), seen(100 + blurred)) == pytest.approx(2 / 3, abs=0.03)


def test_the_number_follows_the_correlation_and_changes_by_little_at_a_time():
    video, white = seen(CLEAN.float()), seen(100 + 30 * torch.sign(noise(1.0)))
    assert whitening_gaussians(grey_field(), video, factor=1.0) == 115
    assert whitening_gaussians(grey_field(), white, factor=0.0) == pytest.approx(100, abs=3)
    assert whitening_gaussians(grey_field(1000), white, factor=1.0) == 850


def test_the_noise_that_is_taken_up_goes_with_the_number():
    few, many = (fitted_noise(GaussianField(FitConfig(), INFO, n), 1e-3) for n in (100, 200))
    assert many == 2 * few == pytest.approx(1e-3 * 12 * 200 / (64 * 48 * 12 * 3))


def test_what_comes_out_is_nearer_to_the_clean_frames():
    images = rasterization(denoised(25.0), INFO.frame_centers())
    result = (images.clamp(0, 1) * 255 + 0.5).to(torch.uint8)
    assert psnr(result, CLEAN) > psnr(with_noise(25.0), CLEAN) + 5


def test_more_noise_takes_fewer_gaussians():
    assert len(denoised(50.0)) < 0.8 * len(denoised(8.0))
