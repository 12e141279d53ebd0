"""Points of curves of quality over rate: files, each measured against the clip it was made from."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from garv_gsplat.codec import read_header
from garv_gsplat.comparing.baselines import encode_baseline
from garv_gsplat.comparing.clip import Clip
from garv_gsplat.measuring import compare, decoding_speed, peak_memory, quality, speed
from garv_gsplat.video import VideoError, picture_stream, read_info, rgb_batches
from garv_gsplat.volume import VideoInfo

BYTES_COUNTED = "of a .garv all of the file; of a video the packets of its pictures alone, without sound and container"
"""what stands behind `bytes` and `bpp`"""
GARV = "garv"
"""the curve of all .garv files"""
_BATCH = 8  # frames of a video at a time


@dataclass(frozen=True)
class Point:
    """Rate, quality and speed of a file. Quality is that of its frames as 8-bit RGB against the clip's."""

    file: str
    curve: str
    """the curve it lies on: of .garv files "garv", of baselines their encoder, of other videos their codec"""
    bytes: int
    """see BYTES_COUNTED"""
    bpp: float
    """bits of these bytes per pixel of the clip"""
    psnr: float
    """dB, mean over the frames"""
    ms_ssim: float | None
    """mean over the frames; None under 161 pixels, where it is not defined"""
    temporal_consistency: float | None
    """dB, see `metrics.temporal_consistency_per_step`; None for a single frame"""
    decode_fps: float
    """frames a second to RGB in memory; .garv files once their Gaussians are read, videos by FFmpeg with its threads"""
    decode_device: str
    peak_mb: float | None
    """MB that decoding a .garv takes at most, see `measuring.peak_memory`; None for videos"""
    settings: dict[str, Any] = field(default_factory=dict)
    """how the file was made, where that is known"""


def check_size(clip: Clip, path: Path) -> None:
    """Find out before the work whether a file holds as many frames of the same size as the clip.

    Raises VideoError where it does not, and what `read_info` and `read_header` raise.
    """
    info = read_header(path).info if _is_garv(path) else read_info(path)
    if _size(info) != _size(clip.video.info):
        raise VideoError(
            f"{path}: holds {_size(info)}, {clip.path} {_size(clip.video.info)}; give a file of the same frames, or "
            "the part that it was made from"
        )


def measure(
    clip: Clip,
    path: Path,
    device: torch.device,
    *,
    name: str | None = None,
    curve: str | None = None,
    settings: dict[str, Any] | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Point:
    """Decode a .garv or a video file and measure it against a clip.

    device: where a .garv is decoded, and what was decoded is measured.
    name, curve, settings: what the point says of itself; by default the path, the curve of its kind, and nothing.
    on_batch: called with the number of frames of every batch that has been compared.
    Raises what `check_size` raises, GarvFormatError, and VideoError for a file that is damaged.
    """
    check_size(clip, path)
    frames = clip.video.frames
    step = None if on_batch is None else (lambda first, source, decoded: on_batch(len(decoded)))
    memory = None
    if _is_garv(path):
        kind, size, where = GARV, os.path.getsize(path), device
        measured = compare(path, frames, device, thorough=True, on_batch=step)
        fps, memory = peak_memory(device, lambda: decoding_speed(path, device))
    else:
        stream, where = picture_stream(path), torch.device("cpu")
        kind, size = stream.codec, stream.bytes
        try:
            batches = (part.to(device) for part in rgb_batches(path, _BATCH))
            measured = quality(batches, frames, thorough=True, on_batch=step)
        except VideoError:
            raise
        except ValueError as error:  # frames are missing, or not of one size
            raise VideoError(f"{path}: {error}") from error
        fps = speed(lambda: rgb_batches(path, _BATCH), where)
    return Point(
        file=name or str(path),
        curve=curve or kind,
        bytes=size,
        bpp=8 * size / clip.video.info.pixels,
        psnr=measured.psnr.mean().item(),
        ms_ssim=measured.ms_ssim,
        temporal_consistency=measured.temporal_consistency,
        decode_fps=fps,
        decode_device=str(where),
        peak_mb=memory,
        settings=settings or {},
    )


def measure_baseline(
    clip: Clip,
    encoder: str,
    bpp: float,
    folder: Path,
    device: torch.device,
    *,
    preset: str = "medium",
    on_trial: Callable[[float], None] | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Point:
    """Encode a baseline as a file in a folder, as `encode_baseline` does, and measure it as any file."""
    path = folder / f"{clip.path.stem}_{encoder}_{bpp:g}bpp.mp4"
    encoded = encode_baseline(clip, encoder, bpp, path, preset=preset, on_trial=on_trial)
    settings = {"wanted_bpp": bpp, **asdict(encoded)}
    return measure(clip, path, device, name=path.name, curve=encoder, settings=settings, on_batch=on_batch)


def curves(points: Sequence[Point]) -> dict[str, list[Point]]:
    """The points of every curve by rising rate; curves in the order of their first points."""
    names = dict.fromkeys(point.curve for point in points)
    return {name: sorted((p for p in points if p.curve == name), key=lambda p: p.bpp) for name in names}


def _is_garv(path: Path) -> bool:
    return path.suffix == ".garv"


def _size(info: VideoInfo) -> str:
    channels = "" if info.channels == 3 else f" with {info.channels} channels"
    return f"{info.frames} frames of {info.width}x{info.height}{channels}"
