"""Quality and speed of a `.garv`: always of the file as it is on disk, decoded."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from garv_gsplat.decoder import VideoDecoder
from garv_gsplat.metrics import bits_per_pixel, ms_ssim, psnr_per_frame

_LEAST_SECONDS = 0.2


@dataclass(frozen=True, eq=False)
class FileQuality:
    """What comes out of a file, against the frames that went in."""

    psnr: Tensor
    """[T] dB of every frame"""
    ms_ssim: float | None
    """mean over the frames; None where it was not asked for, or under 161 pixels, where it is not defined"""


@dataclass(frozen=True)
class FileReport:
    """Size, quality and speed of a file; as a string it is one line."""

    path: Path
    bytes: int
    """size of the file"""
    bpp: float
    """bits of the file per pixel of the video"""
    psnr: float | None
    """dB between the frames decoded from the file and the source's, mean over the frames; None without a source"""
    decode_fps: float
    """frames decoded per second, in batches, without reading the file"""
    device: str
    """where they were decoded"""

    def __str__(self) -> str:
        quality = "quality not measured" if self.psnr is None else f"{self.psnr:.2f} dB"
        return (
            f"{self.path}: {self.bytes:,} bytes, {self.bpp:.4f} bpp, {quality}, "
            f"{self.decode_fps:.0f} frames/s on {self.device}"
        )


def compare(
    path: str | os.PathLike[str],
    frames: Tensor,
    device: torch.device | str | None = None,
    *,
    with_ms_ssim: bool = False,
    on_batch: Callable[[int, Tensor, Tensor], None] | None = None,
) -> FileQuality:
    """Decode a file and compare it with its source.

    frames: [T, H, W, C] uint8, on any device.
    on_batch: called for every batch with its first frame's number, and the frames [B, H, W, C] uint8 of the source and
        of the file.

    Raises ValueError where `frames` has another shape than the file's video.
    """
    decoder = VideoDecoder(path, device=device, dimension_order="NHWC")
    info = decoder.metadata
    if tuple(frames.shape) != (info.frames, info.height, info.width, info.channels):
        wanted = [info.frames, info.height, info.width, info.channels]
        raise ValueError(f"frames must be {wanted} as the video in {path}, got {list(frames.shape)}")
    first, psnrs, similarities = 0, [], []
    for decoded in decoder.frames():
        source = frames[first : first + len(decoded)].to(decoded.device)
        psnrs.append(psnr_per_frame(decoded, source))
        similarity = ms_ssim(decoded, source) if with_ms_ssim else None
        if similarity is not None:
            similarities.append(similarity * len(decoded))
        if on_batch is not None:
            on_batch(first, source, decoded)
        first += len(decoded)
    return FileQuality(torch.cat(psnrs), sum(similarities) / info.frames if similarities else None)


def decoding_speed(path: str | os.PathLike[str], device: torch.device | str | None = None) -> float:
    """Frames per second of decoding all of a file, once its Gaussians are read and a first batch has been decoded.

    A short video is decoded again and again: a few milliseconds tell nothing.
    """
    decoder = VideoDecoder(path, device=device)
    next(decoder.frames())
    _wait(decoder.device)
    start, seconds, count = time.perf_counter(), 0.0, 0
    while seconds < _LEAST_SECONDS:
        count += sum(len(frames) for frames in decoder.frames())
        _wait(decoder.device)
        seconds = time.perf_counter() - start
    return count / seconds


def report(path: str | os.PathLike[str], frames: Tensor | None, device: torch.device | str | None = None) -> FileReport:
    """Decode a file and measure it, against the source's frames [T, H, W, C] uint8 where they are given."""
    decoder = VideoDecoder(path, device=device)
    return FileReport(
        path=Path(path),
        bytes=os.path.getsize(path),
        bpp=bits_per_pixel(path, decoder.metadata),
        psnr=None if frames is None else compare(path, frames, device).psnr.mean().item(),
        decode_fps=decoding_speed(path, device),
        device=str(decoder.device),
    )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
