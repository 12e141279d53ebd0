"""Random access: single frames, moments between two frames, crops and other sizes, each rendered on its own.

    python examples/01_frames_times_and_crops.py --file outputs/demo_bunny_320x180_48f.garv

There are no key frames: any frame costs the same, and a crop costs what its pixels cost.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image

import garv_gsplat as garv


def save_image(path: Path, image: torch.Tensor) -> None:
    """Save one image, [H, W, 3] floats around [0, 1] or uint8."""
    if image.is_floating_point():
        image = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    Image.fromarray(np.ascontiguousarray(image.cpu().numpy())).save(path)
    print(f"{path}: {image.shape[1]}x{image.shape[0]}")


def main(file: Path, output_dir: Path = Path("outputs")) -> None:
    """Render a few images of a .garv.

    Args:
        file: the .garv, for example that of 00_encode_and_decode.py.
        output_dir: folder of the images.
    """
    output_dir.mkdir(parents=True, exist_ok=True)

    # Frames as they are in the video: uint8 [H, W, 3], or several at once [B, H, W, 3].
    decoder = garv.VideoDecoder(file)
    info = decoder.metadata
    middle = info.frames // 2
    save_image(output_dir / "frame.png", decoder[middle])
    print("every fourth frame:", tuple(decoder[::4].shape))

    # Below the decoder: the Gaussians in the unit cube, and the renderer for any moment, part and size of it.
    gaussians = garv.load(file)
    between = (middle + 1.0) / info.frames  # frame k is at (k + 0.5) / frames: this is half a frame later
    save_image(output_dir / "between.png", garv.rasterization(gaussians, [between])[0])

    box = garv.Box(x0=0.25, y0=0.25, x1=0.75, y1=0.75)
    save_image(output_dir / "crop.png", garv.rasterization(gaussians, [between], crop=box)[0])
    size = (2 * info.width, 2 * info.height)
    save_image(output_dir / "crop_4x.png", garv.rasterization(gaussians, [between], crop=box, size=size)[0])
    size = (max(1, info.width // 4), max(1, info.height // 4))
    save_image(output_dir / "thumbnail.png", garv.rasterization(gaussians, [between], size=size)[0])


if __name__ == "__main__":
    tyro.cli(main)
