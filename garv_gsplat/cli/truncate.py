"""`garv truncate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from garv_gsplat.cli import INTERRUPTED, CommandError
from garv_gsplat.cli.sizes import parse_size

if TYPE_CHECKING:
    from garv_gsplat.codec import GarvFile
    from garv_gsplat.fitting import FitProgress, FitResult


@dataclass
class Truncate:
    """Make a smaller .garv of a larger one, without the video: the least important Gaussians are left out.

    The others stay as they are, which takes no time and costs much quality: at half the size 4 to 9 dB against a fit of
    the video. --refine fits them to the frames of the whole file, and comes within about 0.5 dB of one.

    Examples: garv truncate video.garv small.garv --bpp 0.03
              garv truncate video.garv small.garv --bpp 0.03 --refine 400
    """

    file: tyro.conf.Positional[Path]
    """the .garv to make smaller"""
    output: tyro.conf.Positional[Path]
    """the .garv to write; one that is there is replaced"""
    bpp: float | None = None
    """size of the new file in bits per pixel of the video"""
    size: str | None = None
    """size of the new file in bytes, such as 800kB or 2MB"""
    refine: int | None = None
    """steps of a fit of what is kept to the frames of the whole file, such as 400; none if not given"""
    device: str | None = None
    """where --refine fits: cpu, cuda or cuda:N; a GPU if there is one when not given"""

    def run(self) -> int:
        """Read, leave out, write; the exit code."""
        if (self.bpp is None) == (self.size is None):
            raise CommandError("give the size of the new file, either as --bpp or as --size")
        if self.bpp is not None and not 0 < self.bpp < float("inf"):
            raise CommandError(f"--bpp must be a positive number, got {self.bpp}")
        if self.output.suffix != ".garv":
            raise CommandError(f"{self.output}: the name of the output must end in .garv")
        if self.refine is not None and self.refine < 1:
            raise CommandError(f"--refine must be at least 1 step, got {self.refine}")
        size = None if self.size is None else parse_size(self.size)

        from garv_gsplat.cli.display import result, tell
        from garv_gsplat.codec import GarvFile, save, truncate, with_tracks
        from garv_gsplat.video import check_writable

        file = GarvFile(self.file)
        check_writable(self.output)
        wanted = size if size is not None else int(self.bpp * file.info.pixels / 8)
        fit: FitResult | None = None
        try:
            if self.refine is None:
                data = truncate(file, wanted)
            else:
                fit = self._refine(file, wanted)
                data = with_tracks(fit.data, file.tracks())
        except ValueError as error:
            raise CommandError(str(error)) from error
        save(self.output, data)
        made = GarvFile(data)
        result(
            f"{self.output}: {made.size:,} bytes of {file.size:,}, {made.bits_per_pixel:.4f} bpp, "
            f"{made.num_gaussians:,} of {file.num_gaussians:,} Gaussians"
        )
        if fit is None or not fit.interrupted:
            return 0
        tell(f"stopped after {fit.steps} of {self.refine} steps; {self.output} holds what was fitted so far")
        return INTERRUPTED

    def _refine(self, file: GarvFile, size: int) -> FitResult:
        from garv_gsplat.cli.devices import parse_device
        from garv_gsplat.cli.display import progress_bars
        from garv_gsplat.fitting import refine

        device = parse_device(self.device)
        with progress_bars() as bars:
            task = bars.add_task("fitting", total=self.refine, note="")

            def show(state: FitProgress) -> None:
                bars.update(task, completed=state.step, note=f"{state.psnr:.2f} dB")

            return refine(file, size, self.refine, device=device, progress=show)
