"""Measure quality over rate of many clips, by garv and by x264, x265 and SVT-AV1, and keep all points in one JSON.

    python examples/benchmarks/rate_distortion.py results.json clips/ --bpp 0.05 0.1 0.2 0.4

Points that are in the JSON already are kept: what was stopped goes on where it was, and clips, rates and presets can be
added later. rate_distortion_plot.py draws the curves.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import tyro

import garv_gsplat as garv
from garv_gsplat.bench.machine import describe
from garv_gsplat.cli.compare import EncoderName, EncoderPreset
from garv_gsplat.cli.encode import PresetName
from garv_gsplat.cli.outputs import whole_file
from garv_gsplat.comparing import ENCODERS, Clip, Point, encoder_versions, measure, measure_baseline, read_clip
from garv_gsplat.encoding import fit_device

SUFFIXES = (".avi", ".mkv", ".mov", ".mp4", ".webm", ".y4m")


def main(
    output: tyro.conf.Positional[Path],
    clips: tyro.conf.Positional[tuple[Path, ...]],
    bpp: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4),
    presets: tuple[PresetName, ...] = ("garv",),
    encoders: tuple[EncoderName, ...] = tuple(ENCODERS),
    encoder_preset: EncoderPreset = "medium",
    device: str | None = None,
) -> None:
    """Add every point that is not there yet.

    Args:
        output: JSON file; what is in it already is kept.
        clips: video files, and folders of them.
        bpp: rates in bits per pixel.
        presets: of garv's fits; each makes a curve.
        encoders: baselines; each makes a curve.
        encoder_preset: speed of the baselines' encoders.
        device: where to fit and to decode; a GPU if there is one.
    """
    where = fit_device(device)
    machine = {**describe(where), **encoder_versions()}
    results = json.loads(output.read_text()) if output.exists() else {"machine": machine, "points": []}
    if results["machine"] != machine:
        raise SystemExit(f"{output} was measured elsewhere or with other versions; give another file")
    done = {(row["clip"], *_job(row)) for row in results["points"]}
    curves = [*((name, name) for name in presets), *((name, encoder_preset) for name in encoders)]
    for path in _videos(clips):
        jobs = [(*curve, rate) for curve in curves for rate in bpp if (str(path), *curve, rate) not in done]
        clip = read_clip(path) if jobs else None
        for curve, preset, rate in jobs:
            with tempfile.TemporaryDirectory(prefix="garv-") as folder:
                if curve in encoders:
                    point = measure_baseline(clip, curve, rate, Path(folder), where, preset=preset)
                else:
                    point = fit_point(clip, preset, rate, Path(folder), where)
            results["points"].append({"clip": str(path), **asdict(point)})
            with whole_file(output) as part:
                part.write_text(json.dumps(results, indent=2) + "\n")
            print(f"{path}: {curve}, {point.bpp:.4f} bpp, {point.psnr:.2f} dB")


def fit_point(clip: Clip, preset: str, bpp: float, folder: Path, device: torch.device) -> Point:
    """Fit a clip, and measure the file."""
    path = folder / f"{clip.path.stem}_{preset}_{bpp:g}bpp.garv"
    recipe = garv.PRESETS[preset]
    steps = recipe.steps_for(clip.video.info.frames)
    result = garv.encode(clip.video, path, replace(recipe.fit, bpp=bpp), steps=steps, device=device)
    if result.interrupted:
        raise KeyboardInterrupt  # it ends a fit early, which is no point of the curve
    settings = {"preset": preset, "wanted_bpp": bpp, "steps": steps, "fit_seconds": result.fit_seconds}
    return measure(clip, path, device, name=path.name, curve=preset, settings=settings)


def _job(row: dict[str, Any]) -> tuple[str, str, float]:
    return row["curve"], row["settings"]["preset"], row["settings"]["wanted_bpp"]


def _videos(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES) if path.is_dir() else [path]


if __name__ == "__main__":
    tyro.cli(main)
