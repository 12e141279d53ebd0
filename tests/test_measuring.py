"""measuring: quality does not depend on how frames come, speed and memory are of what is decoded."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import torch

from garv_gsplat import measuring
from garv_gsplat.codec import encode, save
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.measuring import peak_memory, quality, speed
from garv_gsplat.metrics import ms_ssim, psnr_per_frame, temporal_consistency
from garv_gsplat.volume import VideoInfo


def pair(frames: int = 7, height: int = 20, width: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames [T, H, W, 3] uint8, and the same with errors."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randint(0, 200, (frames, height, width, 3), dtype=torch.uint8, generator=generator)
    return a, a + torch.randint(0, 9, a.shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_quality_does_not_depend_on_the_batches(batch, device):
    a, b = pair(3, 161, 165)
    found = quality(b.to(device).split(batch), a, thorough=True)
    assert torch.equal(found.psnr, psnr_per_frame(a, b))
    assert found.temporal_consistency == pytest.approx(temporal_consistency(a, b))
    assert found.ms_ssim == pytest.approx(ms_ssim(a, b), abs=1e-6)  # float32, summed in another order


def test_only_what_is_asked_for_and_defined():
    a, b = pair()
    found = quality([b], a)
    assert (found.ms_ssim, found.temporal_consistency) == (None, None)
    small = quality([b[:1]], a[:1], thorough=True)
    assert (small.ms_ssim, small.temporal_consistency) == (None, None)


def test_every_batch_is_shown():
    a, b = pair()
    seen = []
    quality(b.split(3), a, on_batch=lambda first, source, decoded: seen.append((first, source, decoded)))
    assert [first for first, _, _ in seen] == [0, 3, 6]
    assert torch.equal(torch.cat([source for _, source, _ in seen]), a)
    assert torch.equal(torch.cat([decoded for _, _, decoded in seen]), b)


def test_all_frames_must_come():
    a, b = pair()
    with pytest.raises(ValueError, match="5 frames were decoded, the source has 7; give all of them"):
        quality([b[:5]], a)
    with pytest.raises(ValueError, match="one shape"):
        quality([b], a[:5])


def test_a_report_counts_sound_as_bytes_and_not_as_rate(tmp_path):
    path, info = tmp_path / "v.garv", VideoInfo(32, 16, 4)
    gaussians = VideoGaussians(torch.rand(5, 3), torch.full((5, 6), 0.1), torch.rand(5, 3), info)
    save(path, encode(gaussians, tracks=bytes(3000)))
    found = measuring.report(path, None, "cpu")
    assert found.bytes == path.stat().st_size
    assert found.bpp == 8 * (found.bytes - 3000) / (32 * 16 * 4)


def test_speed():
    """8 frames that take 40 ms, after a first batch that does not count."""

    def decode():
        for _ in range(2):
            time.sleep(0.02)
            yield torch.zeros(4, 1)

    assert 20 < speed(decode, torch.device("cpu")) <= 200  # a busy machine sleeps longer


def test_peak_memory_of_the_process(monkeypatch):
    """What the system says afterwards; what it says is not ours to test, and a process inherits its parent's peak."""
    peak = [SimpleNamespace(ru_maxrss=1024)]
    monkeypatch.setattr(measuring.resource, "getrusage", lambda _: peak[-1])

    def work() -> str:
        peak.append(SimpleNamespace(ru_maxrss=3 * 1024))
        return "done"

    assert peak_memory(torch.device("cpu"), work) == ("done", 3)


@pytest.mark.cuda
def test_peak_memory_on_a_gpu():
    held = torch.ones(8 << 20, dtype=torch.uint8, device="cuda")
    _, megabytes = peak_memory(held.device, lambda: torch.ones(4 << 20, dtype=torch.uint8, device="cuda"))
    assert 4 <= megabytes < 6
