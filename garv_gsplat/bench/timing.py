"""Repeated, warmed-up, synchronised runs."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

_SAMPLE_SECONDS = 0.01  # events resolve microseconds, and a launch of one frame takes tens of them
_WARM_SECONDS = 0.2  # until a GPU's clock has risen


@dataclass(frozen=True)
class Timing:
    """Seconds of one run, over its repetitions."""

    median: float
    lower_quartile: float
    upper_quartile: float
    fastest: float
    slowest: float
    samples: int
    runs_per_sample: int

    @classmethod
    def of(cls, samples: list[float], runs_per_sample: int = 1) -> Timing:
        """From the seconds of each sample."""
        each = sorted(s / runs_per_sample for s in samples)
        quartiles = statistics.quantiles(each, n=4, method="inclusive") if len(each) > 1 else each * 3
        return cls(quartiles[1], quartiles[0], quartiles[2], each[0], each[-1], len(each), runs_per_sample)

    def per(self, count: int) -> Timing:
        """The same times divided by `count`, such as the frames of a run."""
        values = (self.median, self.lower_quartile, self.upper_quartile, self.fastest, self.slowest)
        return Timing(*(v / count for v in values), self.samples, self.runs_per_sample)


@dataclass(frozen=True)
class Patience:
    """How long and how often to repeat."""

    seconds: float = 0.5
    """of all samples together; at least three are taken however long they are"""
    repeats: int = 50
    """samples at most"""


def measure_throughput(run: Callable[[], object], device: torch.device, patience: Patience) -> Timing:
    """Time runs that are queued one after the other: the device is never waited for between them.

    On CUDA between two events; on the CPU by the clock.
    """
    once = _warm_up(run, device, patience)
    runs = max(1, math.ceil(_SAMPLE_SECONDS / once))
    samples = min(patience.repeats, max(3, int(patience.seconds / (runs * once))))
    if device.type != "cuda":
        return Timing.of([_clock(run, runs) for _ in range(samples)], runs)
    events = [torch.cuda.Event(enable_timing=True) for _ in range(samples + 1)]
    with torch.cuda.device(device):
        events[0].record()
        for event in events[1:]:
            for _ in range(runs):
                run()
            event.record()
        synchronize(device)
    return Timing.of([a.elapsed_time(b) / 1000 for a, b in zip(events, events[1:])], runs)


def measure_latency(run: Callable[[], object], device: torch.device, patience: Patience) -> Timing:
    """Time runs alone: from the call, with the device idle, until its result is there; by the host's clock."""
    once = _warm_up(run, device, patience)
    seconds = []
    for _ in range(min(10 * patience.repeats, max(3, int(patience.seconds / once)))):
        synchronize(device)
        start = time.perf_counter()
        run()
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return Timing.of(seconds)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _warm_up(run: Callable[[], object], device: torch.device, patience: Patience) -> float:
    """Run until it takes no longer than it will; the seconds of the last time."""
    synchronize(device)
    begin = time.perf_counter()
    for count in range(1, 1_000_000):
        start = time.perf_counter()
        run()
        synchronize(device)
        end = time.perf_counter()
        if end - start > patience.seconds or count >= 2 and end - begin >= min(_WARM_SECONDS, patience.seconds / 2):
            break
    return max(end - start, 1e-9)


def _clock(run: Callable[[], object], runs: int) -> float:
    start = time.perf_counter()
    for _ in range(runs):
        run()
    return time.perf_counter() - start
