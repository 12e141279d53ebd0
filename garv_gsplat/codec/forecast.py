"""What a file will take, from a part of its Gaussians."""

from __future__ import annotations

import math

import torch

from garv_gsplat.codec.codecs import find_codec
from garv_gsplat.codec.container import code
from garv_gsplat.gaussians import VideoGaussians

_SAMPLE = 8192  # Gaussians


def forecast_bits(gaussians: VideoGaussians, codec: str = "rans", step: float | None = None) -> float:
    """About how many bits of a file each Gaussian takes, beside what a file takes anyway.

    step: as of `encode`. A part of the Gaussians is encoded; the more there are, the less each takes
    (see `Codec.doubling`).
    """
    count = len(gaussians)
    if count > _SAMPLE:
        part = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:_SAMPLE]
        gaussians = gaussians.take(part.to(gaussians.means.device))
    chosen = find_codec(codec)
    _, chunks = code(chosen.round(gaussians, step), codec)
    taken = 8 * sum(len(data) for _, streams in chunks for _, data in streams)
    return taken / len(gaussians) - chosen.doubling * math.log2(count / len(gaussians))
