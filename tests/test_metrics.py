"""metrics: values known by hand, an independent formula, and bounded memory."""

from __future__ import annotations

import math

import pytest
import torch

from garv_gsplat import metrics
from garv_gsplat.metrics import (
    PSNR_CAP,
    ms_ssim,
    psnr,
    psnr_per_frame,
    temporal_consistency,
    temporal_consistency_per_step,
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def textured(frames: int, height: int, width: int) -> torch.Tensor:
    """[T, H, W, 3] uint8 with structure at several scales."""
    t, y, x = torch.meshgrid(*(torch.arange(n) for n in (frames, height, width)), indexing="ij")
    waves = torch.stack([torch.sin(x / (3 + k) + t) + torch.cos(y / (11 + k)) for k in range(3)], -1)
    return (127 + 60 * waves).clamp(0, 255).to(torch.uint8)


def test_psnr_of_a_difference_of_one():
    a = torch.full((2, 5, 7, 3), 100, dtype=torch.uint8)
    assert psnr(a, a + 1) == pytest.approx(20 * math.log10(255), abs=1e-9)


def test_psnr_does_not_wrap_around():
    a, b = torch.zeros(1, 4, 4, 3, dtype=torch.uint8), torch.full((1, 4, 4, 3), 255, dtype=torch.uint8)
    assert psnr(a, b) == pytest.approx(0, abs=1e-9)


def test_psnr_is_the_mean_over_frames_not_of_the_error():
    a = torch.full((2, 4, 4, 3), 100, dtype=torch.uint8)
    b = a.clone()
    b[0] += 1
    b[1] += 10
    per_frame = psnr_per_frame(a, b)
    assert per_frame.tolist() == pytest.approx([20 * math.log10(255), 20 * math.log10(25.5)])
    assert psnr(a, b) == pytest.approx(per_frame.mean().item())


def test_psnr_matches_the_formula_in_float64():
    a, b = noise(3, 17, 23, 3), noise(3, 17, 23, 3, seed=1)
    expected = [10 * math.log10(255**2 / ((x.double() - y.double()) ** 2).mean().item()) for x, y in zip(a, b)]
    per_frame = psnr_per_frame(a, b)
    assert per_frame.dtype == torch.float64
    assert per_frame.tolist() == pytest.approx(expected, abs=1e-12)


def test_floats_count_from_0_to_1():
    a, b = noise(2, 9, 9, 3), noise(2, 9, 9, 3, seed=1)
    assert psnr(a.double() / 255, b.double() / 255) == pytest.approx(psnr(a, b), abs=1e-9)


def test_identical_frames_are_100_db_and_nothing_is_more():
    a = noise(2, 4, 4, 3)
    assert psnr(a, a) == PSNR_CAP == 100
    assert psnr(a.double() / 255, a.double() / 255 + 1e-9) == PSNR_CAP


def test_large_frames_are_summed_in_pieces_without_losing_any(monkeypatch):
    a, b = noise(2, 31, 13, 3), noise(2, 31, 13, 3, seed=1)
    whole = psnr_per_frame(a, b), temporal_consistency_per_step(a, b)
    monkeypatch.setattr(metrics, "CHUNK_VALUES", 100)
    assert torch.equal(psnr_per_frame(a, b), whole[0])
    assert torch.equal(temporal_consistency_per_step(a, b), whole[1])


@pytest.mark.parametrize("channels", [1, 8])
def test_other_channel_counts(channels):
    a = noise(1, 4, 4, channels)
    assert psnr(a, a) == PSNR_CAP


def test_errors_that_stay_are_consistent():
    a = textured(4, 20, 30)
    assert temporal_consistency(a, a // 2 + 60) < 100  # an error that follows what moves
    assert temporal_consistency(a, a) == PSNR_CAP
    still = a[:1].expand(4, -1, -1, -1)
    assert temporal_consistency(still, (still // 2) + 60) == PSNR_CAP


def test_errors_that_flicker_are_not():
    """An error of 1 that changes its sign changes by 2 a frame."""
    a = torch.full((3, 5, 7, 3), 100, dtype=torch.uint8)
    b = a + torch.tensor([1, -1, 1]).to(torch.uint8)[:, None, None, None]  # -1 wraps around to 99
    assert temporal_consistency_per_step(a, b).tolist() == pytest.approx([20 * math.log10(255 / 2)] * 2)
    assert psnr(a, b) - temporal_consistency(a, b) == pytest.approx(20 * math.log10(2))


def test_independent_errors_cost_3_db():
    generator = torch.Generator().manual_seed(0)
    a = torch.full((20, 64, 64, 3), 0.5)
    b = a + 0.05 * torch.randn(a.shape, generator=generator)
    assert psnr(a, b) - temporal_consistency(a, b) == pytest.approx(10 * math.log10(2), abs=0.02)  # 12 288 values each


def test_changes_do_not_wrap_around():
    black, white = (torch.full((1, 4, 4, 3), value, dtype=torch.uint8) for value in (0, 255))
    a, b = torch.cat([black, white]), torch.cat([white, black])
    assert temporal_consistency(a, b) == pytest.approx(20 * math.log10(255 / 510))
    assert temporal_consistency(a.double() / 255, b.double() / 255) == pytest.approx(20 * math.log10(255 / 510))


def test_a_single_frame_does_not_change():
    a = noise(1, 4, 4, 3)
    assert temporal_consistency(a, a) is None
    assert len(temporal_consistency_per_step(a, a)) == 0


@pytest.mark.parametrize("metric", [psnr, psnr_per_frame, ms_ssim, temporal_consistency, temporal_consistency_per_step])
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (noise(2, 4, 4, 3), noise(1, 4, 4, 3), "one shape"),
        (noise(4, 4, 3), noise(4, 4, 3), "one shape"),
        (noise(0, 4, 4, 3), noise(0, 4, 4, 3), "one shape"),
        (noise(1, 4, 4, 3), noise(1, 4, 4, 3).float(), "both as uint8 or both as floats"),
        (noise(1, 4, 4, 3).int(), noise(1, 4, 4, 3).int(), "both as uint8 or both as floats"),
    ],
)
def test_bad_pairs(metric, a, b, message):
    with pytest.raises(ValueError, match=message):
        metric(a, b)


def test_ms_ssim_is_1_for_identical_and_falls_with_noise():
    pytest.importorskip("pytorch_msssim")
    a = textured(2, 170, 180)
    generator = torch.Generator().manual_seed(0)
    noisy = (a + 40 * torch.randn(a.shape, generator=generator)).clamp(0, 255).to(torch.uint8)
    assert ms_ssim(a, a) == pytest.approx(1, abs=1e-6)
    assert 0.3 < ms_ssim(a, noisy) < 0.97
    assert ms_ssim(a.float() / 255, noisy.float() / 255) == pytest.approx(ms_ssim(a, noisy), abs=1e-5)


def test_ms_ssim_does_not_depend_on_the_chunks(monkeypatch):
    pytest.importorskip("pytorch_msssim")
    a = textured(3, 165, 161)
    b = a.roll(1, 2)
    whole = ms_ssim(a, b)
    monkeypatch.setattr(metrics, "CHUNK_VALUES", 1)
    assert ms_ssim(a, b) == pytest.approx(whole, abs=1e-6)


def test_ms_ssim_wants_161_pixels():
    pytest.importorskip("pytorch_msssim")
    assert ms_ssim(textured(1, 160, 300), textured(1, 160, 300)) is None
    assert ms_ssim(textured(1, 161, 161), textured(1, 161, 161)) is not None
