"""What the space-time volume is: the video's size, timing and colours, and boxes inside it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import ceil, inf, isfinite, nextafter
from numbers import Integral, Real
from operator import index
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy import ndarray

UNSPECIFIED = 2
"""what H.273 calls colours that nothing is said about"""


@dataclass(frozen=True)
class ColorInfo:
    """How a video file describes the colours of its YUV, in code points of ITU-T H.273 (those of FFmpeg, too).

    Frames are RGB: matrix and range are undone when they are read and applied again when they are written. Primaries
    and transfer are never converted; a screen needs them to show the frames as the source means them.
    """

    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    matrix: int = UNSPECIFIED
    """of YUV; 0 is RGB"""
    full_range: bool | None = None
    """whether luma takes 0 to 255 (True) or 16 to 235 (False), scaled to the bits of a sample; None is unspecified"""

    def __post_init__(self) -> None:
        for name in ("primaries", "transfer", "matrix"):
            object.__setattr__(self, name, index(getattr(self, name)))
            if not 0 <= getattr(self, name) <= 255:
                raise ValueError(f"{name} must be a code point of H.273, 0 to 255, got {getattr(self, name)}")


@dataclass(frozen=True)
class VideoInfo:
    """Size and timing of a video, as it is shown (rotation already applied), and how the source describes it.

    The volume is the unit cube over (x, y, t): pixel column i, row j of frame k has its centre at
    ((i + 0.5) / width, (j + 0.5) / height, (k + 0.5) / frames), whatever the frames' timestamps are.
    """

    width: int
    """pixels"""
    height: int
    """pixels"""
    frames: int
    """number of frames"""
    frame_rate: Fraction = Fraction(25)
    """frames per second (the average, when `timestamps` is given); other numbers become their exact fraction"""
    timestamps: tuple[Fraction, ...] | None = None
    """seconds at which each frame is shown, from 0, strictly increasing; None when the rate is constant"""
    channels: int = 3
    """values per pixel, 1 to 8; 3 is RGB"""
    color: ColorInfo = ColorInfo()
    """how a video file describes its colours; all unspecified for images and arrays"""
    rotation: int = 0
    """how the stored pictures of a video file were turned to stand as its display matrix says: quarter turns clockwise
    (0 to 3), plus 4 where left and right were swapped first"""
    motion: tuple[tuple[float, ...], ...] | None = None
    """of an encoding, how each frame sees the plane that its Gaussians lie in: (xx, xy, yx, yy, x, y), the affine map
    from unit square to unit square; see `motion`. None where they lie in the frames themselves"""

    def __post_init__(self) -> None:
        for name in ("width", "height", "frames", "channels", "rotation"):
            object.__setattr__(self, name, index(getattr(self, name)))
        if not isfinite(self.frame_rate):
            raise ValueError(f"frame_rate must be a number of frames per second, got {self.frame_rate}")
        object.__setattr__(self, "frame_rate", Fraction(self.frame_rate))
        for name in ("width", "height", "frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 1 <= self.channels <= 8:
            raise ValueError(f"channels must be 1 to 8, got {self.channels}")
        if not 0 <= self.rotation <= 7:
            raise ValueError(f"rotation must be 0 to 7, got {self.rotation}")
        if self.frame_rate <= 0:
            raise ValueError(f"frame_rate must be positive, got {self.frame_rate}")
        if self.timestamps is not None:
            if len(self.timestamps) != self.frames:
                raise ValueError(f"timestamps must have one entry a frame ({self.frames}), got {len(self.timestamps)}")
            if any(b <= a for a, b in zip(self.timestamps, self.timestamps[1:])):
                raise ValueError("timestamps must increase from frame to frame")
        if self.motion is not None:
            self._check_motion()

    def _check_motion(self) -> None:
        if len(self.motion) != self.frames or set(map(len, self.motion)) != {6}:
            raise ValueError(f"motion must have six numbers a frame ({self.frames}), got {len(self.motion)} rows")
        if not (abs(self.maps) < inf).all():  # nor NaN
            raise ValueError("motion must be finite numbers")
        xx, xy, yx, yy = self.maps[:, :4].T
        if not (xx * yy - xy * yx > 0).all():
            raise ValueError("motion must not fold the plane: the determinant of every map must be positive")

    @cached_property
    def maps(self) -> ndarray | None:
        """`motion` as an array [T, 6] float64, which is not to be written to; None where nothing moves."""
        if self.motion is None:
            return None
        import numpy as np  # what asks for a video's size alone does not wait for it

        return np.array(self.motion, np.float64)

    @property
    def pixels(self) -> int:
        """Pixels of the whole video, the denominator of bpp."""
        return self.width * self.height * self.frames

    @property
    def duration(self) -> Fraction:
        """Seconds from the first frame's start to the last one's end."""
        if self.timestamps is None:
            return self.frames / self.frame_rate
        return self.timestamps[-1] + 1 / self.frame_rate

    # By the names of torchcodec's VideoStreamMetadata, for whoever comes from there; `width` and `height` are the same.

    @property
    def num_frames(self) -> int:
        """`frames`, as torchcodec calls it."""
        return self.frames

    @property
    def average_fps(self) -> float:
        """Frames by the video's duration, as torchcodec calls it."""
        return float(self.frames / self.duration)

    @property
    def duration_seconds(self) -> float:
        """`duration`, as torchcodec calls it."""
        return float(self.duration)

    @property
    def begin_stream_seconds(self) -> float:
        """When the first frame is shown, as torchcodec calls it: always 0."""
        return 0.0

    @property
    def end_stream_seconds(self) -> float:
        """When the last frame ends, as torchcodec calls it."""
        return float(self.duration)

    def seconds(self, frame: float) -> Fraction:
        """When frame `frame` is shown, in seconds from the video's start; in proportion between two frames."""
        if self.timestamps is None:
            return Fraction(frame) / self.frame_rate
        whole = int(frame)
        return self.timestamps[whole] + (Fraction(frame) - whole) * self.frame_duration(whole)

    def frame_duration(self, frame: int) -> Fraction:
        """Seconds for which frame `frame` is shown."""
        if self.timestamps is None:
            return 1 / self.frame_rate
        end = self.timestamps[frame + 1] if frame + 1 < self.frames else self.duration
        return end - self.timestamps[frame]

    def frame_at(self, seconds: float) -> int:
        """The frame that is shown at a moment. Raises ValueError for one outside of the video."""
        if not 0 <= seconds < float(self.duration):
            raise ValueError(
                f"no frame is shown at {seconds} s: the video takes from 0 to {float(self.duration):.6g} s"
            )
        # In floats, so that a frame's own time, once rounded to a float, still finds the frame.
        return bisect_right(range(self.frames), seconds, key=lambda k: float(self.seconds(k))) - 1

    def moment_at(self, seconds: float) -> float:
        """`frame_at` with the part of the frame's time that has passed: 2.5 is half way from frame 2 to frame 3.

        The last frame stays. Raises ValueError for a moment outside of the video.
        """
        frame = self.frame_at(seconds)
        passed = (Fraction(seconds) - self.seconds(frame)) / self.frame_duration(frame)
        return min(max(0.0, frame + float(passed)), self.frames - 1.0)

    def frame_number(self, number: float) -> float:
        """A frame's number counted from the start: an int, or a float for a moment between two frames.

        Negative numbers count from the end. Raises IndexError outside of the video, TypeError for what is no number.
        """
        if isinstance(number, bool):
            raise TypeError(f"a frame is chosen by its number, got {number}; of a mask give the indices that it keeps")
        if not isinstance(number, int):
            fraction = isinstance(number, Real) and not isinstance(number, Integral)
            number = float(number) if fraction else index(number)
        counted = number + self.frames if number < 0 else number
        if not 0 <= counted <= self.frames - 1:
            raise IndexError(
                f"frame {number} does not exist: the video has {self.frames} frames, 0 to {self.frames - 1}, "
                f"or {-self.frames} to -1 from its end"
            )
        return counted

    def frames_between(self, start: float, stop: float, fps: float | None = None) -> Sequence[float]:
        """The numbers of the frames that are shown from `start` to before `stop`, in seconds.

        fps: so many moments a second instead, evenly spaced from the start on.

        Raises ValueError where this leaves the video, and for an fps that is not positive.
        """
        end = float(self.duration)
        if not 0 <= start <= stop <= end:
            raise ValueError(f"no frames are shown from {start} to {stop} s: the video takes from 0 to {end:.6g} s")
        if fps is not None and not 0 < fps < inf:
            raise ValueError(f"fps must be a positive number of frames per second, got {fps}")
        if start == stop:
            return range(0)
        if fps is None:
            return range(self.frame_at(start), self.frame_at(nextafter(stop, 0)) + 1)
        count = ceil((stop - start) * fps - 1e-6)  # less of a frame than that is rounding
        return [self.moment_at(start + k / fps) for k in range(count)]

    def frame_centers(self) -> list[float]:
        """The t coordinate of every frame in the unit cube."""
        return [(k + 0.5) / self.frames for k in range(self.frames)]


@dataclass(frozen=True)
class Box:
    """An axis-aligned box inside the unit cube; the default is the whole of it."""

    x0: float = 0.0
    y0: float = 0.0
    t0: float = 0.0
    x1: float = 1.0
    y1: float = 1.0
    t1: float = 1.0

    def __post_init__(self) -> None:
        for axis in "xyt":
            low, high = self.range(axis)
            if not low < high:
                raise ValueError(f"Box is empty along {axis}: {axis}0={low} must be below {axis}1={high}")

    def range(self, axis: str) -> tuple[float, float]:
        """The box's lower and upper end along "x", "y" or "t"."""
        return getattr(self, f"{axis}0"), getattr(self, f"{axis}1")

    @classmethod
    def from_pixels(
        cls,
        info: VideoInfo,
        x: float,
        y: float,
        width: float,
        height: float,
        start: float = 0,
        stop: float | None = None,
    ) -> Box:
        """The box of `width` x `height` pixels whose top left corner is (x, y), of frames `start` to before `stop`."""
        low = (x / info.width, y / info.height, start / info.frames)
        stop = info.frames if stop is None else stop
        return cls(*low, (x + width) / info.width, (y + height) / info.height, stop / info.frames)
