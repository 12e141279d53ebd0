"""Sizes of files as people write them."""

from __future__ import annotations

import re

from garv_gsplat.cli import CommandError

_UNITS = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def parse_size(text: str) -> int:
    """Bytes of "800kB", "2MB", "1.5MiB" or "40000"; raises CommandError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([A-Za-z]*)", text)
    unit = match and {name.lower(): size for name, size in _UNITS.items()}.get(match[2].lower())
    if not unit or float(match[1]) == 0:
        raise CommandError(f"--size {text}: give a number of bytes, with a unit if you like: 40000, 800kB, 2MB, 1.5MiB")
    return max(1, round(float(match[1]) * unit))
