"""Draw the curves that rate_distortion.py measured, a panel a clip.

python examples/benchmarks/rate_distortion_plot.py results.json curves.svg
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Literal

import tyro

from garv_gsplat.comparing import Panel, Point, save_plot


def main(
    results: tyro.conf.Positional[Path],
    output: tyro.conf.Positional[Path],
    measure: Literal["psnr", "ms_ssim", "temporal_consistency"] = "psnr",
) -> None:
    """Write a PNG or SVG file.

    Args:
        results: JSON file of rate_distortion.py.
        output: file to write; its suffix says which kind.
        measure: quality to draw.
    """
    clips: dict[str, list[Point]] = {}
    for row in json.loads(results.read_text())["points"]:
        point = Point(**{field.name: row[field.name] for field in fields(Point)})
        clips.setdefault(row["clip"], []).append(point)
    save_plot(output, [Panel(points, measure, Path(clip).stem) for clip, points in clips.items()])


if __name__ == "__main__":
    tyro.cli(main)
