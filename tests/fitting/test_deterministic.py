"""The same seed gives the same file, byte by byte."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from garv_gsplat import FitConfig, codec, encode
from garv_gsplat.fitting import GaussianField, fit, seen_frames
from garv_gsplat.fitting.deterministic import deterministic as deterministic_mode
from garv_gsplat.fitting.initialization import draw_from_video
from garv_gsplat.fitting.memory import forecast
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.volume import VideoInfo
from tests.media import pattern

FRAMES = pattern(8, 80, 48, seed=0)
STEPS = 40

RECIPES = {
    "log-cholesky": {},
    "gaussian-image": {"parametrization": "gaussian-image", "schedule": "plateau", "plateau_patience": 0},
    "by rate": {"num_gaussians": None, "bpp": 0.8},
}


def file_of(path: Path, device: torch.device, **settings) -> bytes:
    config = FitConfig(**{"num_gaussians": 600, "batch_frames": 4, **settings})
    encode(FRAMES, path, config, steps=STEPS, device=device)
    return path.read_bytes()


@pytest.mark.parametrize("recipe", RECIPES)
def test_deterministic_fits_give_the_same_file(recipe, device, tmp_path):
    settings = {**RECIPES[recipe], "deterministic": True}
    first = file_of(tmp_path / "first.garv", device, **settings)
    for _ in range(2):
        assert file_of(tmp_path / "again.garv", device, **settings) == first
    assert file_of(tmp_path / "other.garv", device, **settings, seed=1) != first


def test_torchs_own_setting_is_enough(device, deterministic, tmp_path):
    first, second = (file_of(tmp_path / name, device) for name in ("a.garv", "b.garv"))
    assert first == second
    assert file_of(tmp_path / "c.garv", device, deterministic=True) == first


@pytest.mark.parametrize("threads", [1, 3])
def test_on_the_cpu_every_fit_is_deterministic(threads, tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        expected = file_of(tmp_path / "a.garv", torch.device("cpu"), deterministic=True)
        assert file_of(tmp_path / "b.garv", torch.device("cpu")) == expected
    finally:
        torch.set_num_threads(before)


def test_the_mode_ends_with_the_fit():
    def mode_inside(progress) -> None:
        modes.append(torch.are_deterministic_algorithms_enabled())

    modes: list[bool] = []
    config = FitConfig(num_gaussians=20, deterministic=True)
    fit(FRAMES, config, steps=1, device="cpu", progress=mode_inside)
    assert modes == [True] and not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(KeyError), deterministic_mode(True):
        raise KeyError
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_users_own_mode_stays(deterministic):
    torch.use_deterministic_algorithms(True, warn_only=True)
    for wanted in (True, False):
        with deterministic_mode(wanted):
            assert torch.are_deterministic_algorithms_enabled()
            assert torch.is_deterministic_algorithms_warn_only_enabled() is not wanted
    assert torch.is_deterministic_algorithms_warn_only_enabled()


def test_the_start_and_the_file_repeat_themselves(device, deterministic):
    frames = torch.as_tensor(pattern(6, 320, 180, seed=1)).to(device)
    first, second = (draw_from_video(seen_frames(frames, FitConfig()), 20_000, seed=3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second))
    files = [codec.encode(VideoGaussians.from_pixels(*drawn, VideoInfo(320, 180, 6))) for drawn in (first, second)]
    assert files[0] == files[1]


def test_a_step_of_a_larger_fit_repeats_itself(device, deterministic):
    """Tens of thousands of Gaussians, so that threads do meet."""
    frames = torch.as_tensor(pattern(6, 320, 180, seed=1)).to(device)
    field = GaussianField(FitConfig(), VideoInfo(320, 180, 6), 20_000).to(device)
    field.initialize(seen_frames(frames, field.config))
    times = torch.arange(6, device=device) + 0.5
    runs = []
    for _ in range(5):
        image = field(times)
        runs.append([image.detach(), *torch.autograd.grad(image.square().sum(), list(field.parameters()))])
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(runs[0], run))


def test_the_forecast_counts_what_order_costs_on_a_gpu():
    info = VideoInfo(640, 360, 16)
    usual, ordered = (FitConfig(num_gaussians=50_000, deterministic=wanted) for wanted in (False, True))
    assert forecast(info, ordered, "cpu") == forecast(info, usual, "cpu") == forecast(info, usual, "cuda")
    assert forecast(info, ordered, "cuda") > 1.5 * forecast(info, usual, "cuda")
