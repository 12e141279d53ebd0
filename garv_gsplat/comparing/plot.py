"""Curves of quality over rate, drawn by Matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from garv_gsplat.comparing.points import Point, curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

LABELS = {"psnr": "PSNR (dB)", "ms_ssim": "MS-SSIM", "temporal_consistency": "temporal consistency (dB)"}
"""fields of Point that measure quality, and what their axes say"""
SUFFIXES = (".png", ".svg")
"""of files that `save_plot` writes"""


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    points: Sequence[Point]
    measure: str = "psnr"
    """one of LABELS"""
    title: str = ""


def measured(points: Sequence[Point]) -> list[str]:
    """The measures of quality that all points have."""
    return [name for name in LABELS if all(getattr(point, name) is not None for point in points)]


def save_plot(path: Path, panels: Sequence[Panel], title: str = "") -> None:
    """Draw panels beside each other, a curve in one colour in all of them.

    Args:
        path: PNG or SVG file to write, as its suffix says, one of SUFFIXES.
        panels: in rows of three at most.
        title: above all of them.

    Raises:
        ImportError: Matplotlib is not installed.
    """
    figure = load_figure()(layout="constrained")
    draw_panels(figure, panels, title)
    figure.savefig(path, dpi=150)


def draw_panels(figure: Figure, panels: Sequence[Panel], title: str = "") -> None:
    """What `save_plot` draws, into a figure, which gets the size that it needs."""
    columns = min(len(panels), 3)
    rows = ceil(len(panels) / columns)
    figure.set_size_inches(4.2 * columns, 3.2 * rows + 0.5)
    names = list(dict.fromkeys(point.curve for panel in panels for point in panel.points))
    lines: dict[str, Line2D] = {}
    for k, panel in enumerate(panels):
        lines |= _draw(figure.add_subplot(rows, columns, k + 1), panel, names)
    figure.suptitle(title, fontsize=11)
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=len(lines), frameon=False)


def load_figure() -> type[Figure]:
    """Matplotlib's figure, which needs no screen; ImportError that says what to install where it is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('plots need Matplotlib: pip install "garv-gsplat[compare]"') from error
    return Figure


def _draw(axes: Axes, panel: Panel, names: Sequence[str]) -> dict[str, Line2D]:
    """Draw every curve; the lines by the names of their curves."""
    lines = {}
    for name, points in curves(panel.points).items():
        rates, qualities = [p.bpp for p in points], [getattr(p, panel.measure) for p in points]
        color = f"C{names.index(name)}"
        (lines[name],) = axes.plot(rates, qualities, marker="o", markersize=4, linewidth=1.5, color=color)
    axes.set_title(panel.title, fontsize=10)
    axes.set_xlabel("bits per pixel")
    axes.set_ylabel(LABELS[panel.measure])
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    return lines
