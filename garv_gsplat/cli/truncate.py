"""`garv truncate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from garv_gsplat.cli import CommandError
from garv_gsplat.cli.sizes import parse_size


@dataclass
class Truncate:
    """Make a smaller .garv of a larger one, without the video: the least important layers are left out.

    Example: garv truncate video.garv small.garv --bpp 0.03
    """

    file: tyro.conf.Positional[Path]
    """the .garv to make smaller"""
    output: tyro.conf.Positional[Path]
    """the .garv to write; one that is there is replaced"""
    bpp: float | None = None
    """size of the new file in bits per pixel of the video"""
    size: str | None = None
    """size of the new file in bytes, such as 800kB or 2MB"""

    def run(self) -> int:
        """Read, leave out, write; the exit code."""
        if (self.bpp is None) == (self.size is None):
            raise CommandError("give the size of the new file, either as --bpp or as --size")
        if self.bpp is not None and not 0 < self.bpp < float("inf"):
            raise CommandError(f"--bpp must be a positive number, got {self.bpp}")
        if self.output.suffix != ".garv":
            raise CommandError(f"{self.output}: the name of the output must end in .garv")
        size = None if self.size is None else parse_size(self.size)

        from garv_gsplat.cli.display import result
        from garv_gsplat.codec import GarvFile, save, truncate

        file = GarvFile(self.file)
        wanted = size if size is not None else int(self.bpp * file.info.pixels / 8)
        try:
            data = truncate(file, wanted)
        except ValueError as error:
            raise CommandError(str(error)) from error
        save(self.output, data)
        made = GarvFile(data)
        result(
            f"{self.output}: {made.size:,} bytes of {file.size:,}, {made.bits_per_pixel:.4f} bpp, "
            f"{made.num_gaussians:,} of {file.num_gaussians:,} Gaussians"
        )
        return 0
