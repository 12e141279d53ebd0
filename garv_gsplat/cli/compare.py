"""`garv compare`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from garv_gsplat.cli import CommandError
from garv_gsplat.cli.outputs import new_folder, whole_file

if TYPE_CHECKING:
    import torch

    from garv_gsplat.comparing import BdRate, Clip, Point

EncoderName = Literal["x264", "x265", "av1"]
EncoderPreset = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"
]
MISSED = 0.05
"""relative distance from a rate that is asked for, from which on the user is told"""


@dataclass
class Compare:
    """Measure files against the video that they were made from: rate, quality and speed beside each other."""

    video: tyro.conf.Positional[Path]
    """the source: a video file, or a folder of images"""
    files: tyro.conf.Positional[tuple[Path, ...]] = ()
    """.garv files, which make one curve of quality over rate, and video files, which make one for each codec"""
    encode: tuple[EncoderName, ...] = ()
    """baselines to encode here: x264, x265, av1 (SVT-AV1)"""
    bpp: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2)
    """rates of the baselines, in bits per pixel"""
    encoder_preset: EncoderPreset = "medium"
    """speed of the baselines' encoders; for SVT-AV1 a number stands in for it"""
    keep: Path | None = None
    """new folder for the baselines, which are not kept if not given"""
    start: float | None = None
    """seconds into the video at which to start"""
    duration: float | None = None
    """seconds of the video to take; to its end if not given"""
    max_frames: int | None = None
    """frames of the video to take at most"""
    device: str | None = None
    """cpu, cuda or cuda:N, to decode .garv files and to measure; a GPU if there is one when not given"""
    json: Path | None = None
    """file to write all figures to"""
    plot: Path | None = None
    """.png or .svg file to draw quality over rate in"""

    def run(self) -> int:
        """Read, encode, measure, show; the exit code."""
        self._check_arguments()

        import torch

        from garv_gsplat.cli.compare_tables import print_points, print_rates
        from garv_gsplat.cli.devices import parse_device
        from garv_gsplat.cli.display import result
        from garv_gsplat.comparing import bd_rates

        device = torch.device(parse_device(self.device))
        with self._folder() as folder:
            clip = self._read()
            points = self._points(clip, folder, device)
            rates = bd_rates(points)
            self._write(clip, points, rates, device)
        _tell_missed(points)
        print_points(points)
        print_rates(rates)
        info = clip.video.info
        size = f"{info.frames} frames of {info.width}x{info.height}"
        written = ", ".join(str(path) for path in (self.json, self.plot, self.keep) if path)
        result(f"{self.video}: {len(points)} files against {size}{f'; written: {written}' if written else ''}")
        return 0

    def _check_arguments(self) -> None:
        """Everything that can be known before the work."""
        from garv_gsplat.comparing import MIN_POINTS, SUFFIXES, check_encoder, load_figure, load_pchip
        from garv_gsplat.video import check_writable

        if not self.files and not self.encode:
            raise CommandError("nothing to compare; give .garv or video files, or baselines with --encode")
        if not self.bpp or not all(isfinite(bpp) and bpp > 0 for bpp in self.bpp):
            raise CommandError(f"--bpp must be numbers above 0, got {' '.join(map(str, self.bpp)) or 'none'}")
        if self.keep and not self.encode:
            raise CommandError(f"--keep {self.keep}: there is nothing to keep without --encode")
        if self.plot and self.plot.suffix not in SUFFIXES:
            raise CommandError(f"--plot {self.plot}: the name must end in {' or '.join(SUFFIXES)}")
        for path in filter(None, (self.json, self.plot)):
            check_writable(path)
            if path.exists() and any(file.exists() and path.samefile(file) for file in (self.video, *self.files)):
                raise CommandError(f"{path}: is one of the files to compare; give another name")
        for name in self.encode:
            check_encoder(name)
        try:
            if self.plot:
                load_figure()
            if len(self.files) + len(self.encode) * len(self.bpp) >= 2 * MIN_POINTS:  # fewer have no BD-rate
                load_pchip()
        except ImportError as error:
            raise CommandError(str(error)) from error

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        """Where the baselines go."""
        if self.keep:
            with new_folder(self.keep) as folder:
                yield folder
        else:
            with tempfile.TemporaryDirectory(prefix="garv-") as folder:
                yield Path(folder)

    def _read(self) -> Clip:
        from garv_gsplat.cli.display import progress_bars, tell
        from garv_gsplat.comparing import check_size, read_clip

        with progress_bars() as bars:
            task = bars.add_task("reading", total=None, note="")
            part = {"start": self.start, "duration": self.duration, "max_frames": self.max_frames}
            clip = read_clip(self.video, **part, on_frame=lambda n, total: bars.update(task, completed=n, total=total))
        for note in clip.video.notes:
            tell(f"note: {note}")
        for path in self.files:
            check_size(clip, path)
        return clip

    def _points(self, clip: Clip, folder: Path, device: torch.device) -> list[Point]:
        """Measure what is there, then encode and measure the baselines."""
        from garv_gsplat.cli.display import progress_bars
        from garv_gsplat.comparing import measure, measure_baseline

        jobs = [(name, bpp) for name in dict.fromkeys(self.encode) for bpp in sorted(set(self.bpp))]
        total = (len(self.files) + len(jobs)) * clip.video.info.frames
        points = []
        with progress_bars() as bars:
            task = bars.add_task("measuring", total=total, note="")

            def show(name: str, bpp: float, crf: float) -> None:
                bars.update(task, note=f"{name} at {bpp:g} bpp: encoding with crf {crf:g}")

            def count(frames: int) -> None:
                bars.advance(task, frames)

            for path in self.files:
                bars.update(task, note=path.name)
                points.append(measure(clip, path, device, on_batch=count))
            options = {"preset": self.encoder_preset, "on_batch": count}
            for job in jobs:
                points.append(measure_baseline(clip, *job, folder, device, **options, on_trial=partial(show, *job)))
        return points

    def _write(self, clip: Clip, points: list[Point], rates: list[BdRate], device: torch.device) -> None:
        from garv_gsplat.comparing import Panel, measured, save_plot

        if self.json:
            with whole_file(self.json) as path:
                path.write_text(json.dumps(self._facts(clip, points, rates, device), indent=2) + "\n")
        if self.plot:
            with whole_file(self.plot) as path:
                save_plot(path, [Panel(points, name) for name in measured(points)], title=clip.path.name)

    def _facts(self, clip: Clip, points: list[Point], rates: list[BdRate], device: torch.device) -> dict[str, Any]:
        from garv_gsplat.bench.machine import describe
        from garv_gsplat.comparing import BYTES_COUNTED, encoder_versions

        info = clip.video.info
        return {
            "source": {
                "file": str(clip.path),
                "width": info.width,
                "height": info.height,
                "frames": info.frames,
                "frame_rate": str(info.frame_rate),
                **clip.part,
            },
            "machine": {**describe(device), **encoder_versions()},
            "bytes_counted": BYTES_COUNTED,
            "points": [asdict(point) for point in points],
            "bd_rates": [asdict(rate) for rate in rates],
        }


def _tell_missed(points: list[Point]) -> None:
    """A note for every rate that an encoder could not meet."""
    from garv_gsplat.cli.display import tell

    for point in points:
        wanted = point.settings.get("wanted_bpp", point.bpp)
        if abs(point.bpp / wanted - 1) > MISSED:
            tell(f"note: {point.file}: {point.bpp:.4g} bpp is as near as {point.curve} comes to {wanted:g}")
