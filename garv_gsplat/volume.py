"""What the space-time volume is: the video's size and timing, and boxes inside it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import isfinite
from operator import index


@dataclass(frozen=True)
class VideoInfo:
    """Size and timing of a video, as it is shown (rotation already applied).

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

    def __post_init__(self) -> None:
        for name in ("width", "height", "frames", "channels"):
            object.__setattr__(self, name, index(getattr(self, name)))
        if not isfinite(self.frame_rate):
            raise ValueError(f"frame_rate must be a number of frames per second, got {self.frame_rate}")
        object.__setattr__(self, "frame_rate", Fraction(self.frame_rate))
        for name in ("width", "height", "frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 1 <= self.channels <= 8:
            raise ValueError(f"channels must be 1 to 8, got {self.channels}")
        if self.frame_rate <= 0:
            raise ValueError(f"frame_rate must be positive, got {self.frame_rate}")
        if self.timestamps is not None:
            if len(self.timestamps) != self.frames:
                raise ValueError(f"timestamps must have one entry a frame ({self.frames}), got {len(self.timestamps)}")
            if any(b <= a for a, b in zip(self.timestamps, self.timestamps[1:])):
                raise ValueError("timestamps must increase from frame to frame")

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

    def seconds(self, frame: int) -> Fraction:
        """When frame `frame` is shown, in seconds from the video's start."""
        return frame / self.frame_rate if self.timestamps is None else self.timestamps[frame]

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
    def from_pixels(cls, info: VideoInfo, x: float, y: float, width: float, height: float) -> Box:
        """The box of `width` x `height` pixels whose top left corner is (x, y), over all frames."""
        return cls(x / info.width, y / info.height, 0.0, (x + width) / info.width, (y + height) / info.height, 1.0)
