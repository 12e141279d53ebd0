"""What the scripts in this folder have in common: each is one experiment of the GaRV paper, run on any clips.

    python examples/benchmarks/paper/NAME.py CLIP [CLIP...] --output FOLDER [--steps N]

An experiment is a subclass of `Experiment` that measures one clip, draws a figure of all rows and says in a line what
came out. FOLDER gets NAME.json and NAME.png, and keeps every .garv that was made, by clip, rate and steps: scripts
share them, and a script that was stopped goes on where it was. page.py makes docs/paper.md of the JSON files.
"""

from __future__ import annotations

import inspect
import json
import shlex
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import torch
import tyro
from matplotlib.figure import Figure

import garv_gsplat as garv
from garv_gsplat.bench.machine import describe
from garv_gsplat.bench.timing import Patience, measure_latency
from garv_gsplat.cli.display import progress_bars, result
from garv_gsplat.cli.outputs import whole_file
from garv_gsplat.comparing import Clip, encode_baseline, read_clip
from garv_gsplat.encoding import fit_device
from garv_gsplat.fitting import FitProgress
from garv_gsplat.measuring import peak_memory

SUFFIXES = (".avi", ".mkv", ".mov", ".mp4", ".webm", ".y4m")
UVG = {"clip": "UVG", "device": "RTX A4000"}
"""what the paper's numbers were measured on, where it names nothing else"""

drain = deque(maxlen=0).extend
"""run through an iterator and keep nothing"""

Row: TypeAlias = dict[str, Any]
"""numbers and names by column. A row of the paper names "by", "clip" and "device" beside; one of ours gets its clip
from `run`, and may name what else than this package it is "by", and another "device" than the experiment's."""


@dataclass
class Experiment:
    """One experiment of the paper; the subclass's docstring says how it is measured, on the page and in the help."""

    clips: tyro.conf.Positional[tuple[Path, ...]]
    """video files, and folders of them"""
    output: Path
    """folder of the results, and of the .garv files that they were measured on"""
    steps: int | None = None
    """steps of every fit; the preset's if not given"""
    device: str | None = None
    """where to fit and to decode; a GPU if there is one"""

    name: ClassVar[str]
    """the script's"""
    title: ClassVar[str]
    """a few words, and where it stands in the paper"""
    columns: ClassVar[dict[str, tuple[str, str]]]
    """of the rows, ours and the paper's: key, heading with the unit, and format"""
    paper: ClassVar[list[Row]]
    """the paper's own numbers"""

    def measure(self, clip: Clip) -> Iterator[Row]:
        """The rows of one clip."""
        raise NotImplementedError

    def overall(self, rows: list[Row]) -> list[Row]:
        """Rows over all clips, such as means; by default none."""
        return []

    def draw(self, figure: Figure, rows: list[Row]) -> None:
        """The figure of all clips."""
        raise NotImplementedError

    def summary(self, rows: list[Row]) -> str:
        """What came out, in a line."""
        raise NotImplementedError

    def run(self) -> list[Row]:
        """Measure all clips and write NAME.json and NAME.png."""
        paths = find_videos(self.clips)
        self.output.mkdir(parents=True, exist_ok=True)
        rows, clips = [], []
        with progress_bars() as self._bars:
            self._task = self._bars.add_task(self.name, total=len(paths), note="")
            for path in paths:
                self.note(f"{path.name}: reading")
                clip = read_clip(path)
                clips.append({"clip": path.stem, **_size(clip)})
                rows += [{"clip": path.stem, **row} for row in self.measure(clip)]
                self._bars.advance(self._task)
            rows += self.overall(rows)
            self._write(rows, clips)
        result(f"{self.output / self.name}.json: {self.summary(rows)}")
        return rows

    def note(self, text: str) -> None:
        """Show what is going on."""
        self._bars.update(self._task, note=text)

    @property
    def where(self) -> torch.device:
        """The device that is meant."""
        return fit_device(self.device)

    def encode(
        self,
        clip: Clip,
        bpp: float,
        *,
        frames: torch.Tensor | None = None,
        config: garv.FitConfig | None = None,
        variant: str = "",
    ) -> Path:
        """The clip's .garv of a rate, fitted with the library's defaults where it is not there yet.

        frames: others to fit in place of the clip's [T, H, W, C] uint8; config: other settings than the defaults, but
        for the rate; `variant` is what tells the files of either apart. `fit_seconds` tells how long it took.
        Raises KeyboardInterrupt where Ctrl-C ended the fit early, which is nothing to measure.
        """
        info = clip.video.info if frames is None else replace(clip.video.info, frames=len(frames), timestamps=None)
        steps = garv.PRESETS["garv"].steps_for(info.frames) if self.steps is None else self.steps
        label = f"{clip.path.stem}{variant and f'_{variant}'}"
        path = self.output / f"{label}_{bpp:g}bpp_{steps}steps.garv"
        if not path.exists():

            def show(state: FitProgress) -> None:
                self.note(f"{label} at {bpp:g} bpp: step {state.step} of {steps}, {state.psnr:.2f} dB")

            video = garv.Video(clip.video.frames if frames is None else frames, info)
            start = time.perf_counter()
            fitted = garv.fit(
                video, replace(config or garv.FitConfig(), bpp=bpp), steps=steps, device=self.where, progress=show
            )
            seconds = time.perf_counter() - start
            if fitted.interrupted:
                raise KeyboardInterrupt
            _note_made(path, {"fit_seconds": seconds})
            garv.save(path, fitted.data)
        self.note(f"{label} at {bpp:g} bpp: measuring")
        return path

    def baseline(self, clip: Clip, encoder: str, bpp: float, preset: str = "medium") -> tuple[Path, Row]:
        """The clip by one of `comparing.ENCODERS` at a rate, made where it is not there yet, and how it was made."""
        path = self.output / f"{clip.path.stem}_{encoder}_{preset}_{bpp:g}bpp.mp4"
        if not _made(path).exists():

            def show(crf: float) -> None:
                self.note(f"{clip.path.stem} at {bpp:g} bpp: {encoder} with crf {crf:g}")

            made = encode_baseline(clip, encoder, bpp, path, preset=preset, on_trial=show)
            _note_made(path, asdict(made))
        self.note(f"{clip.path.stem} at {bpp:g} bpp: measuring {encoder}")
        return path, json.loads(_made(path).read_text())

    def seconds(self, work: Callable[[], object], device: torch.device | None = None) -> float:
        """Seconds that a call takes, from the call until its result is there: the median of many, after a warm-up.

        device: what the work is done on, by default what the experiment runs on.
        """
        with torch.inference_mode():
            return measure_latency(work, device or self.where, Patience(seconds=1.0)).median

    def memory(self, work: Callable[[], object]) -> float | None:
        """MB (2^20 bytes) of a GPU's memory that tensors take at most meanwhile; None on the CPU, where torch does not
        count. What `work` opens itself counts, such as a decoder with its Gaussians."""
        return peak_memory(self.where, work)[1] if self.where.type == "cuda" else None

    def _write(self, rows: list[Row], clips: list[Row]) -> None:
        facts = {
            "experiment": self.name,
            "title": self.title,
            "about": inspect.getdoc(type(self)),
            "command": self._command(),
            "machine": describe(self.where),
            "clips": clips,
            "columns": self.columns,
            "rows": rows,
            "paper": self.paper,
        }
        figure = Figure(figsize=(7, 3.2), layout="constrained")
        self.draw(figure, rows)
        with whole_file(self.output / f"{self.name}.json") as part:
            part.write_text(json.dumps(facts, indent=2) + "\n")
        figure.savefig(self.output / f"{self.name}.png", dpi=110)

    def _command(self) -> str:
        """With what differs from the defaults."""
        words = ["python", f"examples/benchmarks/paper/{self.name}.py", *map(str, self.clips)]
        for option in fields(self):
            value = getattr(self, option.name)
            default = option.default if option.default_factory is MISSING else option.default_factory()
            if option.init and option.name != "clips" and value != default:
                values = map(str, value) if isinstance(value, tuple) else [str(value)]
                words += [f"--{option.name.replace('_', '-')}", *values]
        return shlex.join(words)


def main(kind: type[Experiment]) -> None:
    """The script's command. What the user got wrong ends it in one line."""
    try:
        tyro.cli(kind).run()
    except (garv.VideoError, garv.FitMemoryError, garv.GarvFormatError, OSError) as error:
        raise SystemExit(str(error)) from error


def find_videos(paths: Iterable[Path]) -> list[Path]:
    """The files, and of folders the videos in them by name. Raises VideoError where there is none."""
    found = []
    for path in paths:
        found += sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
    if not found:
        raise garv.VideoError(f"{', '.join(map(str, paths))}: holds no video ({' '.join(SUFFIXES)}); give some")
    return found


def bits_per_pixel(path: Path) -> float:
    """Of a .garv, by its size on disk."""
    with closing(garv.GarvFile(path)) as file:
        return file.bits_per_pixel


def fit_seconds(path: Path) -> float:
    """Of a .garv that `Experiment.encode` made: from frames in memory to the file's bytes."""
    return json.loads(_made(path).read_text())["fit_seconds"]


def by_clip(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of every clip."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["clip"], []).append(row)
    return groups


def mean(rows: Sequence[Row], key: str) -> float | None:
    """Mean over rows; None where one has none."""
    values = [row[key] for row in rows]
    return None if None in values else statistics.mean(values)


def _made(path: Path) -> Path:
    """Where it is written how a file was made."""
    return path.with_suffix(".made.json")


def _note_made(path: Path, facts: Row) -> None:
    with whole_file(_made(path)) as part:
        part.write_text(json.dumps(facts))


def _size(clip: Clip) -> Row:
    info = clip.video.info
    return {"file": clip.path.name, "width": info.width, "height": info.height, "frames": info.frames}
