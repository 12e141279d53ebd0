"""Write README's table of results from docs/results/*.json, which measure.py makes.

python examples/benchmarks/results_table.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
RESULTS = ROOT / "docs" / "results"
BEGIN, END = "<!-- results: begin -->\n", "<!-- results: end -->\n"
HEADER = ("clip", "command", "device", "fit", "file", "bpp", "PSNR", "MS-SSIM", "decoding")


def table(results: list[dict[str, Any]]) -> str:
    """The results as a Markdown table, largest video last."""
    if not results:
        return "Nothing has been measured yet.\n"
    results = sorted(results, key=lambda r: (r["width"] * r["height"] * r["frames"], r["clip"], r["bpp"]))
    rows = [HEADER, ("---",) * len(HEADER), *(_row(result) for result in results)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(result: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{result['clip']}, {result['width']}x{result['height']}, {result['frames']} frames",
        f"`{result['command']}`",
        result["device"],
        f"{result['fit_seconds']:.1f} s",
        f"{result['bytes']:,} bytes",
        f"{result['bpp']:.4f}",
        f"{result['psnr']:.2f} dB",
        "-" if result["ms_ssim"] is None else f"{result['ms_ssim']:.4f}",
        f"{result['decode_fps']:.0f} frames/s",
    )


def fill(readme: str, results: list[dict[str, Any]]) -> str:
    """README's text with the table between its markers."""
    before, rest = readme.split(BEGIN)
    after = rest.split(END)[1]
    return before + BEGIN + table(results) + END + after


def read_results(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """All measurements."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


if __name__ == "__main__":
    README.write_text(fill(README.read_text(), read_results()))
