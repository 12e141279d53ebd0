"""How `garv compare` shows its figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from garv_gsplat.cli.display import result, wide_console
from garv_gsplat.comparing import curves

if TYPE_CHECKING:
    from garv_gsplat.comparing import BdRate, Point

HEADINGS = ("bytes", "bpp", "PSNR\n(dB)", "MS-SSIM", "temporal\n(dB)", "decoding\n(frames/s)")
NAMES = {"psnr": "PSNR", "ms_ssim": "MS-SSIM"}


def print_points(points: Sequence[Point]) -> None:
    """One line a file, curve by curve, by rising rate."""
    table = Table()
    table.add_column("curve", no_wrap=True)
    table.add_column("file", overflow="fold")  # what gives way in a narrow terminal
    for heading in HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    # on the CPU it is all of this process's, and says nothing about a file
    with_memory = any(point.peak_mb is not None and point.decode_device != "cpu" for point in points)
    if with_memory:
        table.add_column("peak memory\n(MB)", justify="right", no_wrap=True)
    for curve in curves(points).values():
        table.add_section()
        for point in curve:
            table.add_row(*_cells(point), *([_memory(point)] if with_memory else []))
    wide_console().print(table)


def print_rates(rates: Sequence[BdRate]) -> None:
    """One line a curve: how many more bits it takes than the first, or why that cannot be said."""
    for name in dict.fromkeys(rate.curve for rate in rates):
        own = [rate for rate in rates if rate.curve == name]
        reasons = {rate.reason for rate in own}
        said = _value(own[0]) if len(reasons) == 1 and None not in reasons else ", ".join(map(_said, own))
        result(f"BD-rate of {name} against {own[0].reference}: {said}")


def _cells(point: Point) -> tuple[str, ...]:
    steady = point.temporal_consistency
    return (
        point.curve,
        point.file,
        f"{point.bytes:,}",
        f"{point.bpp:.4f}",
        f"{point.psnr:.2f}",
        "-" if point.ms_ssim is None else f"{point.ms_ssim:.4f}",
        "-" if steady is None else f"{steady:.2f}",
        f"{point.decode_fps:.0f} ({point.decode_device})",
    )


def _memory(point: Point) -> str:
    return "-" if point.peak_mb is None else f"{point.peak_mb:.0f}"


def _said(rate: BdRate) -> str:
    return f"{NAMES[rate.measure]} {_value(rate)}"


def _value(rate: BdRate) -> str:
    return f"none, as {rate.reason}" if rate.percent is None else f"{rate.percent:+.1f} %"
