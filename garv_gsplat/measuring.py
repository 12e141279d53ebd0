"""Quality, speed and memory of a `.garv`, or of anything that gives frames: always of what was decoded."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from garv_gsplat.codec import GarvFile
from garv_gsplat.decoder import VideoDecoder
from garv_gsplat.metrics import ms_ssim, psnr_per_frame, temporal_consistency_per_step

_LEAST_SECONDS = 0.2
_Result = TypeVar("_Result")


@dataclass(frozen=True, eq=False)
class FileQuality:
    """What comes out of a file, against the frames that went in."""

    psnr: Tensor
    """[T] dB of every frame"""
    ms_ssim: float | None
    """mean over the frames; None where it was not asked for, or under 161 pixels, where it is not defined"""
    temporal_consistency: float | None
    """dB, mean over the steps from frame to frame; None where it was not asked for, or for a single frame"""


@dataclass(frozen=True)
class FileReport:
    """Size, quality and speed of a file; as a string it is one line."""

    path: Path
    bytes: int
    """size of the file"""
    bpp: float
    """bits of the file, without sound and subtitles, per pixel of the video"""
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
    thorough: bool = False,
    on_batch: Callable[[int, Tensor, Tensor], None] | None = None,
) -> FileQuality:
    """Decode a file and compare it with its source.

    frames: [T, H, W, C] uint8, on any device.
    thorough, on_batch: as of `quality`.

    Raises ValueError where `frames` has another shape than the file's video.
    """
    decoder = VideoDecoder(path, device=device, dimension_order="NHWC")
    info = decoder.metadata
    if tuple(frames.shape) != (info.frames, info.height, info.width, info.channels):
        wanted = [info.frames, info.height, info.width, info.channels]
        raise ValueError(f"frames must be {wanted} as the video in {path}, got {list(frames.shape)}")
    return quality(decoder.frames(), frames, thorough=thorough, on_batch=on_batch)


def quality(
    batches: Iterable[Tensor],
    frames: Tensor,
    *,
    thorough: bool = False,
    on_batch: Callable[[int, Tensor, Tensor], None] | None = None,
) -> FileQuality:
    """Compare what was decoded with its source.

    batches: all frames in turn, some [B, H, W, C] uint8 at a time; measured on the device where they are.
    frames: the source's [T, H, W, C] uint8, on any device.
    thorough: also MS-SSIM and temporal consistency, which take longer than PSNR.
    on_batch: called for every batch with its first frame's number, and the frames [B, H, W, C] uint8 of the source and
        as they were decoded.

    Raises ValueError where the two are not of one shape.
    """
    first, last = 0, None
    psnrs, similarities, steps = [], [], []
    for decoded in batches:
        source = frames[first : first + len(decoded)].to(decoded.device)
        psnrs.append(psnr_per_frame(decoded, source))
        if thorough:
            similarities.append(ms_ssim(decoded, source))
            # the step from the batch before counts, too
            pair = (decoded, source) if last is None else map(torch.cat, zip(last, (decoded, source)))
            steps.append(temporal_consistency_per_step(*pair))
            last = decoded[-1:], source[-1:]
        if on_batch is not None:
            on_batch(first, source, decoded)
        first += len(decoded)
    if first != len(frames):
        raise ValueError(f"{first} frames were decoded, the source has {len(frames)}; give all of them")
    return FileQuality(
        psnr=torch.cat(psnrs),
        ms_ssim=_mean([torch.full_like(p, s) for p, s in zip(psnrs, similarities) if s is not None]),
        temporal_consistency=_mean(steps),
    )


def _mean(parts: list[Tensor]) -> float | None:
    """Mean over the values of all parts; None where there are none."""
    values = torch.cat(parts) if parts else torch.empty(0)
    return values.mean().item() if len(values) else None


def decoding_speed(path: str | os.PathLike[str], device: torch.device | str | None = None) -> float:
    """Frames per second of decoding all of a file, once its Gaussians are read and a first batch has been decoded."""
    decoder = VideoDecoder(path, device=device)
    return speed(decoder.frames, decoder.device)


def speed(decode: Callable[[], Iterable[Tensor]], device: torch.device) -> float:
    """Frames per second of decoding a whole video with `decode`, in batches [B, ...], after a first batch.

    A short video is decoded again and again: a few milliseconds tell nothing.
    """
    next(iter(decode()))
    _wait(device)
    start, seconds, count = time.perf_counter(), 0.0, 0
    while seconds < _LEAST_SECONDS:
        count += sum(len(frames) for frames in decode())
        _wait(device)
        seconds = time.perf_counter() - start
    return count / seconds


def peak_memory(device: torch.device, work: Callable[[], _Result]) -> tuple[_Result, float]:
    """What `work` returns, and the memory that it took at most, in MB (2^20 bytes).

    On a GPU that is what torch's tensors took on top of those that were there. On the CPU it is the most that the whole
    process ever had resident, which torch does not count.
    """
    if device.type != "cuda":
        return work(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10  # Linux counts in KiB
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    result = work()
    return result, (torch.cuda.max_memory_allocated(device) - before) / 2**20


def report(path: str | os.PathLike[str], frames: Tensor | None, device: torch.device | str | None = None) -> FileReport:
    """Decode a file and measure it, against the source's frames [T, H, W, C] uint8 where they are given."""
    decoder = VideoDecoder(path, device=device)
    with closing(GarvFile(path)) as file:
        size, bpp = file.size, file.bits_per_pixel
    return FileReport(
        path=Path(path),
        bytes=size,
        bpp=bpp,
        psnr=None if frames is None else compare(path, frames, device).psnr.mean().item(),
        decode_fps=decoding_speed(path, device),
        device=str(decoder.device),
    )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
