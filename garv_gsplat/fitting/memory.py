"""How much memory a fit will take, said before it starts."""

from __future__ import annotations

import psutil
import torch

from garv_gsplat.fitting.config import FitConfig
from garv_gsplat.volume import VideoInfo

_NUMBERS = 9  # floats of a Gaussian's geometry
# Float arrays as large as the parameters: values, gradients, two moments of Adam, rounded values with two steps of the
# transforms on the way, packed gradients.
_PARAMETER_COPIES = 8
_IMAGE_COPIES = 5  # images, target, difference, its square, gradient
_PAIRS_PER_TILE = 400  # generous; a list entry is 4 bytes
_TILE_PIXELS = 256


class FitMemoryError(ValueError):
    """A fit that would not fit into memory; says what would."""


def forecast(info: VideoInfo, config: FitConfig, num_gaussians: int) -> int:
    """Bytes that a fit takes on its device at its peak, frames included."""
    batch = min(config.batch_frames, info.frames)
    frame = info.width * info.height
    parameters = num_gaussians * (_NUMBERS + info.channels) * 4 * _PARAMETER_COPIES
    images = batch * frame * info.channels * 4 * _IMAGE_COPIES
    lists = batch * frame // _TILE_PIXELS * _PAIRS_PER_TILE * 4
    return info.pixels * info.channels + parameters + images + lists


def check_memory(info: VideoInfo, config: FitConfig, num_gaussians: int, device: torch.device) -> int:
    """`forecast`, or FitMemoryError when `device` (or the host, which reads the frames) has less free."""
    needed = forecast(info, config, num_gaussians)
    available = _available(device)
    if needed > available:
        part = available / needed
        seconds = float(info.duration) * part * 0.9
        raise FitMemoryError(
            f"fitting {info.frames} frames of {info.width}x{info.height} with {num_gaussians} Gaussians takes about "
            f"{_gib(needed)}, {device} has {_gib(available)} free: about {seconds:.1f} s of the video (--duration) or "
            f"{part * 0.9:.0%} of its pixels would fit"
        )
    frames = info.pixels * info.channels
    if device.type == "cuda" and frames > _available(torch.device("cpu")):
        raise FitMemoryError(
            f"the frames take {_gib(frames)} of the host's memory, {_gib(_available(torch.device('cpu')))} are free: "
            "give a shorter part of the video (--duration)"
        )
    return needed


def _available(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def _gib(count: int) -> str:
    return f"{count / 2**30:.2f} GiB"
