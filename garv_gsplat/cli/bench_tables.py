"""How `garv bench` shows its figures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from rich.table import Table

from garv_gsplat.bench.machine import device_name
from garv_gsplat.cli.display import wide_console

if TYPE_CHECKING:
    from garv_gsplat.bench.ablation import Ablation
    from garv_gsplat.bench.cases import Settings
    from garv_gsplat.bench.ceilings import Ceilings
    from garv_gsplat.bench.checking import Bounds
    from garv_gsplat.bench.suite import Row
    from garv_gsplat.bench.timing import Timing


def opening(settings: Settings, ceilings: Ceilings) -> str:
    """Device, thresholds and ceilings, a line each."""
    return "\n".join(
        [
            f"{device_name(settings.device)}, torch {torch.__version__}, tau {settings.tau:g}/255 "
            f"(forward+backward: weight {settings.fit_tau:.4g})",
            f"ceiling, bytes: {number(ceilings.bytes_per_s)}B/s; {ceilings.bytes_method}",
            f"ceiling, Gaussian-pixel pairs: {number(ceilings.pairs_per_s)}pairs/s; {ceilings.pairs_method}",
        ]
    )


def print_target(rows: list[Row], device: torch.device) -> None:
    """One line per case, then the work that is in them."""
    first = rows[0]
    title = f"{first.target}: {first.width}x{first.height}, {first.num_gaussians:,} Gaussians"
    table = Table(title=title, title_justify="left", title_style="bold")
    for heading in ("", "", "frames"):
        table.add_column(heading, no_wrap=True)
    for heading in (
        *("median", "quartiles (samples)", "frames/s", "mean error", "max (1/255)", "gradients"),
        *("pairs/s", "of ceiling", "bytes/s", "of ceiling"),
        *(("peak memory",) if device.type == "cuda" else ()),
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row, device))
    console = wide_console()
    console.print(table)
    for line in _work(rows):
        console.print(line, soft_wrap=True, highlight=False)


def print_ablation(table: Ablation) -> None:
    """One line per variant."""
    size = f"{table.width}x{table.height}"
    title = f"{table.target}: {size} pixels in the middle, {table.num_gaussians:,} Gaussians, one frame after the other"
    shown = Table(title=title, title_justify="left", title_style="bold")
    shown.add_column("")
    shown.add_column("by")
    for heading in ("cull (1/255)", "a frame", "quartiles (samples)", "speed-up", "mean error", "max (1/255)", "dB"):
        shown.add_column(heading, justify="right")
    for row in table.rows:
        shown.add_row(
            row.variant,
            row.implementation,
            f"{row.tau:g}",
            seconds(row.per_frame.median),
            quartiles(row.per_frame),
            f"{row.speedup:.1f}x",
            f"{row.error.mean:.2g}",
            f"{row.error.maximum:.2g}",
            f"{row.psnr:.1f}",
        )
    wide_console().print(shown)


def summary(settings: Settings, bounds: Bounds, rows: list[Row], ablations: list[Ablation]) -> str:
    """The one line that the output ends with."""
    name = device_name(settings.device)
    if ablations:
        shown = (f"{t.target} {t.rows[0].psnr:.1f} dB -> {t.rows[-1].psnr:.1f} dB" for t in ablations)
        faster = (f"{t.rows[-1].speedup:.0f}x faster" for t in ablations)
        return f"{name}: from eq. 2 to what decoding ships: " + "; ".join(f"{a}, {b}" for a, b in zip(shown, faster))
    largest = max(row.case.batch for row in rows)
    best = [r for r in rows if r.case.batch == largest and not r.case.cropped and r.case.mode == "throughput"]
    shown = "; ".join(f"{r.target} {r.case.kind} {seconds(r.per_frame.median)}" for r in best)
    return (
        f"{name}: {len(rows)} cases, errors within {bounds.mean:g}/255 (mean) and {bounds.maximum:g}/255 (maximum); "
        f"a frame at {largest} a launch (throughput): {shown}"
    )


def seconds(value: float) -> str:
    """A time for people."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= size or unit == "us":
            return f"{value / size:.4g} {unit}"
    raise AssertionError


def quartiles(timing: Timing) -> str:
    """The middle half of the samples, and how many there were."""
    low, high = seconds(timing.lower_quartile), seconds(timing.upper_quartile)
    if low.split()[1] == high.split()[1]:
        low = low.split()[0]
    return f"{low}-{high} ({timing.samples})"


def number(value: float) -> str:
    """A count with its prefix and a space, such as "3.62 T"."""
    power = max(0, min(4, int(math.log10(max(value, 1)) // 3)))
    return f"{value / 1000**power:.3g} {('', 'k', 'M', 'G', 'T')[power]}"


def _cells(row: Row, device: torch.device) -> list[str]:
    check = row.check
    cells = [
        f"{row.case.kind}{f' {row.width}x{row.height}' if row.case.cropped else ''}",
        row.case.mode,
        row.case.frames,
        seconds(row.per_frame.median),
        quartiles(row.per_frame),
        f"{row.frames_per_s:.4g}",
        f"{check.error.mean:.2g}" + (f" ({check.same_cull.mean:.1g})" if check.same_cull else ""),
        f"{check.error.maximum:.2g}" + (f" ({check.same_cull.maximum:.1g})" if check.same_cull else ""),
        "" if check.gradient is None else f"{check.gradient:.1g}",
        number(row.pairs_per_s),
        f"{row.pairs_of_ceiling:.1%}",
        number(row.bytes_per_s) + "B",
        f"{row.bytes_of_ceiling:.1%}",
    ]
    if device.type == "cuda":
        memory = row.memory
        cells.append(f"{memory.allocated / 1e6:.1f} MB ({memory.device_in_use / 1e6:.0f})")
    return cells


def _work(rows: list[Row]) -> list[str]:
    """Lines below the table: what a frame is made of, and what the numbers mean."""
    lines = {}
    for row in rows:
        backward = "forward+backward" if row.case.kind == "forward+backward" else "forward and decode"
        name = f"{backward}, crop {row.width}x{row.height}" if row.case.cropped else backward
        c = row.counts
        lines[name] = (
            f"  work a frame, {name}: {c.active_gaussians:,.0f} active Gaussians, {c.tile_pairs:,.0f} Gaussian-tile "
            f"pairs, {c.pixel_pairs:,.0f} Gaussian-pixel pairs ({c.pixel_pairs_per_pixel:.1f} a pixel)"
        )
    notes = [
        "times are of one frame; errors against double precision with nothing culled, uint8 against that rounded",
    ]
    if any(row.check.same_cull for row in rows):
        notes.append("(in brackets: with the same cull)")
    if rows[0].memory.allocated is not None:
        notes.append("peak memory: of torch's tensors (in use on the whole device afterwards)")
    return [*lines.values(), "  " + "; ".join(notes)]
