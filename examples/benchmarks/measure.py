"""Measure a .garv against the video it was fitted to, and keep the numbers for README's table of results.

    python examples/benchmarks/measure.py video.mp4 video.garv docs/results/video.json \
        --command "garv encode video.mp4 video.garv" --fit-seconds 60

Everything but the seconds of the fit, which its command prints, is measured here: the size of the file on disk, the
quality of the frames decoded from it, and the speed of decoding them.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path

import torch
import tyro

import garv_gsplat as garv
from garv_gsplat.measuring import compare, report


def device_name(device: torch.device) -> str:
    """What the numbers were measured on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} CPU threads ({platform.machine()})"


def main(
    video: tyro.conf.Positional[Path],
    file: tyro.conf.Positional[Path],
    output: tyro.conf.Positional[Path],
    command: str,
    fit_seconds: float,
    clip: str | None = None,
    device: str | None = None,
) -> None:
    """Write one row of the table.

    Args:
        video: what was fitted.
        file: the .garv that came out.
        output: JSON file to write.
        command: the command that made the file.
        fit_seconds: seconds from the fit's first step to its last, as the command printed them.
        clip: the clip's name in the table; the video's file name if not given.
        device: where to decode; a GPU if there is one.
    """
    frames = garv.read_video(video).frames
    decoder = garv.VideoDecoder(file, device=device)
    measured = report(file, frames, device)
    quality = compare(file, frames, device, thorough=True)
    row = {
        "clip": clip or video.stem,
        "width": decoder.metadata.width,
        "height": decoder.metadata.height,
        "frames": decoder.metadata.frames,
        "command": command,
        "device": device_name(decoder.device),
        "num_gaussians": decoder.num_gaussians,
        "bytes": measured.bytes,
        "bpp": measured.bpp,
        "psnr": measured.psnr,
        "ms_ssim": quality.ms_ssim,
        "temporal_consistency": quality.temporal_consistency,
        "fit_seconds": fit_seconds,
        "decode_fps": measured.decode_fps,
        "versions": {"garv_gsplat": garv.__version__, "torch": torch.__version__, "python": platform.python_version()},
    }
    output.write_text(json.dumps(row, indent=2) + "\n")
    print(f"{measured}; fitted in {fit_seconds:.1f} s by: {command}")


if __name__ == "__main__":
    tyro.cli(main)
