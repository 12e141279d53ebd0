"""From a video to a measured `.garv` in one call: read, fit, save, decode again. What `garv encode` runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from garv_gsplat.codec import find_codec, save, with_tracks
from garv_gsplat.fitting import FitConfig, FitProgress, FitResult, check_memory, fit, held_out
from garv_gsplat.measuring import FileReport, compare, report
from garv_gsplat.video import (
    Video,
    VideoError,
    add_tracks,
    check_writable,
    read_info,
    read_video,
    video_from_array,
)


@dataclass(frozen=True)
class EncodeResult(FileReport):
    """What was written, what comes out of it when it is decoded, and what the fit took."""

    fit_seconds: float
    """from the first step to the last"""
    steps: int
    """steps that were made"""
    num_gaussians: int
    psnr_held_out: float | None
    """dB of the frames that were held out, mean over these; None where there are none"""
    psnr_seen: float
    """dB of the others"""
    interrupted: bool
    """whether Ctrl-C ended the fit early"""
    notes: tuple[str, ...]
    """what the user should know about how the source was taken, one line each: a file cut short, 10 bits as 8"""

    def __str__(self) -> str:
        if self.psnr_held_out is None:
            return super().__str__()
        parts = f"{self.psnr_seen:.2f} dB of the frames seen, {self.psnr_held_out:.2f} dB of those held out"
        return f"{super().__str__()}; {parts}"


def read_source(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    config: FitConfig,
    *,
    start: float | None = None,
    duration: float | None = None,
    frame_rate: int | float | Fraction | None = None,
    audio: bool = True,
    device: torch.device | str | None = None,
    on_frame: Callable[[int, int], None] | None = None,
) -> tuple[Video, int]:
    """Read what `encode` fits, after checking that `path` can be written and that memory will do.

    start, duration: seconds; frame_rate: of a folder of images. audio: with its sound and subtitles.
    on_frame: called with the frames read so far, and all.
    Returns the video and the forecast of the fit's memory in bytes. Raises VideoError, FitMemoryError, and
    MissingLibraryError where the codec needs what is not installed.
    """
    find_codec(config.codec).check()
    check_writable(path)
    if os.path.exists(path) and os.path.exists(source) and os.path.samefile(source, path):
        raise VideoError(f"{path}: is the video itself, which would be overwritten; give the .garv another name")
    part = {"start": start, "duration": duration, "frame_rate": frame_rate}
    info = read_info(source, **part)
    forecast = check_memory(info, config, fit_device(device))
    step = None if on_frame is None else (lambda count: on_frame(count, info.frames))
    video = read_video(source, **part, on_frame=step)
    return add_tracks(video, source, start, duration) if audio else video, forecast


def encode(
    source: str | os.PathLike[str] | Video | np.ndarray | Tensor,
    path: str | os.PathLike[str],
    config: FitConfig | None = None,
    *,
    steps: int | None = None,
    start: float | None = None,
    duration: float | None = None,
    frame_rate: int | float | Fraction | None = None,
    audio: bool = True,
    device: torch.device | str | None = None,
    progress: Callable[[FitProgress], None] | None = None,
    on_saved: Callable[[FitResult], None] | None = None,
) -> EncodeResult:
    """Fit a video, write it as a `.garv`, and measure what is decoded from that file.

    source: a video file, a folder of images, a `Video`, or uint8 frames [T, H, W, C] as a NumPy array or torch tensor.
    path: the file to write; whether it can be written is checked first.
    config, steps: settings and length of the fit; the preset "garv"'s by default.
    start, duration: the part of a file to take, in seconds.
    frame_rate: frames per second of a folder of images or an array; 25 if not given.
    audio: whether the sound and subtitles of a file ride along; they never count in bits per pixel.
    device: where to fit and to decode; a GPU if there is one.
    progress: called every few steps.
    on_saved: called when the file is written, before it is measured.

    Raises VideoError, FitMemoryError, and OSError where the file cannot be written. Ctrl-C while fitting ends the fit
    early and is no error: what is fitted so far is written.
    """
    config, device = config or FitConfig(), fit_device(device)
    part = {"start": start, "duration": duration, "frame_rate": frame_rate}
    if isinstance(source, (str, os.PathLike)):
        video, _ = read_source(source, path, config, **part, audio=audio, device=device)
    else:
        video = _as_video(source, **part)
        check_writable(path)
    result = fit(video, config, steps=steps, device=device, progress=progress)
    save(path, with_tracks(result.data, video.tracks))
    if on_saved is not None:
        on_saved(result)
    psnr = compare(path, video.frames, device).psnr
    out = torch.zeros_like(psnr, dtype=torch.bool)
    if config.hold_out is not None:
        out = held_out(video.info.frames, config.hold_out).to(psnr.device)
    return EncodeResult(
        **vars(replace(report(path, None, device), psnr=psnr.mean().item())),
        psnr_seen=psnr[~out].mean().item(),
        psnr_held_out=psnr[out].mean().item() if out.any() else None,
        fit_seconds=result.seconds,
        steps=result.steps,
        num_gaussians=len(result.gaussians),
        interrupted=result.interrupted,
        notes=video.notes,
    )


def _as_video(
    source: Video | np.ndarray | Tensor,
    start: float | None,
    duration: float | None,
    frame_rate: int | float | Fraction | None,
) -> Video:
    if start is not None or duration is not None:
        raise ValueError("start and duration choose a part of a file; give a part of the frames instead")
    if not isinstance(source, Video):
        return video_from_array(source, 25 if frame_rate is None else frame_rate)
    if frame_rate is not None:
        raise ValueError("a Video has a frame rate of its own; leave frame_rate out")
    return source


def fit_device(device: torch.device | str | None) -> torch.device:
    """The device itself; without one, a GPU if there is one."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
