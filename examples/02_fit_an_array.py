"""Fit frames that are already in memory, with one to eight channels, and keep the Gaussians.

    python examples/02_fit_an_array.py --steps 300

`encode` does fit, save and measure in one call; here they are called one by one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tyro

import garv_gsplat as garv
from garv_gsplat.measuring import compare


def moving_blobs(frames: int, width: int, height: int) -> np.ndarray:
    """[T, H, W, 1] uint8: two soft blobs on their way across a dark picture."""
    t, y, x = np.meshgrid(np.linspace(0, 1, frames), np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    first = np.exp(-((x - 0.2 - 0.6 * t) ** 2 + (y - 0.3) ** 2) / 0.01)
    second = np.exp(-((x - 0.5) ** 2 + (y - 0.9 + 0.7 * t) ** 2) / 0.02)
    return (255 * np.clip(0.1 + 0.6 * first + 0.5 * second, 0, 1)).astype(np.uint8)[..., None]


def main(output_dir: Path = Path("outputs"), num_gaussians: int = 200, steps: int = 600) -> None:
    """Fit a grey clip made by NumPy.

    Args:
        output_dir: folder of the result.
        num_gaussians: how many Gaussians to fit.
        steps: steps of the fit.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    frames = moving_blobs(frames=24, width=96, height=64)
    video = garv.video_from_array(frames, frame_rate=24)

    result = garv.fit(video, garv.FitConfig(num_gaussians=num_gaussians), steps=steps)
    print(f"{result.steps} steps in {result.seconds:.1f} s")

    # The data is that of a whole .garv; result.gaussians are those that it holds.
    path = output_dir / "blobs.garv"
    size = garv.save(path, result.data)
    quality = compare(path, video.frames)
    print(f"{path}: {size} bytes, {garv.GarvFile(result.data).bits_per_pixel:.3f} bpp, {quality.psnr.mean():.2f} dB")

    # One row a Gaussian: where it is in (x, y, t), the Cholesky factor of its covariance, and its colour.
    gaussians = garv.load(path)
    brightest = gaussians.colors[:, 0].argmax()
    x, y, t = gaussians.means[brightest].tolist()
    print(f"brightest of {len(gaussians)} Gaussians: x={x:.2f} y={y:.2f} t={t:.2f}")


if __name__ == "__main__":
    tyro.cli(main)
