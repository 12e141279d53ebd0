"""Look at a video from the side: line scans, an oblique slice, one pixel, and a zoom into every frame.

    python examples/03_line_scan_and_zoom.py --file outputs/demo_bunny_320x180_48f.garv

These are slices across other axes than t, so no frame is rendered to make them.
"""

from __future__ import annotations

from pathlib import Path

import torch
import tyro
from PIL import Image

import garv_gsplat as garv


def save_image(path: Path, image: torch.Tensor) -> None:
    """Save one image, uint8 [H, W, 3]."""
    Image.fromarray(image.cpu().numpy()).save(path)
    print(f"{path}: {image.shape[1]}x{image.shape[0]}")


def main(file: Path, output_dir: Path = Path("outputs")) -> None:
    """Make two line scans, an oblique slice, a pixel's trace and a zoom.

    Args:
        file: the .garv, for example that of 00_encode_and_decode.py.
        output_dir: folder of the results.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    decoder = garv.VideoDecoder(file, dimension_order="NHWC")
    info = decoder.metadata

    # The middle row over time, columns x and rows t, stretched in time to twice the number of frames.
    row = decoder.line_scan("y", info.height // 2, size=(info.width, 2 * info.frames))
    save_image(output_dir / "scan_of_a_row.png", row)
    # The middle column over time, columns t and rows y.
    save_image(output_dir / "scan_of_a_column.png", decoder.line_scan("x", info.width // 2))
    # A plane that leans: from the first frame at its left edge to the last one at its right edge.
    step = (1, 0, (info.frames - 1) / max(1, info.width - 1))
    leaning = decoder.slice_plane((0, 0, 0), step, (0, 1, 0), (info.width, info.height))
    save_image(output_dir / "leaning.png", leaning)
    # The colours of one pixel in all frames.
    trace = decoder.sample([(info.width // 2, info.height // 2, t) for t in range(info.frames)])
    print("the middle pixel's brightest moment: frame", int(trace.sum(1).argmax()))

    # A camera that moves in on the centre: the crop shrinks from frame to frame, the size stays. No two frames have the
    # same scale, so there is nothing for a decoder to keep: the renderer itself, in the unit cube, is as good.
    gaussians = garv.load(file)
    path = output_dir / "zoom.mp4"
    with garv.VideoWriter(path, info) as writer:
        for t in info.frame_centers():
            margin = 0.3 * t
            box = garv.Box(x0=margin, y0=margin, x1=1 - margin, y1=1 - margin)
            frame = garv.rasterization(gaussians, [t], crop=box, size=(info.width, info.height))
            writer.write((frame.clamp(0, 1) * 255).round().byte())
    print(f"{path}: {info.frames} frames")


if __name__ == "__main__":
    tyro.cli(main)
