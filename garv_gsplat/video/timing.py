"""When frames are shown: which of them a time window keeps, and whether their rate is constant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from garv_gsplat.video.frames import VideoError

DEFAULT_RATE = Fraction(25)
"""frames per second of what says nothing about its rate"""


@dataclass(frozen=True)
class Window:
    """The part of a video that is asked for."""

    start: Fraction = Fraction(0)
    """seconds from the first frame"""
    end: Fraction | None = None
    """seconds from the first frame; None for the video's end"""
    limit: int | None = None
    """most frames to take"""

    @classmethod
    def parse(cls, name: str, start: float | None, duration: float | None, max_frames: int | None) -> Window:
        """Check what the user asked for; `name` is the file's, for the error."""
        for label, value, least in (("start", start, 0), ("duration", duration, None), ("max_frames", max_frames, 1)):
            if value is None:
                continue
            if not math.isfinite(value) or (value < least if least is not None else value <= 0):
                wanted = f"at least {least}" if least is not None else "above 0"
                raise VideoError(f"{name}: {label} is {value}; give a number {wanted}")
        # a float such as 0.1 is not what the user typed; to the microsecond it is
        begin = Fraction(start or 0).limit_denominator(1_000_000)
        end = None if duration is None else begin + Fraction(duration).limit_denominator(1_000_000)
        return cls(begin, end, max_frames)

    def starts_after(self, seconds: Fraction, slack: Fraction) -> bool:
        """Whether a frame shown at `seconds`, known to within `slack`, comes too early."""
        return seconds + slack < self.start

    def ends_before(self, seconds: Fraction, slack: Fraction) -> bool:
        """Whether a frame shown at `seconds`, known to within `slack`, comes too late."""
        return self.end is not None and seconds + slack >= self.end

    def select(self, seconds: Sequence[Fraction], slack: Fraction) -> range:
        """The frames to keep of those shown at `seconds` (increasing)."""
        first = next((k for k, t in enumerate(seconds) if not self.starts_after(t, slack)), len(seconds))
        stop = next((k for k, t in enumerate(seconds) if self.ends_before(t, slack)), len(seconds))
        if self.limit is not None:
            stop = min(stop, first + self.limit)
        return range(first, max(first, stop))

    def empty_error(self, name: str, last: Fraction) -> VideoError:
        """The error for a window without frames; the video's last frame is shown at `last` seconds."""
        end = "the end" if self.end is None else f"{float(self.end):g} s"
        return VideoError(
            f"{name}: no frame from {float(self.start):g} s to {end}; "
            f"its last frame is at {float(last):.3f} s, choose an earlier start or a longer duration"
        )


@dataclass(frozen=True)
class Timing:
    """Frame rate and, where it varies, timestamps, as VideoInfo wants them."""

    frame_rate: Fraction
    timestamps: tuple[Fraction, ...] | None = None
    note: str | None = None
    """a line for the user"""


def frame_times(ticks: Sequence[int | None], time_base: Fraction, rate: Fraction) -> list[Fraction]:
    """Seconds of frames from the first one on; from the rate where a tick is missing or out of order."""
    if not _increasing(ticks):
        return [k / rate for k in range(len(ticks))]
    return [(tick - ticks[0]) * time_base for tick in ticks]


def find_timing(ticks: Sequence[int | None], time_base: Fraction, rates: Sequence[Fraction | None]) -> Timing:
    """Find the frame rate of frames shown at `ticks`, or that it varies.

    Args:
        ticks: timestamps in units of `time_base` seconds; None where the file has none.
        time_base: seconds.
        rates: what the container says, best first; None or 0 where it says nothing.
    """
    known = [rate for rate in rates if rate]
    # single frames and files without timestamps sometimes carry the time base's inverse as their rate
    stated = next((rate for rate in known if rate <= 1000), DEFAULT_RATE)
    if len(ticks) == 1:
        return Timing(stated)
    if not _increasing(ticks):
        note = f"timestamps are missing or out of order: taken as {float(stated):g} frames a second"
        return Timing(stated, note=note)
    average = Fraction(len(ticks) - 1) / ((ticks[-1] - ticks[0]) * time_base)
    simple = [average.limit_denominator(limit) for limit in (1, 1001, 1_000_000)]
    for rate in [*known, *simple]:
        if rate > 0 and _is_constant(ticks, time_base, rate):
            return Timing(rate)
    timestamps = tuple((tick - ticks[0]) * time_base for tick in ticks)
    note = f"variable frame rate ({float(average):.4g} a second on average): every frame keeps its time"
    return Timing(average.limit_denominator(1_000_000), timestamps, note)


def _increasing(ticks: Sequence[int | None]) -> bool:
    return None not in ticks and all(b > a for a, b in zip(ticks, ticks[1:]))


def _is_constant(ticks: Sequence[int], time_base: Fraction, rate: Fraction) -> bool:
    """Whether the ticks are those of a constant rate, rounded to the time base."""
    # the test in integers: |elapsed * time_base - k / rate| <= tolerance * time_base
    unit = time_base.numerator * rate.numerator
    frame = time_base.denominator * rate.denominator
    # rounding both ends moves a distance by up to one tick; a tick as long as a frame cannot be rounding
    tolerance = unit if 2 * unit < frame else 0
    return all(abs((tick - ticks[0]) * unit - k * frame) <= tolerance for k, tick in enumerate(ticks))
