"""What the space-time volume is: the video's size, timing and colours, and boxes inside it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import isfinite
from operator import index

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
