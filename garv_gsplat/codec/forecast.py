"""What a file will take, from a part of its Gaussians."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from garv_gsplat.codec.container import encode
from garv_gsplat.codec.file import GarvFile
from garv_gsplat.gaussians import VideoGaussians

_SAMPLE = 8192  # Gaussians


def forecast_bits(gaussians: VideoGaussians, step: float) -> float:
    """About how many bits of a file each Gaussian takes, beside what a file takes anyway.

    A part of the Gaussians is encoded. Of all of them N the order is worth log2 N bits each, of n only log2 n.
    """
    count = len(gaussians)
    if count > _SAMPLE:
        chosen = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:_SAMPLE].to(gaussians.means.device)
        gaussians = replace(
            gaussians,
            means=gaussians.means[chosen],
            cholesky=gaussians.cholesky[chosen],
            colors=gaussians.colors[chosen],
        )
    file = GarvFile(encode(gaussians, step=step))
    taken = 8 * sum(stream.size for chunk in file.chunks for stream in chunk.streams)
    return taken / len(gaussians) - math.log2(count / len(gaussians))
