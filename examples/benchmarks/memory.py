"""Memory of a GPU that decoding takes: frames of the synthetic scene C as uint8, each asked for alone.

    python examples/benchmarks/memory.py --output docs/bench/memory.json

In MB (2^20 bytes): of torch's tensors at most, and of the whole process on top of the context that every process has
that uses CUDA: with what torch keeps for tensors to come, and with kernels. Others must leave the GPU alone meanwhile.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import tyro

import garv_gsplat as garv
from garv_gsplat.bench.machine import describe
from garv_gsplat.bench.targets import make_scene
from garv_gsplat.cli.display import progress_bars, result
from garv_gsplat.measuring import peak_memory

EVERY = 7  # frames, from one that is decoded to the next


def main(output: Path, num_gaussians: int = 1_200_000) -> None:
    """Decode frames of all of the scene and write what that took to a file.

    Args:
        output: JSON file to write.
        num_gaussians: of the scene.
    """
    if not torch.cuda.is_available():
        raise SystemExit("memory.py counts the memory of a GPU, and torch sees none: run it on a machine with one")
    output.parent.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda")
    gaussians = make_scene("C", num_gaussians=num_gaussians).gaussians
    torch.zeros(1, device=device)  # makes the context
    before = taken(device)

    def decode() -> None:
        decoder = garv.VideoDecoder(gaussians, device=device)
        with progress_bars() as bars:
            for frame in bars.track(range(0, len(decoder), EVERY), description="decoding"):
                decoder[frame]

    _, tensors = peak_memory(device, decode)
    facts = {
        "machine": describe(device),
        "num_gaussians": len(gaussians),
        "tensors_mb": tensors,
        "process_mb": taken(device) - before,  # torch gives nothing back meanwhile, so it is the most
        "context_mb": before,
    }
    output.write_text(json.dumps(facts, indent=2) + "\n")
    what = f"{tensors:.0f} MB of tensors at most, {facts['process_mb']:.0f} MB of the process"
    result(f"{output}: {len(gaussians):,} Gaussians, {what}, beside a context of {before:.0f} MB")


def taken(device: torch.device) -> float:
    """MB of the device's memory that are not free."""
    torch.cuda.synchronize(device)
    free, total = torch.cuda.mem_get_info(device)
    return (total - free) / 2**20


if __name__ == "__main__":
    tyro.cli(main)
