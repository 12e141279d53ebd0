"""An open video file: its picture stream, and decoding past what is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from garv_gsplat.video.frames import WANTED, VideoError
from garv_gsplat.video.timing import DEFAULT_RATE


@dataclass
class Damage:
    """What went wrong while decoding."""

    failures: int = 0
    """packets, or ends of file, that gave no frames but an error"""
    reason: str = ""
    """FFmpeg's words for the first failure"""

    def add(self, reason: str) -> None:
        """Count one failure."""
        self.failures += 1
        self.reason = self.reason or reason


@dataclass
class Source:
    """An open video file and its picture stream."""

    path: Path
    container: InputContainer
    stream: VideoStream
    damage: Damage = field(default_factory=Damage)
    reached: Fraction = Fraction(0)
    """seconds at which the last packet read so far ends, sound included"""

    @property
    def codec(self) -> str:
        """What the pictures are coded as, whatever decodes them: h264, hevc, av1, ..."""
        return self.stream.codec_context.codec.canonical_name

    @property
    def rates(self) -> tuple[Fraction | None, Fraction | None]:
        """Frames per second, as the container says or FFmpeg guesses; the guess is the rounder number."""
        return self.stream.guessed_rate, self.stream.average_rate

    @property
    def rate(self) -> Fraction:
        """The rate that stands in for missing timestamps."""
        return next((rate for rate in self.rates if rate), DEFAULT_RATE)

    def frames(self) -> Iterator[av.VideoFrame]:
        """Decode to the end, past what is damaged."""
        try:
            for packet in self.container.demux():
                if packet.pts is not None:
                    self.reached = max(self.reached, (packet.pts + (packet.duration or 0)) * packet.time_base)
                if packet.stream is not self.stream:  # not by index: the packet that flushes a decoder has none
                    continue
                if is_cut_off(packet, self.container):  # it would decode to a smeared frame
                    self.damage.add("a packet is cut short")
                    continue
                try:
                    decoded = packet.decode()
                except av.error.FFmpegError as error:
                    self.damage.add(error.strerror)
                    continue
                yield from decoded
        except av.error.FFmpegError as error:
            self.damage.add(error.strerror)

    def no_frames_error(self) -> VideoError:
        """The error for a file of which nothing decodes."""
        why = f" ({self.damage.reason})" if self.damage.reason else ""
        return VideoError(f"{self.path}: no frame can be decoded{why}; the file is damaged, give another copy")


def is_cut_off(packet: av.Packet, container: InputContainer) -> bool:
    """Whether the end of a packet is missing, as at the end of a file that is cut short."""
    # transport streams also flag packets that are whole, before any jump of their counters
    return packet.is_corrupt and container.format.name != "mpegts"


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a video file for reading.

    Raises:
        VideoError: it is not a video, has no pictures, or no decoder for them.
    """
    try:
        # "file:" because FFmpeg would take "12:30.mp4" for a protocol; the whitelist because a playlist named .mp4
        # would make it fetch what the list names
        container = av.open(f"file:{path}", metadata_errors="replace", options={"protocol_whitelist": "file"})
    except (av.error.FFmpegError, UnicodeError, ValueError) as error:
        reason = _open_failure(path, error)
        raise VideoError(f"{path}: not a video PyAV can open ({reason}); {WANTED}") from error
    with container:
        # FFmpeg can draw text files as ANSI art
        is_text = container.format.name == "tty"
        streams = [] if is_text else [s for s in container.streams.video if not _is_cover(s)]
        if not streams:
            kinds = ["text"] if is_text else sorted({s.type for s in container.streams if s.type != "video"})
            raise VideoError(f"{path}: there are no pictures in it, only {' and '.join(kinds) or 'a cover'}; {WANTED}")
        stream = streams[0]
        if stream.codec_context is None:
            raise VideoError(f"{path}: this PyAV has no decoder for its pictures; convert it to H.264 first")
        stream.thread_type = "AUTO"
        yield Source(path, container, stream)


def _open_failure(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        is_mp4 = file.read(8)[4:] == b"ftyp"
    if is_mp4 and isinstance(error, av.error.InvalidDataError):
        return "an MP4 without its index, probably cut off"
    return getattr(error, "strerror", None) or str(error)


def _is_cover(stream: VideoStream) -> bool:
    """Whether this is the picture on a song's cover."""
    return bool(stream.disposition & Disposition.attached_pic)
