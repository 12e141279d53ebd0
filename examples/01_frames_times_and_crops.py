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
    """Save one image, uint8 [3, H, W]."""
    Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())).save(path)
    print(f"{path}: {image.shape[2]}x{image.shape[1]}")


def main(file: Path, output_dir: Path = Path("outputs")) -> None:
    """Render a few images of a .garv.

    Args:
        file: the .garv, for example that of 00_encode_and_decode.py.
        output_dir: folder of the images.
    """
    output_dir.mkdir(parents=True, exist_ok=True)

    # Frames as they are in the video: uint8 [3, H, W], or several at once [B, 3, H, W].
    decoder = garv.VideoDecoder(file)
    info = decoder.metadata
    middle = info.frames // 2
    save_image(output_dir / "frame.png", decoder[middle])
    print("every fourth frame:", tuple(decoder[::4].shape))

    # By the clock, as a player asks for them; each frame knows when it is shown.
    shown = decoder.get_frame_played_at(float(info.duration) / 2)
    print(f"frame at {shown.pts_seconds:.3f} s, shown for {shown.duration_seconds:.3f} s")

    # Between two frames, and any part of the picture at any size: only those pixels are computed.
    moment = max(0, middle - 0.5)
    save_image(output_dir / "between.png", decoder.get_frame_at(moment).data)
    crop = (info.width // 4, info.height // 4, info.width // 2, info.height // 2)
    save_image(output_dir / "crop.png", decoder.get_frame_at(moment, crop=crop).data)
    double = (2 * info.width, 2 * info.height)
    save_image(output_dir / "crop_4x.png", decoder.get_frame_at(moment, crop=crop, size=double).data)
    thumbnail = (max(1, info.width // 4), max(1, info.height // 4))
    save_image(output_dir / "thumbnail.png", decoder.get_frame_at(moment, size=thumbnail).data)


if __name__ == "__main__":
    tyro.cli(main)
