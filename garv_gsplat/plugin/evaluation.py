"""What ns-eval reports: quality, size, speed and memory of a `.garv`, all of the file as it is on disk."""

from __future__ import annotations

import resource
import tempfile
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from garv_gsplat import codec
from garv_gsplat.measuring import compare, decoding_speed
from garv_gsplat.metrics import bits_per_pixel


def evaluate(data: bytes, frames: Tensor, device: torch.device | str, images: Path | None = None) -> dict[str, float]:
    """Write the bytes of a `.garv` to a temporary file, decode it, and compare it with frames [T, H, W, C] uint8.

    Returns psnr and psnr_std (dB, over the frames), ms_ssim (left out where it is not defined), bpp (of the file), fps
    (frames decoded per second) and the peak memory in MB: decoding_cuda_mb is what decoding allocates on the GPU on top
    of what was there, process_mb, on the CPU, the most that the whole process ever had resident. Saves source and
    decoded frame side by side into the folder `images` if given.

    Raises ValueError where `frames` are not of the video that the file was fitted to.
    """
    device = torch.device(device)
    with tempfile.TemporaryDirectory(prefix="garv-") as folder:
        path = Path(folder) / "video.garv"
        codec.save(path, data)
        fps, memory = _decode(path, device)
        save = None if images is None else _ImageFolder(images).save
        quality = compare(path, frames, device, with_ms_ssim=True, on_batch=save)
        bpp = bits_per_pixel(path, codec.GarvFile(data).info)
    results = {"psnr": float(quality.psnr.mean()), "psnr_std": float(quality.psnr.std(correction=0))}
    if quality.ms_ssim is not None:
        results["ms_ssim"] = quality.ms_ssim
    return {**results, "bpp": bpp, "fps": fps, **memory}


def _decode(path: Path, device: torch.device) -> tuple[float, dict[str, float]]:
    """Frames decoded per second, and the peak memory of that in MB."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        fps = decoding_speed(path, device)
        return fps, {"decoding_cuda_mb": (torch.cuda.max_memory_allocated(device) - before) / 2**20}
    fps = decoding_speed(path, device)
    return fps, {"process_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10}  # Linux counts in KiB


class _ImageFolder:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, first: int, source: Tensor, decoded: Tensor) -> None:
        """Source and decoded frame beside each other, one image a frame; `first` is the first frame's number."""
        for frame, pair in enumerate(torch.cat([source, decoded], 2).cpu(), first):
            Image.fromarray(pair.numpy()).save(self.folder / f"eval_img_{frame:04d}.png")
