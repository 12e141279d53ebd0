"""Writing videos: H.264 in MP4 or Matroska, through PyAV."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
import torch
from av.codec import Codec
from av.codec.codec import UnknownCodecError
from av.video.reformatter import ColorRange, Interpolation
from torch import Tensor

from garv_gsplat.video.color import written_color
from garv_gsplat.video.frames import VideoError
from garv_gsplat.video.tracks import TrackWriter
from garv_gsplat.volume import VideoInfo

FORMATS = {".mp4": "mp4", ".mkv": "matroska"}
ENCODER = "libx264"
FINEST_TICKS = 1_000_000
"""Ticks per second when timestamps have no common denominator below this: microseconds."""


def check_writable(path: str | os.PathLike[str]) -> None:
    """Find out before the work, not after it, that a file cannot be written; leaves nothing behind.

    Raises:
        VideoError: the folder is missing or cannot be written, or `path` is a folder.
    """
    target = Path(path)
    folder = target.parent
    try:
        if target.is_dir():
            raise VideoError(f"{target}: is a folder; give the name of a file in it")
        if not folder.is_dir():
            raise VideoError(f"{target}: there is no folder {folder}; create it first")
        target.exists()  # raises for a name that is too long
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise VideoError(f"{target}: cannot be written ({error.strerror}); choose another folder or name") from error


class VideoWriter:
    """Write a video of known size and timing, frame by frame, with the sound and subtitles that belong to it.

    A context manager. The file appears under its name when the block ends; after an exception nothing is left of it,
    and a file that was there before stays.

    Even sizes are stored as yuv420p, which every player shows, others as yuv444p, with the matrix and range that
    `info.color` says, and the file says what its colours are. Matroska rounds times to milliseconds.
    """

    def __init__(
        self, path: str | os.PathLike[str], info: VideoInfo, tracks: bytes | None = None, *, crf: float = 12
    ) -> None:
        """Check everything that can be checked without writing.

        Args:
            path: ends in .mp4 or .mkv; a file that is there is replaced.
            info: size, number and times of the frames, and their colours in YUV; 3 channels.
            tracks: sound and subtitles, as `read_tracks` gives them; streams that the container cannot hold are left
                out, which `notes` says: .mkv takes all of them, MP4 of subtitles only plain text (SubRip).
            crf: x264's quality, from 0 (lossless YUV) to 51; 12 is 41 dB on natural video.

        Raises:
            VideoError: another suffix, a folder that cannot be written, no H.264 encoder, not 3 channels, tracks that
                are not what `read_tracks` gives.
        """
        self.path = Path(path)
        self.info = info
        suffix = self.path.suffix.lower()
        if suffix not in FORMATS:
            raise VideoError(f"{self.path}: cannot write '{suffix}' files; let the name end in {' or '.join(FORMATS)}")
        if info.channels != 3:
            raise VideoError(f"{self.path}: a video file holds RGB, the video has {info.channels} channels")
        if not 0 <= crf <= 51:
            raise VideoError(f"{self.path}: crf is {crf}; give 0 (best) to 51")
        _check_encoder(self.path)
        check_writable(self.path)
        self._format = FORMATS[suffix]
        self._tracks = TrackWriter(tracks, self.path, self._format)
        self._crf = crf
        self._time_base, self._ticks = _ticks(info)
        self._color = written_color(info)
        self._color_range = ColorRange.JPEG if self._color.full_range else ColorRange.MPEG
        self._pixel_format = "yuv420p" if info.width % 2 == 0 and info.height % 2 == 0 else "yuv444p"
        self._part = self.path.with_name(f".{os.getpid()}-{id(self):x}.part")
        self._written = 0
        self._container = None
        self._stream = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about what is not in the file, one line each; complete when the block has ended."""
        return self._tracks.notes

    def __enter__(self) -> VideoWriter:
        try:
            self._container = av.open(str(self._part), "w", format=self._format)
            self._stream = self._add_stream()
            self._tracks.start(self._container)
        except av.error.FFmpegError as error:
            self._abort()
            raise self._failure(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._abort()
            return
        try:
            if self._written != self.info.frames:
                raise VideoError(f"{self.path}: {self._written} of {self.info.frames} frames were written; write all")
            self._mux(self._stream.encode(None))
            self._tracks.write_until()
            self._container.close()
            self._part.replace(self.path)
        except (av.error.FFmpegError, OSError) as failure:
            raise self._failure(failure) from failure
        finally:
            self._abort()  # after success there is nothing left that it could remove

    def write(self, frames: Tensor | np.ndarray) -> None:
        """Append frames.

        Args:
            frames: [B, H, W, 3] uint8, on any device.

        Raises:
            VideoError: another shape or type, more frames than `info` says, or the disk is full.
        """
        if self._stream is None:
            raise VideoError(f"{self.path}: the file is not open; write inside `with VideoWriter(...) as writer:`")
        size = (self.info.height, self.info.width, 3)
        if tuple(frames.shape[1:]) != size or str(frames.dtype).removeprefix("torch.") != "uint8":
            wanted = f"[frames, {size[0]}, {size[1]}, 3] uint8"
            raise VideoError(f"{self.path}: frames are {tuple(frames.shape)} {frames.dtype}; give {wanted}")
        if self._written + len(frames) > self.info.frames:
            raise VideoError(f"{self.path}: frame {self._written + len(frames)} of {self.info.frames}; write no more")
        if isinstance(frames, torch.Tensor):
            frames = frames.detach().cpu().numpy()
        try:
            for pixels in frames:
                self._mux(self._stream.encode(self._to_frame(pixels)))
                self._written += 1
        except av.error.FFmpegError as error:
            raise self._failure(error) from error

    def _mux(self, packets: list[av.Packet]) -> None:
        """Write packets of pictures, before each of them the sound and subtitles that come earlier."""
        for packet in packets:
            self._tracks.write_until(packet.dts * packet.time_base)
            self._container.mux(packet)

    def _add_stream(self) -> av.VideoStream:
        rate = self.info.frame_rate.limit_denominator(FINEST_TICKS)
        # tune psnr: no psychovisual tricks, the file is to show what was decoded
        options = {"crf": str(self._crf), "preset": "medium", "tune": "psnr"}
        stream = self._container.add_stream(ENCODER, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = self.info.width, self.info.height, self._pixel_format
        context = stream.codec_context
        context.time_base = stream.time_base = self._time_base
        color = self._color
        context.color_primaries, context.color_trc, context.colorspace = color.primaries, color.transfer, color.matrix
        context.color_range = self._color_range
        return stream

    def _to_frame(self, pixels: np.ndarray) -> av.VideoFrame:  # pixels [H, W, 3]
        rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        rgb.colorspace = self._color.matrix  # the one of the YUV to make: RGB has none
        # averaging the chroma of 2x2 pixels is 1.4 dB better than the default, which takes every other one
        frame = rgb.reformat(
            format=self._pixel_format,
            dst_color_range=self._color_range,
            interpolation=Interpolation.AREA,
        )
        frame.pts = self._ticks[self._written]
        frame.time_base = self._time_base
        return frame

    def _abort(self) -> None:
        """Close and remove the unfinished file."""
        container, self._container, self._stream = self._container, None, None
        if container is not None:
            with contextlib.suppress(av.error.FFmpegError, OSError):  # what fails to be written is removed below
                container.close()
        self._part.unlink(missing_ok=True)

    def _failure(self, error: Exception) -> VideoError:
        return VideoError(f"{self.path}: cannot be written ({getattr(error, 'strerror', None) or error})")


def _check_encoder(path: Path) -> None:
    try:
        Codec(ENCODER, "w")
    except UnknownCodecError as error:
        raise VideoError(f"{path}: this PyAV has no H.264 encoder ({ENCODER}); install PyAV from PyPI") from error


def _ticks(info: VideoInfo) -> tuple[Fraction, range | list[int]]:
    """A time base in seconds, and when each frame is shown in units of it."""
    if info.timestamps is None:
        return 1 / info.frame_rate.limit_denominator(FINEST_TICKS), range(info.frames)
    common = math.lcm(*(seconds.denominator for seconds in info.timestamps))
    rate = common if common <= FINEST_TICKS else FINEST_TICKS
    ticks = [round((seconds - info.timestamps[0]) * rate) for seconds in info.timestamps]
    for k in range(1, len(ticks)):  # encoders refuse two frames at one time
        ticks[k] = max(ticks[k], ticks[k - 1] + 1)
    return Fraction(1, rate), ticks
