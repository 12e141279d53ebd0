"""Denoising (section 4.6): a noisy video fitted without its noise, beside filters.

python examples/benchmarks/paper/denoising.py clips/ --output results/
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from experiment import UVG, Clip, Experiment, Figure, Row, bits_per_pixel, main, mean
from scipy.ndimage import median_filter
from skimage.restoration import denoise_nl_means

import garv_gsplat as garv
from garv_gsplat.measuring import compare
from garv_gsplat.metrics import psnr

MEDIANS = ((1, 3, 3), (1, 5, 5), (3, 1, 1), (3, 3, 3), (3, 5, 5), (5, 1, 1), (5, 3, 3))
"""sizes over t, y, x"""
AT_ONCE = 8
"""frames that one thread filters"""


@dataclass
class Denoising(Experiment):
    """White noise is added and clipped to 8 bits; `denoise` chooses the number of Gaussians from the noisy frames
    alone. PSNR is that against the clean frames, which only choose the best of the medians' sizes for these. Non-local
    means work on single frames and are told the noise's sigma."""

    noisy: float = 23.71
    """dB of the noisy video"""
    shown: dict[str, np.ndarray] = field(default_factory=dict, init=False)
    """parts of the first clip's middle frame, for the figure"""

    name: ClassVar[str] = "denoising"
    title: ClassVar[str] = "Denoising of white noise (section 4.6)"
    columns: ClassVar[dict[str, tuple[str, str]]] = {
        "noisy_psnr": ("noisy, dB", ".2f"),
        "psnr": ("fit, dB", ".2f"),
        "median_psnr": ("best 3D median, dB", ".2f"),
        "median": ("its size (t, y, x)", "s"),
        "nl_means_psnr": ("non-local means, dB", ".2f"),
        "bpp": ("bpp", ".3f"),
    }
    paper: ClassVar[list[Row]] = [
        {"by": "GaRV", **UVG, "noisy_psnr": 23.71, "psnr": 32.36},
        {"by": "HNeRV", **UVG, "noisy_psnr": 23.71, "psnr": 30.85},
        {"by": "median filter", **UVG, "noisy_psnr": 23.71, "median_psnr": 30.49},
    ]

    def measure(self, clip: Clip) -> Iterator[Row]:
        """One fit, and the filters beside it."""
        clean = clip.video.frames
        sigma = sigma_for(clean, self.noisy)
        noisy = with_noise(clean, sigma)
        config = garv.FitConfig(denoise=True)
        variant = f"noise_{self.noisy:g}dB_denoise"
        path = self.encode(clip, config.bpp, frames=noisy, config=config, variant=variant)
        medians = {}
        for size in MEDIANS:
            self.note(f"{clip.path.stem}: median of {' x '.join(map(str, size))}")
            medians[size] = psnr(median(noisy, size), clean)
        best = max(medians, key=medians.__getitem__)
        self.note(f"{clip.path.stem}: non-local means")
        if not self.shown:
            decoded = garv.VideoDecoder(path, device=self.where, dimension_order="NHWC")[len(clean) // 2].cpu()
            for name, frame in (("noisy", noisy[len(clean) // 2]), ("fit", decoded), ("clean", clean[len(clean) // 2])):
                self.shown[name] = middle(frame).numpy()
        yield {
            "noisy_psnr": psnr(noisy, clean),
            "psnr": compare(path, clean, self.where).psnr.mean().item(),
            "median_psnr": medians[best],
            "median": " x ".join(map(str, best)),
            "nl_means_psnr": psnr(nl_means(noisy, sigma), clean),
            "bpp": bits_per_pixel(path),
        }

    def draw(self, figure: Figure, rows: list[Row]) -> None:
        """The first clip's middle: noisy, fitted, clean."""
        for axes, (name, image) in zip(figure.subplots(1, len(self.shown)), self.shown.items()):
            axes.imshow(image)
            axes.set(title=name, xticks=[], yticks=[])

    def summary(self, rows: list[Row]) -> str:
        """Means over the clips."""
        keys = ("noisy_psnr", "psnr", "median_psnr", "nl_means_psnr")
        noisy, fitted, medians, nl = (mean(rows, key) for key in keys)
        return f"from {noisy:.2f} dB to {fitted:.2f} dB; medians {medians:.2f} dB, non-local means {nl:.2f} dB"


def sigma_for(frames: torch.Tensor, wanted: float) -> float:
    """The noise's sigma, in grey levels, that leaves frames [T, H, W, C] at a PSNR; clipping takes some of it."""
    some = frames[:: max(1, len(frames) // 8)]
    sigma = 255 / 10 ** (wanted / 20)
    for _ in range(4):
        sigma *= 10 ** ((psnr(with_noise(some, sigma), some) - wanted) / 20)
    return sigma


def with_noise(frames: torch.Tensor, sigma: float) -> torch.Tensor:
    """Frames [T, H, W, C] uint8 with white noise, rounded and clipped to 8 bits; the same every time."""
    generator = torch.Generator().manual_seed(0)
    noisy = [frame + sigma * torch.randn(frame.shape, generator=generator) for frame in frames]
    return torch.stack([frame.round().clamp(0, 255).to(torch.uint8) for frame in noisy])


def median(frames: torch.Tensor, size: tuple[int, int, int]) -> torch.Tensor:
    """Medians over t, y, x of each channel."""
    video, reach = frames.numpy(), size[0] // 2

    def part(first: int) -> np.ndarray:
        start = max(0, first - reach)
        filtered = median_filter(video[start : first + AT_ONCE + reach], (*size, 1))
        return filtered[first - start :][:AT_ONCE]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return torch.from_numpy(np.concatenate([*pool.map(part, range(0, len(video), AT_ONCE))]))


def nl_means(frames: torch.Tensor, sigma: float) -> torch.Tensor:
    """Non-local means of each frame, with the settings of scikit-image's example for a known sigma (h = 0.8 sigma)."""
    known = sigma / 255
    settings = {"h": 0.8 * known, "sigma": known, "patch_size": 5, "patch_distance": 6, "channel_axis": -1}

    def one(frame: np.ndarray) -> np.ndarray:
        image = denoise_nl_means(frame / 255, fast_mode=True, **settings)
        return (255 * image.clip(0, 1)).round().astype(np.uint8)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return torch.from_numpy(np.stack([*pool.map(one, frames.numpy())]))


def middle(frame: torch.Tensor) -> torch.Tensor:
    """The middle of a frame [H, W, C], a quarter of it to a side."""
    height, width = frame.shape[:2]
    return frame[height * 3 // 8 : height * 5 // 8 + 1, width * 3 // 8 : width * 5 // 8 + 1]


if __name__ == "__main__":
    main(Denoising)
