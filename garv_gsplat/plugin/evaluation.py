"""What ns-eval reports: quality, size, speed and memory of a `.garv`, all of the file as it is on disk."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from garv_gsplat import codec
from garv_gsplat.measuring import compare, decoding_speed, peak_memory


def evaluate(data: bytes, frames: Tensor, device: torch.device | str, images: Path | None = None) -> dict[str, float]:
    """Write the bytes of a `.garv` to a temporary file, decode it, and compare it with frames [T, H, W, C] uint8.

    Returns psnr and psnr_std (dB, over the frames), ms_ssim and temporal_consistency (left out where they are not
    defined), bpp (of the file, without sound), fps (frames decoded per second) and what `peak_memory` says of
    decoding, as decoding_cuda_mb on a GPU and process_mb on the CPU. Saves source and decoded frame side by side into
    the folder `images` if given.

    Raises ValueError where `frames` are not of the video that the file was fitted to.
    """
    device = torch.device(device)
    with tempfile.TemporaryDirectory(prefix="garv-") as folder:
        path = Path(folder) / "video.garv"
        codec.save(path, data)
        fps, megabytes = peak_memory(device, lambda: decoding_speed(path, device))
        save = None if images is None else _ImageFolder(images).save
        quality = compare(path, frames, device, thorough=True, on_batch=save)
    results = {"psnr": float(quality.psnr.mean()), "psnr_std": float(quality.psnr.std(correction=0))}
    for name in ("ms_ssim", "temporal_consistency"):
        if getattr(quality, name) is not None:
            results[name] = getattr(quality, name)
    bpp = codec.GarvFile(data).bits_per_pixel
    return {**results, "bpp": bpp, "fps": fps, "decoding_cuda_mb" if device.type == "cuda" else "process_mb": megabytes}


class _ImageFolder:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, first: int, source: Tensor, decoded: Tensor) -> None:
        """Source and decoded frame beside each other, one image a frame; `first` is the first frame's number."""
        for frame, pair in enumerate(torch.cat([source, decoded], 2).cpu(), first):
            Image.fromarray(pair.numpy()).save(self.folder / f"eval_img_{frame:04d}.png")
