"""A video in memory: its frames, what it is, and what to tell the user about it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from garv_gsplat.volume import VideoInfo

GROWTH_BYTES = 64 << 20
"""How much a FrameBuffer grows at a time: what it may hold too much, at most."""


WANTED = "give a video file or a folder of images"
"""What to do about a path that is neither."""


class VideoError(ValueError):
    """A video that cannot be read or written; one line that names the file and says what to do."""


@dataclass(frozen=True, eq=False)
class Video:
    """A whole video, decoded.

    Pixels are those of PyAV's `to_ndarray(format="rgb24")`, turned as the file's rotation metadata says.
    """

    frames: Tensor
    """[T, H, W, C] uint8 on the CPU; C is 3 (RGB) for everything read from a file"""
    info: VideoInfo
    """size and timing; agrees with the shape of `frames`"""
    notes: tuple[str, ...] = ()
    """what the user should know about how the source was taken, one line each"""
    tracks: bytes | None = None
    """sound and subtitles, as `read_tracks` gives them"""

    def __post_init__(self) -> None:
        info = self.info
        wanted = (info.frames, info.height, info.width, info.channels)
        if tuple(self.frames.shape) != wanted or self.frames.dtype != torch.uint8:
            got = f"{list(self.frames.shape)} {self.frames.dtype}"
            raise VideoError(f"frames of a Video must be {list(wanted)} uint8 as its info says, got {got}")


def estimate_bytes(info: VideoInfo) -> int:
    """Bytes that the frames of a video of this size take in memory, known before reading it."""
    return info.pixels * info.channels


def video_from_array(array: np.ndarray | Tensor, frame_rate: int | float | Fraction = 25) -> Video:
    """Wrap frames that are already in memory, without a copy where their layout allows.

    Args:
        array: [T, H, W, C] uint8 with 1 to 8 channels, 3 for RGB; NumPy, or a tensor on any device.
        frame_rate: frames per second.

    Raises:
        VideoError: another shape or type.
    """
    if not isinstance(array, (np.ndarray, Tensor)):
        raise VideoError(f"frames must be a NumPy array or a torch tensor, got {type(array).__name__}")
    if array.ndim != 4 or 0 in array.shape or array.shape[3] > 8:
        raise VideoError(f"array has shape {tuple(array.shape)}; give [frames, height, width, channels (1 to 8)]")
    if str(array.dtype).removeprefix("torch.") != "uint8":
        raise VideoError(
            f"array holds {array.dtype}; give uint8 from 0 to 255 (for floats in [0, 1]: multiply by 255 and round)"
        )
    if isinstance(array, np.ndarray):
        # torch shares memory only with arrays that are writable and have no negative strides
        array = torch.from_numpy(np.require(array, requirements=("C", "W")))
    frames = array.detach().cpu()
    count, height, width, channels = frames.shape
    rate = as_frame_rate(frame_rate, "array")
    return Video(frames, VideoInfo(width, height, count, frame_rate=rate, channels=channels))


def as_frame_rate(value: int | float | Fraction, name: str) -> Fraction:
    """`value` as an exact, positive number of frames per second; `name` is for the error."""
    try:
        rate = Fraction(value).limit_denominator(1_000_000)
    except (ValueError, OverflowError):
        rate = Fraction(0)  # nan and infinity
    if rate <= 0:
        raise VideoError(f"{name}: frame_rate is {value}; give frames per second above 0")
    return rate


class FrameBuffer:
    """Collects frames into one array that grows in place.

    NumPy's `resize` ends in realloc, which moves pages and not bytes for blocks of this size: the video is never held
    twice, though its number of frames is not known beforehand.
    """

    def __init__(self, height: int, width: int) -> None:
        self.count = 0
        self.size = height, width
        self._step = max(1, GROWTH_BYTES // (height * width * 3))
        self._array = np.empty((self._step, height, width, 3), np.uint8)

    def append(self, frame: np.ndarray) -> None:  # [H, W, 3] uint8
        """Copy one frame to the end."""
        if self.count == len(self._array):
            # no view of the array is handed out before `finish`, so there is no reference to check for
            self._array.resize((self.count + self._step, *self._array.shape[1:]), refcheck=False)
        self._array[self.count] = frame
        self.count += 1

    def finish(self) -> Tensor:
        """The frames [T, H, W, 3] that were appended; the buffer must not be used after."""
        self._array.resize((self.count, *self._array.shape[1:]), refcheck=False)
        return torch.from_numpy(self._array)
