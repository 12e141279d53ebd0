"""The argument --device."""

from __future__ import annotations

import re

import torch

from garv_gsplat.cli import CommandError


def parse_device(name: str | None) -> str:
    """The device that is meant; without a name a GPU if there is one. CommandError for one that is not there."""
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:[0-9]+)?", name):
        raise CommandError(f"--device must be cpu, cuda or cuda:N, got {name!r}")
    kind, _, index = name.partition(":")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise CommandError(
            f"--device {name}: torch {torch.__version__} sees {torch.cuda.device_count()} GPUs here; choose cpu"
        )
    return name
