"""Frames that are held out: none of a fit's parts sees them, and they come out interpolated."""

from __future__ import annotations

import pytest
import torch

from garv_gsplat.fitting import FitConfig, fit, held_out, seen_frames
from garv_gsplat.metrics import psnr_per_frame
from garv_gsplat.rendering import rasterization
from tests.media import pattern

FRAMES = torch.as_tensor(pattern(9, 48, 32, seed=0))


@pytest.mark.parametrize(
    ("frames", "every", "out"), [(6, 2, [1, 3]), (7, 2, [1, 3, 5]), (9, 3, [2, 5]), (2, 2, []), (1, 2, [])]
)
def test_which_frames_are_held_out(frames, every, out):
    assert held_out(frames, every).nonzero()[:, 0].tolist() == out


def test_what_is_seen_keeps_its_time():
    seen = seen_frames(FRAMES, FitConfig(hold_out=3))
    assert seen.times.tolist() == [0.5, 1.5, 3.5, 4.5, 6.5, 7.5, 8.5]
    assert torch.equal(seen.frames, FRAMES[[0, 1, 3, 4, 6, 7, 8]])
    everything = seen_frames(FRAMES, FitConfig())
    assert everything.frames is FRAMES and everything.times.tolist() == [k + 0.5 for k in range(9)]


@pytest.mark.parametrize(
    "settings",
    [
        {"num_gaussians": 200},
        {"bpp": 2.0},
        {"psnr": 25.0},
        {"bpp": 3.0, "codec": "paper16-8-8"},
        {"num_gaussians": 200, "parametrization": "gaussian-image", "schedule": "plateau", "plateau_patience": 0},
    ],
)
def test_a_fit_does_not_depend_on_frames_that_are_held_out(settings):
    poisoned = FRAMES.clone()
    out = held_out(len(FRAMES), 2)
    poisoned[out] = torch.randint(0, 256, poisoned[out].shape, dtype=torch.uint8)
    config = FitConfig(hold_out=2, batch_frames=4, **settings)
    assert fit(FRAMES, config, steps=30, device="cpu").data == fit(poisoned, config, steps=30, device="cpu").data


def test_frames_that_are_held_out_are_interpolated():
    frames = torch.stack([torch.as_tensor(pattern(1, 64, 48, seed=0))[0].roll(2 * k, 1) for k in range(13)])
    config = FitConfig(num_gaussians=400, hold_out=2, batch_frames=7)
    gaussians = fit(frames, config, steps=300, device="cpu").gaussians
    assert gaussians.info.frames == 13
    images = (rasterization(gaussians, gaussians.info.frame_centers()).clamp(0, 1) * 255 + 0.5).to(torch.uint8)
    out = held_out(13, 2)
    (inside,) = out.nonzero(as_tuple=True)
    averages = ((frames[inside - 1].float() + frames[inside + 1].float()) / 2).to(torch.uint8)
    assert psnr_per_frame(images[out], frames[out]).mean() > psnr_per_frame(averages, frames[out]).mean()
