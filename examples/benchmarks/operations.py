"""Time what reaches into parts of a video: opening a file, crops, line scans and mixes, on the synthetic scene C.

    python examples/benchmarks/operations.py --output docs/bench/operations.json

Times are seconds of a call by the host's clock: from the call, with the device idle, until its result is there. Memory
is that of torch's tensors on a GPU in MB (2^20 bytes): what a decoder holds after a call, and the most until then.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import cycle
from pathlib import Path

import torch
import tyro

import garv_gsplat as garv
from garv_gsplat.bench.cases import crop_window
from garv_gsplat.bench.machine import describe, start_counting
from garv_gsplat.bench.targets import make_scene
from garv_gsplat.bench.timing import Patience, Timing, measure_latency, synchronize
from garv_gsplat.cli.bench_tables import quartiles, seconds
from garv_gsplat.cli.display import progress_bars, result
from garv_gsplat.codec import encode
from garv_gsplat.encoding import fit_device
from garv_gsplat.measuring import peak_memory

PATIENCE = Patience()
OPENED = 15  # frames, each by a decoder of its own
MANY = 32  # frames a call: the most that one launch draws, of crops; of whole frames it draws fewer
PART = 0.04  # of the pixels, where a viewer looks


class CountedFile(io.BytesIO):
    """A file in memory that knows how many bytes were read of it."""

    bytes_read = 0

    def read(self, size: int = -1) -> bytes:
        self.bytes_read += len(data := super().read(size))
        return data


class Operations:
    """The scene and a decoder of it; every public method gives rows: operation, case, timing and what else is known."""

    def __init__(self, scale: float, device: torch.device) -> None:
        self.device = device
        self.high, self.low = (make_scene("C", scale=scale, seed=seed).gaussians.to(device) for seed in (0, 1))
        self.info, self.open = self.high.info, partial(garv.VideoDecoder, device=device)
        self.decoder = self.open(self.high)

    def opening(self) -> Iterator[tuple]:
        """A new decoder of the file for each frame; the first one warms up the library and does not count."""
        data, times, read = encode(self.high), [], []
        for frame in scattered(self.info.frames)[: OPENED + 1]:
            file = CountedFile(data)
            synchronize(self.device)
            start = time.perf_counter()
            decoder = self.open(file)
            decoder[frame]
            synchronize(self.device)
            times.append(time.perf_counter() - start)
            read.append(file.bytes_read)
            del decoder  # before the next one's time begins
        yield "opening", "to a first frame", Timing.of(times[1:]), {"bytes": len(data), "most_read": max(read[1:])}

    def crops(self) -> Iterator[tuple]:
        """A third of the pixels, 9/16 of each side: by the decoder of the whole video, and by one of them alone."""
        crop = crop_window(self.high, None)
        box, short = (garv.Box.from_pixels(self.info, *crop, *some) for some in ((), (100, 100 + MANY)))
        yield "pre-discard", "all frames", self._time(self.decoder.cropped, [box]), {}
        yield "pre-discard", f"{MANY} frames", self._time(self.decoder.cropped, [short]), {}
        part, host = self.decoder.cropped(box), self.high.to("cpu")
        for count in sorted({1, self.decoder.frames_per_launch, MANY}):
            ways = frames_of(self.decoder, count), frames_of(self.decoder, count, crop), frames_of(part, count)
            times = [self._time(way, scattered(self.info.frames - MANY)) for way in ways]
            for case, found in zip(("whole frames", "crop=", "after pre-discard"), times):
                yield "crop", f"{case}, {count} a call", found, {"times_as_fast": times[0].median / found.median}
        yield "memory", "whole frames", None, self._memory(lambda: self.open(host.to(self.device)), 1)
        yield "memory", "whole frames, as of a file", None, self._memory(lambda: self.open(host), 1)
        yield "memory", "after pre-discard", None, self._memory(lambda: self.decoder.cropped(box), 1)

    def line_scans(self) -> Iterator[tuple]:
        """Over all of time; also where the plane moves, by a tenth of the width from the first frame to the last."""
        pan = tuple((1.0, 0.0, 0.0, 1.0, 0.1 * k / self.info.frames, 0.0) for k in range(self.info.frames))
        moving = self.open(replace(self.high, info=replace(self.info, motion=pan)))
        rows, columns = scattered(self.info.height), scattered(self.info.width)
        halves = [y + 0.5 for y in scattered(self.info.height - 1)]
        for name, decoder in (("line scan", self.decoder), ("line scan, moving plane", moving)):
            for case, axis, places in (("rows", "y", rows), ("half rows", "y", halves), ("columns", "x", columns)):
                yield name, case, self._time(partial(decoder.line_scan, axis), places), {}

    def mixes(self) -> Iterator[tuple]:
        """Two encodings in one, and frames of what comes out."""
        info, w, h = self.info, PART**0.5 * self.info.width, PART**0.5 * self.info.height
        ends = (0, (0, 0, w, h)), (float(info.duration), (info.width - w, info.height - h, w, h))
        gazes = [garv.Region.random(info, PART, seed=seed) for seed in range(8)]
        one = garv.Region([garv.Box.from_pixels(info, *crop_window(self.high, None))])
        mix = partial(garv.mix, self.high, self.low)
        regions = {"one box": one, "a jumping gaze": gazes[0], "a moving region": garv.Region.moving(info, ends)}
        for case, region in regions.items():
            yield "mix", case, self._time(mix, [region]), {"boxes": len(region.boxes)}
        new = self._time(lambda gaze: mix(garv.Region(gaze.boxes)), gazes)  # a region keeps what it made of its boxes
        yield "mix", "a gaze new each time", new, {"boxes": len(gazes[0].boxes)}
        mixed = mix(gazes[0]).to("cpu")  # where those of a file are
        decoder = self.open(mixed)
        for count in sorted({1, decoder.frames_per_launch}):
            found = self._time(frames_of(decoder, count), scattered(info.frames - MANY))
            facts = {"frames_per_s": count / found.median, **self._memory(lambda: self.open(mixed), count)}
            yield "frames of a mix", f"{count} a call", found, facts

    def _time(self, call: Callable, places: Sequence) -> Timing:
        """Of calls with one place after the other."""
        place = cycle(places)
        return measure_latency(lambda: call(next(place)), self.device, PATIENCE)

    def _memory(self, opened: Callable[[], garv.VideoDecoder], count: int) -> dict[str, float | None]:
        """Of a decoder that decodes so many frames at once, its Gaussians with it; None on the CPU."""
        if self.device.type != "cuda":
            return {"held_mb": None, "peak_mb": None}
        start_counting(self.device)
        before = torch.cuda.memory_allocated(self.device)
        kept, peak = peak_memory(self.device, lambda: [d := opened(), frames_of(d, count)(len(d) // 2)])
        del kept[1]  # the frames
        return {"held_mb": (torch.cuda.memory_allocated(self.device) - before) / 2**20, "peak_mb": peak}


def frames_of(decoder: garv.VideoDecoder, count: int, crop: tuple[int, ...] | None = None) -> Callable[[int], object]:
    """What decodes so many frames from a given one on."""
    if count == 1 and crop is None:
        return decoder.__getitem__
    return lambda start: decoder.get_frames_in_range(start, start + count, crop=crop)


def scattered(count: int) -> list[int]:
    """The numbers below `count`, neighbours far apart."""
    return [k * 389 % count for k in range(count)]


def main(output: Path, scale: float = 1.0, device: str | None = None) -> None:
    """Measure everything, print a line each and write all to a file.

    Args:
        output: JSON file to write.
        scale: of the frames' sides, at equal Gaussians per pixel: makes the scene small enough for a CPU.
        device: where to decode; a GPU if there is one.
    """
    if not 0.01 <= scale <= 1:
        raise SystemExit(f"--scale must be from 0.01 to 1, got {scale:g}")
    output.parent.mkdir(parents=True, exist_ok=True)
    where, rows = fit_device(device), []
    with progress_bars() as bars:
        task = bars.add_task("measuring", total=4, note="making the scene")
        operations = Operations(scale, where)
        for measure in (operations.opening, operations.crops, operations.line_scans, operations.mixes):
            bars.update(task, note=measure.__name__)
            for operation, case, timing, facts in measure():
                rows.append({"operation": operation, "case": case, "seconds": timing and asdict(timing), **facts})
                times = f"{seconds(timing.median):>9} {quartiles(timing):>26}" if timing else ""
                known = ", ".join(f"{name} {value:,.6g}" for name, value in facts.items() if value is not None)
                result(f"{operation:23} {case:28} {times:36}  {known}".rstrip())
            bars.advance(task)
    info = operations.info
    scene = {"width": info.width, "height": info.height, "frames": info.frames, "num_gaussians": len(operations.high)}
    facts = {"machine": describe(where), "scene": scene, "rows": rows}
    output.write_text(json.dumps(facts, indent=2) + "\n")
    first = {row["operation"]: seconds(row["seconds"]["median"]) for row in reversed(rows) if row["seconds"]}
    shown = ", ".join(f"{name} {first[name]}" for name in ("opening", "pre-discard", "line scan", "mix"))
    result(f"{output}: {len(rows)} measurements on {facts['machine']['device']}; {shown}")


if __name__ == "__main__":
    tyro.cli(main)
