"""What a file will take, from a part of its Gaussians."""

from __future__ import annotations

import math

import torch

from garv_gsplat.codec.codecs import find_codec
from garv_gsplat.codec.container import encode
from garv_gsplat.codec.file import GarvFile
from garv_gsplat.gaussians import VideoGaussians

_SAMPLE = 8192  # Gaussians


def forecast_bits(gaussians: VideoGaussians, codec: str = "rans", step: float | None = None) -> float:
    """About how many bits of a file each Gaussian takes, beside what a file takes anyway.

    step: as of `encode`. A part of the Gaussians is encoded; the more there are, the less each takes
    (see `Codec.doubling`).
    """
    count = len(gaussians)
    if count > _SAMPLE:
        chosen = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:_SAMPLE]
        gaussians = gaussians.take(chosen.to(gaussians.means.device))
    file = GarvFile(encode(gaussians, codec, step=step))
    taken = 8 * sum(stream.size for chunk in file.chunks for stream in chunk.streams)
    return taken / len(gaussians) - find_codec(codec).doubling * math.log2(count / len(gaussians))
