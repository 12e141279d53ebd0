"""The whole benchmark: targets, cases, checks, times, ceilings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from garv_gsplat.bench.cases import Case, Kind, Launches, Settings, cases, chosen_frames
from garv_gsplat.bench.ceilings import Ceilings
from garv_gsplat.bench.checking import Bounds, CheckResult, Expected, check, expect
from garv_gsplat.bench.counting import Counts, drawn_bytes_per_frame, fitted_bytes_per_frame
from garv_gsplat.bench.machine import PeakMemory, peak_memory, start_counting
from garv_gsplat.bench.targets import Target
from garv_gsplat.bench.timing import Patience, Timing, measure_latency, measure_throughput

SAMPLED_TILES = 32


@dataclass(frozen=True)
class Row:
    """One case of one target; times in seconds."""

    target: str
    case: Case
    width: int
    height: int
    num_gaussians: int
    per_frame: Timing
    check: CheckResult
    counts: Counts
    """of one frame"""
    bytes_per_frame: float
    pairs_per_s: float
    """Gaussian-pixel pairs above the threshold"""
    bytes_per_s: float
    pairs_of_ceiling: float
    bytes_of_ceiling: float
    memory: PeakMemory

    @property
    def frames_per_s(self) -> float:
        """At the median."""
        return 1 / self.per_frame.median

    def as_dict(self) -> dict:
        """For JSON."""
        return {**asdict(self), "frames_per_s": self.frames_per_s}


def run_target(
    target: Target,
    kinds: tuple[Kind, ...],
    settings: Settings,
    ceilings: Ceilings,
    *,
    bounds: Bounds,
    patience: Patience,
    on_row: Callable[[Case, Row | None], None] = lambda case, row: None,
) -> list[Row]:
    """Check and time every case of a target.

    on_row: called with a case before it starts, and again with its row.

    Raises CheckError at the first case that draws something wrong.
    """
    rows: list[Row] = []
    expected: dict[tuple[bool, bool], Expected] = {}
    frames = chosen_frames(target.gaussians.info.frames, settings.batches)
    for case in cases(kinds, settings.batches):
        on_row(case, None)
        key = (case.kind == "forward+backward", case.cropped)
        if key not in expected:
            expected[key] = expect(target, case, settings, frames, SAMPLED_TILES)
        rows.append(_run_case(target, case, settings, ceilings, frames, expected[key], bounds, patience))
        on_row(case, rows[-1])
    return rows


def _run_case(
    target: Target,
    case: Case,
    settings: Settings,
    ceilings: Ceilings,
    frames: list[int],
    expected: Expected,
    bounds: Bounds,
    patience: Patience,
) -> Row:
    device, counts = settings.device, expected.counts
    launches = Launches(target, case, settings, frames)
    found = check(launches, expected, target, settings, bounds)
    start_counting(device)
    if case.mode == "latency":
        per_frame = measure_latency(launches.run_next, device, patience)
    else:
        per_frame = measure_throughput(launches.run_all, device, patience).per(len(frames))
    memory = peak_memory(device)
    del launches
    info, size = target.gaussians.info, (expected.width, expected.height)
    if expected.work is not None:
        moved = drawn_bytes_per_frame(expected.work, size, info.channels, case.batch)
    else:
        moved = fitted_bytes_per_frame(target.gaussians, size, counts, case.batch)
    pairs_per_s, bytes_per_s = counts.pixel_pairs / per_frame.median, moved / per_frame.median
    return Row(
        target=target.name,
        case=case,
        width=expected.width,
        height=expected.height,
        num_gaussians=len(target.gaussians),
        per_frame=per_frame,
        check=found,
        counts=counts,
        bytes_per_frame=moved,
        pairs_per_s=pairs_per_s,
        bytes_per_s=bytes_per_s,
        pairs_of_ceiling=pairs_per_s / ceilings.pairs_per_s,
        bytes_of_ceiling=bytes_per_s / ceilings.bytes_per_s,
        memory=memory,
    )
