"""Video files, through PyAV: frames exactly as its `to_ndarray(format="rgb24")` gives them, then turned upright."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from garv_gsplat.video.color import read_color
from garv_gsplat.video.frames import FrameBuffer, Video, VideoError
from garv_gsplat.video.orientation import read_rotation, turn
from garv_gsplat.video.source import Source, open_source
from garv_gsplat.video.timing import Window, find_timing, frame_times
from garv_gsplat.volume import ColorInfo, VideoInfo

PACKET_IS_FRAME = frozenset({"av1", "dnxhd", "ffv1", "h264", "hevc", "mjpeg", "png", "prores", "rawvideo", "vp9"})
"""Codecs whose every packet holds one frame that is shown; VP8 and MPEG-4 have packets that show nothing."""
CHECKED_FRAMES = 8
"""Frames that are decoded to see whether they are those the packets promise."""
CUT_FRAMES = 3
"""How many frames' time a file may end before its header says, before it counts as cut short."""


def read_container(path: Path, window: Window, on_frame: Callable[[int], None] | None) -> Video:
    """Decode the part of a video file that the window asks for."""
    with open_source(path) as source:
        clock = Clock(source)
        buffer: FrameBuffer | None = None
        ticks: list[int | None] = []
        notes: list[str] = []
        for frame in clock.frames(window):
            pixels = upright(path, frame)
            if buffer is None:
                buffer = FrameBuffer(*pixels.shape[:2])
                notes = _source_notes(source, frame)
            _check_size(path, pixels, buffer, clock.count - 1)
            buffer.append(pixels)
            ticks.append(frame.pts)
            if on_frame is not None:
                on_frame(buffer.count)
        if clock.first is None:
            raise source.no_frames_error()
        if buffer is None:
            raise window.empty_error(path.name, clock.seconds)
        timing = find_timing(ticks, source.stream.time_base, source.rates)
        notes += [timing.note] if timing.note else []
        notes += _damage_notes(source, clock)
        frames = buffer.finish()
    count, height, width, channels = frames.shape
    color, rotation = read_color(clock.first), read_rotation(clock.first)
    info = VideoInfo(width, height, count, timing.frame_rate, timing.timestamps, channels, color, rotation)
    return Video(frames, info, tuple(notes))


def container_info(path: Path, window: Window) -> VideoInfo:
    """What the frames that the window asks for are, and when they are shown."""
    scan = _scan(path)
    chosen = scan.select(window)
    timing = find_timing(scan.ticks[chosen.start : chosen.stop], scan.time_base, scan.rates)
    return VideoInfo(
        scan.width,
        scan.height,
        len(chosen),
        timing.frame_rate,
        timing.timestamps,
        color=scan.color,
        rotation=scan.rotation,
    )


def container_span(path: Path, window: Window) -> tuple[Fraction, Fraction | None]:
    """When the part that the window asks for begins, with its first frame, and when it ends (None: with the file).

    In seconds on the file's own clock, which its sound and subtitles share.
    """
    scan = _scan(path)
    first = (scan.ticks[0] or 0) * scan.time_base
    begin = first + scan.seconds[scan.select(window).start]
    return begin, None if window.end is None else first + window.end


@dataclass(frozen=True)
class _Scan:
    """What a file holds, found without decoding all of it."""

    path: Path
    width: int
    height: int
    ticks: list[int | None]
    """when each frame is shown, in units of `time_base`"""
    time_base: Fraction
    rates: tuple[Fraction | None, Fraction | None]
    seconds: list[Fraction]
    """when each frame is shown, from the first one on"""
    color: ColorInfo
    rotation: int

    def select(self, window: Window) -> range:
        """The frames that the window asks for; raises VideoError when there are none."""
        chosen = window.select(self.seconds, self.time_base / 2)
        if not chosen:
            raise window.empty_error(self.path.name, self.seconds[-1])
        return chosen


def _scan(path: Path) -> _Scan:
    ticks = _packet_ticks(path)
    with open_source(path) as source:
        frames = source.frames()
        head = list(itertools.islice(frames, CHECKED_FRAMES))
        if not head:
            raise source.no_frames_error()
        height, width = upright(path, head[0]).shape[:2]
        color, rotation = read_color(head[0]), read_rotation(head[0])
        decoded = [frame.pts for frame in head]
        # fields of an interlaced video may come in packets of their own
        if ticks is None or ticks[: len(head)] != decoded or head[0].interlaced_frame:
            del head
            ticks = decoded + [frame.pts for frame in frames]
        time_base = source.stream.time_base
        seconds = frame_times(ticks, time_base, source.rate)
        return _Scan(path, width, height, ticks, time_base, source.rates, seconds, color, rotation)


def _packet_ticks(path: Path) -> list[int] | None:
    """Sorted timestamps of all frames, from the packets alone; None when packets do not tell."""
    with open_source(path) as source:
        if source.codec not in PACKET_IS_FRAME:
            return None
        shown, count = [], 0
        try:
            for packet in source.container.demux(source.stream):
                if packet.is_corrupt or (packet.size and packet.pts is None):
                    return None
                count += packet.size > 0  # the last packet, of no bytes, only flushes the decoder
                if packet.size and not packet.is_discard:
                    shown.append(packet.pts)
        except av.error.FFmpegError:
            return None
        if source.stream.frames not in (0, count):
            return None
        return sorted(shown)


class Clock:
    """Tells when frames are shown, in seconds from the first one, and so which of them a window keeps."""

    def __init__(self, source: Source) -> None:
        self.count = 0
        self.first: av.VideoFrame | None = None  # the video's, whether the window keeps it or not
        self.complete = True  # whether the window reaches to the video's end
        self.seconds = Fraction(0)
        self.slack = source.stream.time_base / 2  # half a tick: how exactly a time is known
        self._source = source

    def frames(self, window: Window) -> Iterator[av.VideoFrame]:
        """Decode the frames that the window keeps."""
        taken = 0
        for frame in self._source.frames():
            seconds = self._read(frame)
            if window.starts_after(seconds, self.slack):
                continue
            if window.ends_before(seconds, self.slack) or taken == window.limit:
                self.complete = False
                return
            taken += 1
            yield frame

    def _read(self, frame: av.VideoFrame) -> Fraction:
        """Seconds of the next frame; counted from the rate where the file has no timestamps."""
        if self.first is None:
            self.first = frame
        if frame.pts is None or self.first.pts is None:
            self.seconds = self.count / self._source.rate
        else:
            self.seconds = (frame.pts - self.first.pts) * self._source.stream.time_base
        self.count += 1
        return self.seconds


def upright(path: Path, frame: av.VideoFrame) -> np.ndarray:
    """[H, W, 3] uint8, turned as the display matrix says; raises VideoError for colours that are not known."""
    try:
        pixels = frame.to_ndarray(format="rgb24")
    except av.error.FFmpegError as error:
        raise VideoError(
            f"{path}: its colours (matrix {frame.colorspace} of ITU-T H.273) cannot be turned into RGB "
            f"({error.strerror}); convert it to BT.709 first"
        ) from error
    return turn(pixels, read_rotation(frame))


def _check_size(path: Path, pixels: np.ndarray, buffer: FrameBuffer, index: int) -> None:
    if pixels.shape[:2] != buffer.size:
        raise VideoError(
            f"{path}: frame {index} is {pixels.shape[1]}x{pixels.shape[0]}, those before are "
            f"{buffer.size[1]}x{buffer.size[0]}; choose a part of one size with start and duration"
        )


def _source_notes(source: Source, frame: av.VideoFrame) -> list[str]:
    """What of the source is not kept as it is."""
    notes = []
    components = frame.format.components
    depth = max(component.bits for component in components)
    if depth > 8:
        notes.append(f"{depth}-bit source: taken as 8-bit RGB")
    if sum(not component.is_alpha for component in components) == 1 and not frame.format.has_palette:
        notes.append("grey source: taken as 8-bit RGB")
    if any(component.is_alpha for component in components):
        notes.append("source with transparency: it is dropped")
    if read_rotation(frame):
        notes.append("frames turned upright as the file's rotation metadata says")
    ratio = source.stream.sample_aspect_ratio
    if ratio and ratio != 1:
        notes.append(f"pixels are not square ({ratio.numerator}:{ratio.denominator}): taken as they are stored")
    return notes


def _damage_notes(source: Source, clock: Clock) -> list[str]:
    """A line when the file has less in it than it should."""
    if source.damage.failures:
        reason = source.damage.reason
        return [f"the file is damaged ({reason}): {clock.count} frames could be decoded, the rest is left out"]
    if not clock.complete:
        return []
    container = source.container
    if container.duration is None:
        return []
    length = Fraction(container.duration, av.time_base)
    # some containers count their length from 0, some from the first packet: believe the one that fits
    end = max(source.reached, source.reached - Fraction(container.start_time or 0, av.time_base))
    if length - end > CUT_FRAMES / source.rate:
        return [f"the file is cut short: it ends at {float(end):.2f} s of {float(length):.2f} s"]
    return []
