"""Write docs/paper.md out of the experiments' JSON files: what was measured here beside the paper's own numbers.

python examples/benchmarks/paper/page.py
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tyro

ROOT = Path(__file__).parents[3]
INTRODUCTION = """\
# The paper's experiments

Each section is one experiment of "GaRV: Gaussian Representations for Video" (WACV 2026), done again with this package
by a script in [examples/benchmarks/paper](../examples/benchmarks/paper); `make paper CLIPS=folder` runs them all and
writes this page. Rows that say "paper" hold the paper's own numbers, of its clips on its GPU. All others were measured
here, on the clip and the device that they name. Neither is a measure of the other: clips and GPUs differ. "-" was not
measured, or not given.
"""
OURS = "garv-gsplat"


def page(results: Iterable[dict[str, Any]], figures: str) -> str:
    """The page in Markdown.

    results: what the experiments' JSON files hold.
    figures: folder of the PNG files beside them, from the page.
    """
    results = sorted(results, key=lambda result: (result["title"], result["machine"]["device"]))
    return "\n".join([INTRODUCTION, *(_section(result, figures) for result in results)])


def _section(result: dict[str, Any], figures: str) -> str:
    clips = (f"{c['file']} ({c['width']}x{c['height']}, {c['frames']} frames)" for c in result["clips"])
    machine = result["machine"]
    return f"""\
## {result["title"]}

{result["about"]}

{table(result)}
![{result["title"]}]({figures}/{result["experiment"]}.png)

Clips: {", ".join(clips)}. Measured on {machine["device"]} with garv-gsplat {machine["garv_gsplat"]} and PyTorch
{machine["torch"]} by

```
{result["command"]}
```
"""


def table(result: dict[str, Any]) -> str:
    """Our rows, then the paper's, in Markdown; a column that nothing was measured for is left out."""
    device = result["machine"]["device"]
    rows = [{"by": OURS, "device": device, **row} for row in result["rows"]]
    rows += [{**row, "by": f"{row['by']} (paper)"} for row in result["paper"]]
    columns = {key: how for key, how in result["columns"].items() if any(row.get(key) is not None for row in rows)}
    lines = [["by", "clip", "device", *(heading for heading, _ in columns.values())]]
    lines += [["---"] * len(lines[0])]
    for row in rows:
        values = (_cell(row.get(key), form) for key, (_, form) in columns.items())
        lines.append([row["by"], row["clip"], row["device"], *values])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(value: float | str | None, form: str) -> str:
    """A number in the column's format; words as they are."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else format(value, form)


def main(results: Path = ROOT / "docs" / "results" / "paper", output: Path = ROOT / "docs" / "paper.md") -> None:
    """Write the page.

    Args:
        results: folder of the experiments' JSON and PNG files.
        output: the page, in the folder above `results` or further up.
    """
    found = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    output.write_text(page(found, results.resolve().relative_to(output.resolve().parent).as_posix()))


if __name__ == "__main__":
    tyro.cli(main)
