"""Look at a video from the side: line scans along time, and a zoom whose every frame shows another part.

    python examples/03_line_scan_and_zoom.py --file outputs/demo_bunny_320x180_48f.garv

A line scan is a slice across x or y instead of t, so no frame is rendered to make it.
"""

from __future__ import annotations

from pathlib import Path

import torch
import tyro
from PIL import Image

import garv_gsplat as garv


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """Floats around [0, 1] as 8 bits."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


def main(file: Path, output_dir: Path = Path("outputs")) -> None:
    """Make two line scans and a zoom.

    Args:
        file: the .garv, for example that of 00_encode_and_decode.py.
        output_dir: folder of the results.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    gaussians = garv.load(file)
    info = gaussians.info

    # axis="y": the middle row over time, columns x and rows t; stretched in time to twice the number of frames.
    row = garv.rasterization(gaussians, [0.5], axis="y", size=(info.width, 2 * info.frames))[0]
    Image.fromarray(to_uint8(row).cpu().numpy()).save(output_dir / "scan_of_a_row.png")

    # axis="x": the middle column over time, columns t and rows y; the second half of the video only.
    second_half = garv.Box(t0=0.5)
    column = garv.rasterization(gaussians, [0.5], axis="x", crop=second_half)[0]
    Image.fromarray(to_uint8(column).cpu().numpy()).save(output_dir / "scan_of_a_column.png")
    print(f"line scans: {row.shape[1]}x{row.shape[0]} and {column.shape[1]}x{column.shape[0]}")

    # A camera that moves in on the centre: the crop shrinks from frame to frame, the size stays.
    path = output_dir / "zoom.mp4"
    with garv.VideoWriter(path, info) as writer:
        for t in info.frame_centers():
            margin = 0.3 * t
            box = garv.Box(x0=margin, y0=margin, x1=1 - margin, y1=1 - margin)
            frame = garv.rasterization(gaussians, [t], crop=box, size=(info.width, info.height))
            writer.write(to_uint8(frame))
    print(f"{path}: {info.frames} frames")


if __name__ == "__main__":
    tyro.cli(main)
