"""What the commands show while they work: lines on stderr, and bars where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

WIDTH = 220
"""columns of tables where the output is no terminal"""


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Bars with count, time so far, time left and a free text (`field note`); an error wipes them away."""
    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description:<9}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    with bars:
        yield bars
        bars.live.transient = False  # what is done stays to be seen


def tell(line: str) -> None:
    """One line for the user beside the result, on stderr."""
    sys.stderr.write(f"garv: {line}\n")
    sys.stderr.flush()


def result(line: str) -> None:
    """One line of the result, on stdout, never wrapped."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def wide_console() -> Console:
    """Where tables go: stdout, with room for all columns where that is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def gibibytes(count: int) -> str:
    """Bytes for people."""
    return f"{count / 2**30:.2f} GiB"
