"""A smaller file of a larger one: its most important Gaussians, fitted to the frames that the whole file shows."""

from __future__ import annotations

from collections.abc import Callable

import torch

from garv_gsplat.codec import GarvFile, find_codec
from garv_gsplat.fitting.config import FitConfig
from garv_gsplat.fitting.finishing import shown_frames
from garv_gsplat.fitting.memory import check_memory
from garv_gsplat.fitting.rate import gaussians_for
from garv_gsplat.fitting.trainer import FitProgress, FitResult, fit
from garv_gsplat.gaussians import energies
from garv_gsplat.video import Video


def refine(
    file: GarvFile,
    size: int,
    steps: int,
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[FitProgress], None] | None = None,
) -> FitResult:
    """Make a file of at most `size` bytes, sound not counted, without the video that the larger one was made of.

    The Gaussians of the most energy, about as many as such a file holds, are fitted by `steps` steps to the frames of
    the whole file. `codec.truncate` is faster and leaves them as they are, with colours for the company of the others.

    Raises ValueError for a file whose codec is not written any more, GarvFormatError where its bytes have changed, and
    what `fit` raises.
    """
    find_codec(file.codec).check()
    config = FitConfig(size=size, codec=file.codec)
    check_memory(file.info, config, torch.device(device))
    whole = file.read().to(device)
    frames = torch.cat([images.cpu() for images in shown_frames(whole, torch.tensor(file.info.frame_centers()))])
    energy = energies(whole.in_pixels()[1], whole.colors, file.info)
    kept = whole.take(energy.topk(min(len(whole), gaussians_for(config, file.info))).indices)
    return fit(Video(frames, file.info), config, start=kept, steps=steps, device=device, progress=progress)
