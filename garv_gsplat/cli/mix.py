"""`garv mix`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from garv_gsplat.cli import CommandError

if TYPE_CHECKING:
    from garv_gsplat.codec import GarvFile
    from garv_gsplat.mixing import MixResult


@dataclass
class Mix:
    """Switch between .garv of one video over time, as a connection changes, without the video.

    Example: garv mix low.garv 0 high.garv 2.5 low.garv 5 --output out.garv
    """

    switches: tyro.conf.Positional[tuple[tuple[Path, float], ...]]
    """each .garv and the second from which on it is drawn, the first one's 0; its sound and subtitles ride along"""
    output: Path
    """the .garv to write"""
    feather: float = 3.5
    """width of the band around a switch in which both are seen, in standard deviations of a typical Gaussian"""

    def run(self) -> int:
        """Read, mix and write; the exit code."""
        if not self.switches:
            raise CommandError("name each .garv and the second from which on it is drawn: low.garv 0 high.garv 2.5")

        from garv_gsplat.cli.mixing import mixed
        from garv_gsplat.mixing import switch_files

        seconds = [second for _, second in self.switches]

        def mix(files: list[GarvFile], tracks: bytes | None) -> MixResult:
            return switch_files(list(zip(seconds, files)), self.feather, tracks)

        return mixed([path for path, _ in self.switches], self.output, mix)
