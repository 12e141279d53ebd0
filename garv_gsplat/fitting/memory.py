"""How much memory a fit will take, said before it starts."""

from __future__ import annotations

import bisect

import psutil
import torch

from garv_gsplat.fitting.config import FitConfig
from garv_gsplat.fitting.rate import most_gaussians
from garv_gsplat.fitting.relocation import PIXELS_AT_ONCE, PIXELS_LOOKED_AT
from garv_gsplat.video import estimate_bytes
from garv_gsplat.volume import VideoInfo

_NUMBERS = 9  # floats of a Gaussian's geometry
# Float arrays as large as the parameters: values, gradients, two moments of Adam, rounded values with two steps of the
# transforms on the way, packed gradients, rows for the kernels, what bits add to the gradients.
_PARAMETER_COPIES = 11
# Likewise as large as a batch of images: images, difference, gradient, the CPU kernels' planar copy; and what
# allocators keep of them from step to step, with which a CPU fit has been seen to take 5.3.
_IMAGE_COPIES = 7
_PAIRS_PER_TILE = 400  # generous
_PAIR_BYTES = 4  # an entry of the lists
_SORTED_PAIR_BYTES = 100  # where order is kept on a GPU: keys, places and room for sorting; gradients come on top
_TILE_PIXELS = 256


class FitMemoryError(ValueError):
    """A fit that would not fit into memory; says what would."""


def forecast(info: VideoInfo, config: FitConfig, device_type: str = "cpu") -> int:
    """Bytes that a fit takes on its device ("cpu" or "cuda") at its peak, frames included."""
    batch = min(config.batch_frames, info.frames)
    frame = info.width * info.height
    num_gaussians = most_gaussians(config, info)
    parameters = num_gaussians * (_NUMBERS + info.channels) * 4 * _PARAMETER_COPIES
    images = batch * frame * info.channels * 4 * _IMAGE_COPIES
    keeps_order = config.deterministic or torch.are_deterministic_algorithms_enabled()
    pair = _PAIR_BYTES
    if keeps_order and device_type == "cuda":
        pair = _SORTED_PAIR_BYTES + (_NUMBERS + info.channels) * 4
    lists = batch * frame // _TILE_PIXELS * _PAIRS_PER_TILE * pair
    return estimate_bytes(info) + parameters + max(images + lists, _relocation_bytes(info, config))


def _relocation_bytes(info: VideoInfo, config: FitConfig) -> int:
    """Bytes that looking for new places takes: gains, widths and colours of all pixels, images of some."""
    if config.relocations == 0:
        return 0
    frame = info.width * info.height
    looked_at = max(frame, min(info.pixels, PIXELS_LOOKED_AT))
    at_once = max(frame, min(info.pixels, PIXELS_AT_ONCE))
    return looked_at * (5 + 2 * info.channels) + at_once * info.channels * 4 * _IMAGE_COPIES


def check_memory(info: VideoInfo, config: FitConfig, device: torch.device, *, frames_read: bool = False) -> int:
    """`forecast`, or FitMemoryError when `device` (or the host, which reads the frames) has less free.

    frames_read: the frames are in the host's memory already, and so not in what is free there.
    """
    needed, available = forecast(info, config, device.type), _available(device)
    held = estimate_bytes(info) if frames_read else 0
    if needed > available + (held if device.type == "cpu" else 0):
        raise FitMemoryError(
            f"fitting {info.frames} frames of {info.width}x{info.height} with up to {most_gaussians(config, info)} "
            f"Gaussians takes about {_gib(needed)}, {device} has {_gib(available)} free: "
            f"{_what_would_fit(info, config, available, device)}"
        )
    frames = estimate_bytes(info) - held
    if device.type == "cuda" and frames > _available(torch.device("cpu")):
        raise FitMemoryError(
            f"the frames take {_gib(frames)} of the host's memory, {_gib(_available(torch.device('cpu')))} are free: "
            "give a shorter part of the video (--duration)"
        )
    return needed


def _what_would_fit(info: VideoInfo, config: FitConfig, available: int, device: torch.device) -> str:
    """The longest part of the video whose forecast stays within `available`, a tenth of it spared."""

    def fits(frames: int) -> bool:
        part = VideoInfo(info.width, info.height, frames, channels=info.channels)
        return forecast(part, config, device.type) <= 0.9 * available

    frames = bisect.bisect_left(range(1, info.frames), True, key=lambda frames: not fits(frames))
    if frames > 0:
        return f"about {frames / float(info.frame_rate):.1f} s of the video (--duration), {frames} frames, would fit"
    return "not even one frame would fit; give smaller frames or fewer Gaussians (--bpp, --num-gaussians)"


def _available(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def _gib(count: int) -> str:
    return f"{count / 2**30:.2f} GiB"
