"""`garv foveate`."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from garv_gsplat.cli import CommandError

if TYPE_CHECKING:
    from garv_gsplat.codec import GarvFile
    from garv_gsplat.gaze import Region, Window
    from garv_gsplat.mixing import MixResult
    from garv_gsplat.volume import VideoInfo


@dataclass
class Foveate:
    """Mix two .garv of one video: the first one's quality in a region, the second one's around it, without the video.

    Example: garv foveate high.garv low.garv --roi 640 360 384 216 --output mixed.garv
    """

    high: tyro.conf.Positional[Path]
    """the .garv that is drawn in the region; its sound and subtitles ride along"""
    low: tyro.conf.Positional[Path]
    """the .garv that is drawn everywhere else"""
    output: Path
    """the .garv to write"""
    roi: tyro.conf.UseAppendAction[tuple[tuple[int, int, int, int], ...]] = ()
    """left, top, width and height of the region in pixels; give it again for more than one"""
    regions: Path | None = None
    """a table of where the region is when, instead of --roi: CSV of lines "seconds,x,y,w,h" with rising seconds,
    between which it moves evenly"""
    feather: float = 3.5
    """width of the band around the region in which both are seen, in standard deviations of a typical Gaussian"""

    def run(self) -> int:
        """Read, mix and write; the exit code."""
        if bool(self.roi) == (self.regions is not None):
            raise CommandError("say where the region is, either by --roi or by --regions")

        from garv_gsplat.cli.mixing import mixed
        from garv_gsplat.mixing import mix_files

        def mix(files: list[GarvFile], tracks: bytes | None) -> MixResult:
            return mix_files(files, [self._region(files[0].info)], self.feather, tracks)

        return mixed([self.high, self.low], self.output, mix)

    def _region(self, info: VideoInfo) -> Region:
        from garv_gsplat.gaze import Region
        from garv_gsplat.grids import check_crop
        from garv_gsplat.volume import Box

        if self.regions is not None:
            return Region.moving(info, _read_places(self.regions))
        return Region([Box.from_pixels(info, *check_crop(info, window)) for window in self.roi])


def _read_places(path: Path) -> list[tuple[float, Window]]:
    """Seconds and windows of a CSV; CommandError for lines that are something else."""
    places = []
    with path.open(newline="") as file:
        for row in csv.reader(file):
            try:
                seconds, x, y, width, height = map(float, row)
                places.append((seconds, (x, y, width, height)))
            except ValueError as error:
                line = len(places) + 1
                raise CommandError(f"{path}: line {line} must be seconds,x,y,w,h in numbers, got {row}") from error
    return places
