"""The loop: it fits, rounds, repeats itself, can be interrupted, and says no before it runs out of memory."""

from __future__ import annotations

import math
import os
import signal

import numpy as np
import pytest
import torch

from garv_gsplat.fitting import FitConfig, FitMemoryError, check_memory, fit
from garv_gsplat.fitting.memory import forecast
from garv_gsplat.metrics import psnr
from garv_gsplat.rendering import rasterization
from garv_gsplat.volume import VideoInfo
from tests.media import pattern

FRAMES = pattern(8, 48, 32, seed=0)
CONFIG = FitConfig(num_gaussians=300, batch_frames=4)


def quality(result) -> float:
    frames = rasterization(result.gaussians, result.gaussians.info.frame_centers())
    return psnr((frames.clamp(0, 1) * 255 + 0.5).to(torch.uint8).cpu(), torch.as_tensor(FRAMES))


def test_a_fit_comes_near_its_video(device):
    few = fit(FRAMES, CONFIG, steps=5, device=device)
    many = fit(FRAMES, CONFIG, steps=150, device=device)
    assert many.steps == 150 and not many.interrupted
    assert quality(many) > quality(few) + 5


def test_the_result_is_what_the_file_will_hold():
    result = fit(FRAMES, CONFIG, steps=20, device="cpu")
    values = (*result.gaussians.in_pixels(), result.gaussians.colors)
    for value, rounded in zip(values, result.quantizer.round(*values)):
        torch.testing.assert_close(value, rounded, rtol=1e-4, atol=1e-4)


def test_the_same_seed_gives_the_same_fit():
    a, b = (fit(FRAMES, CONFIG, steps=12, device="cpu").gaussians for _ in range(2))
    assert torch.equal(a.means, b.means) and torch.equal(a.cholesky, b.cholesky) and torch.equal(a.colors, b.colors)


def test_arrays_and_channels():
    grey = np.asarray(FRAMES)[..., :1]
    result = fit(grey, CONFIG, steps=3, device="cpu")
    assert result.gaussians.colors.shape == (300, 1)
    assert rasterization(result.gaussians, [0.5]).shape == (1, 32, 48, 1)


def test_gaussian_image_parametrisation_fits_too():
    config = FitConfig(num_gaussians=300, batch_frames=4, parametrization="gaussian-image", schedule="plateau")
    losses = []
    fit(FRAMES, config, steps=60, device="cpu", progress=lambda p: losses.append(p.psnr))
    assert losses[-1] > losses[0]


def test_progress_is_reported():
    seen = []
    fit(FRAMES, CONFIG, steps=30, device="cpu", progress=seen.append)
    assert [p.step for p in seen] == [1, 26, 30]
    assert all(p.steps == 30 and math.isfinite(p.psnr) for p in seen)


def test_ctrl_c_keeps_what_is_fitted():
    def interrupt(progress) -> None:
        if progress.step > 1:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    result = fit(FRAMES, CONFIG, steps=10_000, device="cpu", progress=interrupt)
    assert result.interrupted and 25 < result.steps < 100
    assert quality(result) > 10
    assert signal.getsignal(signal.SIGINT) is before


def test_one_frame_of_one_pixel():
    result = fit(np.full((1, 1, 1, 3), 200, np.uint8), FitConfig(num_gaussians=2), steps=50, device="cpu")
    assert torch.isfinite(rasterization(result.gaussians, [0.5])).all()


def test_too_large_a_video_is_refused_before_it_starts():
    info = VideoInfo(7680, 4320, 100_000)
    with pytest.raises(FitMemoryError, match=r"takes about .* GiB, cpu has .* GiB free: about .* s of the video"):
        check_memory(info, FitConfig(), 1_000_000, torch.device("cpu"))


def test_the_forecast_counts_frames_and_parameters():
    small, config = VideoInfo(64, 48, 10), FitConfig()
    assert forecast(small, config, 1000) > small.pixels * 3 + 1000 * 12 * 4 * 4
    assert forecast(small, config, 2000) - forecast(small, config, 1000) >= 1000 * 12 * 4 * 4


@pytest.mark.cuda
def test_the_forecast_is_no_less_than_what_a_gpu_fit_takes():
    info, config = VideoInfo(640, 360, 16), FitConfig(num_gaussians=50_000)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    fit(pattern(16, 640, 360, seed=0), config, steps=5, device="cuda")
    taken = torch.cuda.max_memory_allocated() - before
    assert taken <= forecast(info, config, 50_000) <= 4 * taken
