"""Points of curves of quality over rate: files, each measured against the clip it was made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from garv_gsplat.codec import GarvFile
from garv_gsplat.comparing.baselines import encode_baseline
from garv_gsplat.comparing.clip import Clip
from garv_gsplat.measuring import FileQuality, compare, decoding_speed, peak_memory, quality, speed
from garv_gsplat.video import VideoError, picture_stream, read_info, rgb_batches
from garv_gsplat.volume import VideoInfo

BYTES_COUNTED = "of a .garv the file without sound; of a video the packets of its pictures, without sound and container"
"""what stands behind `bytes` and `bpp`"""
GARV = "garv"
"""the curve of all .garv files"""
_BATCH = 8  # frames of a video at a time
OnBatch = Callable[[int, torch.Tensor, torch.Tensor], None]
"""as `measuring.quality` calls it"""


@dataclass(frozen=True)
class Point:
    """Rate, quality and speed of a file. Quality is that of its frames as 8-bit RGB against the clip's."""

    file: str
    curve: str
    """the curve it lies on: "garv", of baselines one of ENCODERS, of other videos their codec, as in "h264 files" """
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

    Raises VideoError where it does not, and what `read_info` and `GarvFile` raise.
    """
    held, wanted = _read_size(path), _size(clip.video.info)
    if held != wanted:
        raise VideoError(
            f"{path}: holds {held}, {clip.path} {wanted}; give a file of the same frames, or the part that it was made "
            "from"
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
    step = None if on_batch is None else (lambda first, source, decoded: on_batch(len(decoded)))
    found, fields = (_measure_garv if _is_garv(path) else _measure_video)(clip, path, device, step)
    return Point(
        file=name or str(path),
        bpp=8 * fields["bytes"] / clip.video.info.pixels,
        psnr=found.psnr.mean().item(),
        ms_ssim=found.ms_ssim,
        temporal_consistency=found.temporal_consistency,
        settings=settings or {},
        **(fields if curve is None else {**fields, "curve": curve}),
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


def _measure_garv(
    clip: Clip, path: Path, device: torch.device, on_batch: OnBatch | None
) -> tuple[FileQuality, dict[str, Any]]:
    """Quality, and those fields of a Point that are measured otherwise for a video."""
    with closing(GarvFile(path)) as file:
        size = file.picture_bytes
    found = compare(path, clip.video.frames, device, thorough=True, on_batch=on_batch)
    fps, memory = peak_memory(device, lambda: decoding_speed(path, device))
    return found, {"curve": GARV, "bytes": size, "decode_fps": fps, "decode_device": str(device), "peak_mb": memory}


def _measure_video(
    clip: Clip, path: Path, device: torch.device, on_batch: OnBatch | None
) -> tuple[FileQuality, dict[str, Any]]:
    """As `_measure_garv`."""
    stream = picture_stream(path)
    try:
        batches = (frames.to(device) for frames in rgb_batches(path, _BATCH))
        found = quality(batches, clip.video.frames, thorough=True, on_batch=on_batch)
    except VideoError:
        raise
    except ValueError as error:  # frames are missing, or not of one size
        raise VideoError(f"{path}: {error}") from error
    fps = speed(lambda: rgb_batches(path, _BATCH), torch.device("cpu"))
    # not the codec's name alone: a baseline's encoder may be called so, and such files were made in another way
    curve = f"{stream.codec} files"
    return found, {"curve": curve, "bytes": stream.bytes, "decode_fps": fps, "decode_device": "cpu", "peak_mb": None}


def _is_garv(path: Path) -> bool:
    return path.suffix == ".garv"


def _read_size(path: Path) -> str:
    """What a file holds, from its header."""
    if not _is_garv(path):
        return _size(read_info(path))
    with closing(GarvFile(path)) as file:
        return _size(file.info)


def _size(info: VideoInfo) -> str:
    channels = "" if info.channels == 3 else f" with {info.channels} channels"
    return f"{info.frames} frames of {info.width}x{info.height}{channels}"
