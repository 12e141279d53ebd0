"""The loop: it fits, rounds, can be interrupted, and says no before it runs out of memory."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from garv_gsplat.codec import load
from garv_gsplat.fitting import FitConfig, FitMemoryError, check_memory, fit, memory
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


def test_the_result_is_what_the_file_holds():
    result = fit(FRAMES, CONFIG, steps=20, device="cpu")
    assert 250 < len(result.gaussians) <= 300  # those whose colour rounds to nothing are left out
    assert torch.equal(result.gaussians.means, load(result.data).means)


def test_arrays_and_channels():
    grey = np.asarray(FRAMES)[..., :1]
    result = fit(grey, CONFIG, steps=3, device="cpu")
    assert result.gaussians.colors.shape[1] == 1
    assert rasterization(result.gaussians, [0.5]).shape == (1, 32, 48, 1)


def test_gaussian_image_parametrisation_fits_too():
    config = FitConfig(num_gaussians=300, batch_frames=4, parametrization="gaussian-image", schedule="plateau")
    losses = []
    fit(FRAMES, config, steps=60, device="cpu", progress=lambda p: losses.append(p.psnr))
    assert losses[-1] > losses[0]


def test_a_number_of_steps_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="steps must not be negative, got -1"):
        fit(FRAMES, CONFIG, steps=-1, device="cpu")


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
    with pytest.raises(FitMemoryError, match=r"takes about .* GiB, cpu has .* GiB free: "):
        check_memory(info, FitConfig(num_gaussians=1_000_000), torch.device("cpu"))


def test_a_refusal_says_what_would_fit(monkeypatch):
    info, config = VideoInfo(1920, 1080, 1000), FitConfig()
    monkeypatch.setattr(memory, "_available", lambda device: 2 << 30)
    with pytest.raises(
        FitMemoryError, match=r"about [\d.]+ s of the video \(--duration\), \d+ frames, would fit"
    ) as told:
        check_memory(info, config, torch.device("cpu"))
    frames = int(re.search(r"(\d+) frames, would", str(told.value))[1])
    part, longer = VideoInfo(1920, 1080, frames), VideoInfo(1920, 1080, frames * 2)
    check_memory(part, config, torch.device("cpu"))
    with pytest.raises(FitMemoryError):
        check_memory(longer, config, torch.device("cpu"))
    with pytest.raises(FitMemoryError, match="not even one frame would fit"):
        config = FitConfig(num_gaussians=10**12)
        check_memory(info, config, torch.device("cpu"))


def test_frames_that_were_read_are_not_counted_again(monkeypatch):
    info, config = VideoInfo(1920, 1080, 1000), FitConfig(num_gaussians=10)
    free = forecast(info, config) - info.pixels * 3
    monkeypatch.setattr(memory, "_available", lambda device: free)
    check_memory(info, config, torch.device("cpu"), frames_read=True)
    with pytest.raises(FitMemoryError):
        check_memory(info, config, torch.device("cpu"))


def test_the_forecast_counts_frames_and_parameters():
    small, few, many = VideoInfo(64, 48, 10), FitConfig(num_gaussians=1000), FitConfig(num_gaussians=2000)
    assert forecast(small, few) > small.pixels * 3 + 1000 * 12 * 4 * 4
    assert forecast(small, many) - forecast(small, few) >= 1000 * 12 * 4 * 4


_PEAK = """
import re, psutil, torch
from garv_gsplat import FitConfig, VideoInfo, fit
from garv_gsplat.fitting.memory import forecast
fit(torch.zeros(2, 16, 16, 3, dtype=torch.uint8), FitConfig(num_gaussians=4), steps=2, device="cpu")
before = psutil.Process().memory_info().rss  # with all libraries loaded
frames, config = torch.randint(0, 256, (16, 480, 854, 3), dtype=torch.uint8), FitConfig(num_gaussians=50_000)
fit(frames, config, steps=3, device="cpu")
# not ru_maxrss, which a process takes over from the one that started it
peak = 1024 * int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
print(peak - before, forecast(VideoInfo(854, 480, 16), config))
"""


def test_the_forecast_is_no_less_than_what_a_cpu_fit_takes():
    output = subprocess.run([sys.executable, "-c", _PEAK], check=True, capture_output=True, text=True).stdout
    taken, expected = map(int, output.split())
    assert taken <= expected <= 4 * taken


@pytest.mark.cuda
@pytest.mark.parametrize("deterministic", [False, True])
def test_the_forecast_is_no_less_than_what_a_gpu_fit_takes(deterministic):
    info, config = VideoInfo(640, 360, 16), FitConfig(num_gaussians=50_000, deterministic=deterministic)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    fit(pattern(16, 640, 360, seed=0), config, steps=5, device="cuda")
    taken = torch.cuda.max_memory_allocated() - before
    assert taken <= forecast(info, config, "cuda") <= 4 * taken
