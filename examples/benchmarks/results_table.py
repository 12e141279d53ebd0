"""Write README's tables: of results from docs/results/*.json, which measure.py makes, and of random access from
docs/results/paper/peer.json, which paper/peer.py makes.

python examples/benchmarks/results_table.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from paper import page

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
RESULTS = ROOT / "docs" / "results"
NOTHING = "Nothing has been measured yet.\n"
HEADER = ("clip", "command", "device", "fit", "file", "bpp", "PSNR", "MS-SSIM", "decoding")


def table(results: list[dict[str, Any]]) -> str:
    """The results as a Markdown table, largest video last."""
    if not results:
        return NOTHING
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


def peer_table(path: Path = RESULTS / "paper" / "peer.json") -> str:
    """Random access beside a decoder of videos, as a Markdown table."""
    return page.table(json.loads(path.read_text())) if path.exists() else NOTHING


def fill(readme: str, name: str, text: str) -> str:
    """README with `text` between the markers of a name."""
    begin, end = (f"<!-- {name}: {which} -->\n" for which in ("begin", "end"))
    before, rest = readme.split(begin)
    return before + begin + text + end + rest.split(end)[1]


def fill_all(readme: str) -> str:
    """README with both tables."""
    return fill(fill(readme, "results", table(read_results())), "random access", peer_table())


def read_results(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """All measurements."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


if __name__ == "__main__":
    README.write_text(fill_all(README.read_text()))
