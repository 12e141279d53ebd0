"""`garv bench`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from garv_gsplat.cli import CommandError

if TYPE_CHECKING:
    from garv_gsplat.bench.ablation import Ablation
    from garv_gsplat.bench.cases import Case, Kind, Settings
    from garv_gsplat.bench.ceilings import Ceilings
    from garv_gsplat.bench.checking import Bounds
    from garv_gsplat.bench.suite import Row
    from garv_gsplat.bench.targets import Target
    from garv_gsplat.bench.timing import Patience

REFUSED = 1


@dataclass
class Bench:
    """Check the renderer against double precision, then time it, beside what this device can do."""

    targets: tyro.conf.Positional[tuple[str, ...]] = ("A", "B", "C")
    """the synthetic scenes A (much overlap), B (few, wide Gaussians), C (like a fitted video): 1920x1080, 600 frames;
    and .garv files"""
    kinds: tuple[Literal["forward", "decode", "forward+backward"], ...] = ("forward", "decode", "forward+backward")
    """forward: packed Gaussians to uint8 images, whole frames and crops; decode: the same frames by the decoder;
    forward+backward: a fit's step without loss and optimizer"""
    batches: tuple[int, ...] = (1, 4, 16)
    """frames a launch, for throughput; one frame alone is timed as latency besides"""
    crop: tuple[int, int] | None = None
    """columns and rows of crops; 9/16 of each side when not given"""
    ablation: bool = False
    """instead: equation 2 directly, equation 3, the culls one by one, and what decoding ships, on a crop that is small
    enough"""
    tau: float | None = None
    """grey levels of 255 below which a Gaussian is left out of a tile; the decoder's if not given, 0 leaves out
    nothing"""
    fit_tau: float | None = None
    """weight below which forward+backward leaves a Gaussian out of a tile; a fit's if not given"""
    max_mean_error: float = 0.1
    """nothing is timed whose mean error passes this, in grey levels of 255"""
    max_error: float = 0.5
    """nothing is timed whose largest error passes this, in grey levels of 255"""
    max_gradient_error: float = 1e-3
    """nor whose gradients are further off than this, relative"""
    seconds: float = 0.5
    """to repeat each case for"""
    repeats: int = 50
    """samples of each case at most"""
    scale: float = 1.0
    """of the scenes' sides, at equal Gaussians per pixel: makes them small enough for a CPU"""
    num_gaussians: int | None = None
    """of the scenes, instead of their own"""
    frames: int | None = None
    """of the scenes, instead of 600"""
    seed: int = 0
    """of the scenes"""
    device: str | None = None
    """cpu, cuda or cuda:N; a GPU if there is one when not given"""
    json: Path | None = None
    """file to write all figures to"""

    def run(self) -> int:
        """Check and time one target after the other; the exit code."""
        self._check_arguments()

        import torch

        from garv_gsplat.bench.ceilings import measure_ceilings
        from garv_gsplat.bench.checking import Bounds, CheckError
        from garv_gsplat.bench.targets import SCENES
        from garv_gsplat.bench.timing import Patience
        from garv_gsplat.cli import bench_tables
        from garv_gsplat.cli.display import result, tell
        from garv_gsplat.video import check_writable

        for name in self.targets:
            if name not in SCENES and not Path(name).exists():
                raise CommandError(f"{name}: neither a file nor one of the scenes {', '.join(SCENES)}")
        if self.json:
            check_writable(self.json)
        settings, patience = self._settings(), Patience(self.seconds, self.repeats)
        bounds = Bounds(self.max_mean_error, self.max_error, self.max_gradient_error)
        ceilings = measure_ceilings(settings.device)
        result(bench_tables.opening(settings, ceilings))
        rows: list[Row] = []
        ablations: list[Ablation] = []
        try:
            for name in self.targets:
                target = self._target(name)
                if self.ablation:
                    ablations.append(_ablate(target, settings, bounds, patience))
                else:
                    rows += _time(target, self.kinds, settings, ceilings, bounds, patience)
        except CheckError as error:
            tell(f"refused: {error}")
            return REFUSED
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise CommandError("out of memory; give fewer frames a launch (--batches) or a smaller scene") from error
        if self.json:
            facts = _facts(settings, ceilings, bounds, rows, ablations)
            self.json.write_text(json.dumps(facts, indent=2) + "\n")
        result(bench_tables.summary(settings, bounds, rows, ablations))
        return 0

    def _check_arguments(self) -> None:
        for name in ("num_gaussians", "frames", "repeats", "seconds", "scale"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and (name != "scale" or value <= 1)):
                wanted = "more than 0 and at most 1" if name == "scale" else "more than 0"
                raise CommandError(f"--{name.replace('_', '-')} must be {wanted}, got {value}")
        for name in ("tau", "fit_tau"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < (256 if name == "tau" else 1):
                raise CommandError(f"--{name.replace('_', '-')} must be a number from 0 on, got {value}")
        if not self.targets or not self.kinds or not self.batches or min(self.batches) < 1:
            raise CommandError("at least one target, one of --kinds and one of --batches from 1 on are needed")

    def _settings(self) -> Settings:
        import torch

        from garv_gsplat.bench.cases import Settings
        from garv_gsplat.cli.devices import parse_device
        from garv_gsplat.fitting import FitConfig
        from garv_gsplat.rendering import DECODING_TAU

        return Settings(
            device=torch.device(parse_device(self.device)),
            batches=tuple(sorted(set(self.batches))),
            tau=DECODING_TAU if self.tau is None else self.tau,
            fit_tau=FitConfig().tau if self.fit_tau is None else self.fit_tau,
            crop=self.crop,
        )

    def _target(self, name: str) -> Target:
        from garv_gsplat.bench.cases import crop_box
        from garv_gsplat.bench.targets import SCENES, make_scene, read_target

        if name in SCENES:
            changes = {"scale": self.scale, "num_gaussians": self.num_gaussians, "frames": self.frames}
            target = make_scene(name, **changes, seed=self.seed)
        else:
            target = read_target(name)
        try:
            crop_box(target.gaussians, self.crop)
        except ValueError as error:
            raise CommandError(str(error)) from error
        return target


def _time(
    target: Target,
    kinds: tuple[Kind, ...],
    settings: Settings,
    ceilings: Ceilings,
    bounds: Bounds,
    patience: Patience,
) -> list[Row]:
    from garv_gsplat.bench.cases import cases
    from garv_gsplat.bench.suite import run_target
    from garv_gsplat.cli.bench_tables import print_target
    from garv_gsplat.cli.display import progress_bars

    with progress_bars() as bars:
        task = bars.add_task("timing", total=len(cases(kinds, settings.batches)), note=target.name)

        def show(case: Case, row: Row | None) -> None:
            bars.update(task, advance=int(row is not None), note=f"{target.name}: {case}")

        rows = run_target(target, kinds, settings, ceilings, bounds=bounds, patience=patience, on_row=show)
    print_target(rows, settings.device)
    return rows


def _ablate(target: Target, settings: Settings, bounds: Bounds, patience: Patience) -> Ablation:
    from garv_gsplat.bench.ablation import run_ablation
    from garv_gsplat.cli.bench_tables import print_ablation
    from garv_gsplat.cli.display import progress_bars

    with progress_bars() as bars:
        task = bars.add_task("timing", total=None, note=target.name)

        def show(done: int, total: int, variant: str) -> None:
            bars.update(task, completed=done, total=total, note=f"{target.name}: {variant}")

        table = run_ablation(target, settings, bounds=bounds, patience=patience, progress=show)
    print_ablation(table)
    return table


def _facts(
    settings: Settings, ceilings: Ceilings, bounds: Bounds, rows: list[Row], ablations: list[Ablation]
) -> dict[str, Any]:
    from garv_gsplat.bench.checking import CHECKED
    from garv_gsplat.bench.counting import BYTES_COUNTED
    from garv_gsplat.bench.machine import describe

    return {
        "machine": describe(settings.device),
        "settings": {**asdict(settings), "device": str(settings.device)},
        "bounds": asdict(bounds),
        "ceilings": asdict(ceilings),
        "checked": CHECKED,
        "bytes_counted": BYTES_COUNTED,
        "results": [row.as_dict() for row in rows],
        "ablations": [asdict(table) for table in ablations],
    }
