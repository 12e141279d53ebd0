"""Sound and subtitles beside the pictures: as Matroska in memory, and from there into a written video."""

from __future__ import annotations

import io
import math
import os
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

from garv_gsplat.video.container import container_span
from garv_gsplat.video.frames import Video, VideoError
from garv_gsplat.video.images import is_image_path
from garv_gsplat.video.reader import check_source
from garv_gsplat.video.source import open_source
from garv_gsplat.video.streams import ATTACHMENT, SOUND, SUBTITLES, TICK, Track, in_order, read_packets

MATROSKA = "matroska"


def read_tracks(
    path: str | os.PathLike[str],
    start: float | None = None,
    duration: float | None = None,
    *,
    on_note: Callable[[str], None] | None = None,
) -> bytes | None:
    """The sound and subtitles that belong to the frames of `read_video(path, start=start, duration=duration)`.

    Packets are copied as they are, with language, title and disposition; only MP4's own text subtitles, which Matroska
    does not have, are rewritten as SubRip. Attachments (fonts) stay where there are subtitles; covers and data do not.
    The same file gives the same bytes.

    Time 0 is that of the first frame. The part has the packets that begin from then on until its end; subtitles are
    shortened to it. Packets before 0 on which a decoder runs up, and which are not heard, stay where Matroska has a
    place for them, which AAC from MP4 lacks: its first 20 ms fade in.

    Args:
        path: as for `read_video`; images have neither sound nor subtitles.
        start: seconds from the first frame.
        duration: seconds to take from `start` on; to the end of the file if not given.
        on_note: called with a line for the user about each stream that cannot be taken, or not whole.

    Returns:
        A Matroska file without pictures; None when there is nothing to take.

    Raises:
        VideoError: as `read_video` does.
    """
    file, window = check_source(path, start, duration)
    if is_image_path(file):
        return None
    with open_source(file) as source:
        streams = source.container.streams
        tracks = [Track(stream) for stream in (*streams.audio, *streams.subtitles)]
        if not tracks:
            return None
        begin, end = container_span(file, window)
        for track, packet in read_packets(source.container, tracks):
            if _move(packet, begin, end, track):
                track.packets.append(packet)
        refused = [track for track in tracks if not track.fits(MATROSKA)]
        data = _write_matroska([track for track in tracks if track not in refused], streams.attachments)
        notes = [f"{track} left out: Matroska, in which it would be kept, cannot hold this kind" for track in refused]
        for note in [*notes, *_damage_notes(tracks)] if on_note is not None else []:
            on_note(note)
    return data


class TrackWriter:
    """Writes what `read_tracks` gave into a file of pictures, in step with them."""

    def __init__(self, data: bytes | None, path: Path, container_format: str) -> None:
        """Find out what a container of this format can hold; `path` is the file's, for what is said about it."""
        self._tracks: list[Track] = []
        self._refused: list[str] = []
        self._queue: deque[tuple[Fraction, Packet]] = deque()
        self._output: OutputContainer | None = None
        if data is None:
            return
        try:
            source = av.open(io.BytesIO(data), format=MATROSKA)
        except av.error.FFmpegError as error:
            raise VideoError(
                f"{path}: tracks are no Matroska file ({error.strerror}); give what read_tracks returns, or None"
            ) from error
        streams = source.streams
        tracks = [Track(stream) for stream in (*streams.audio, *streams.subtitles, *streams.attachments)]
        for track, packet in read_packets(source, tracks):
            track.packets.append(packet)
        for track in tracks:
            is_attachment = track.stream.type == ATTACHMENT
            if not track.packets and not is_attachment:
                continue  # MP4 cannot be finished with empty streams of some codecs
            if track.stream.type == SOUND:
                _restore_times(track)
            if track.fits(container_format):
                self._tracks.append(track)
            elif not is_attachment:  # they only serve subtitles, of which this is said
                self._refused.append(f"{track} left out: {path.suffix} files cannot hold this kind; write .mkv")

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about what is not in the file, one line each; complete when all is written."""
        return (*self._refused, *_damage_notes(self._tracks))

    def start(self, output: OutputContainer) -> None:
        """Add the streams to a file that nothing is written to yet."""
        self._output = output
        for track in self._tracks:
            track.add_to(output)
        self._queue.extend(in_order(self._tracks))

    def write_until(self, seconds: Fraction | None = None) -> None:
        """Write what comes up to this time, counted from the first frame; all that is left when it is not given."""
        while self._queue and (seconds is None or self._queue[0][0] <= seconds):
            self._output.mux(self._queue.popleft()[1])


def add_tracks(
    video: Video, path: str | os.PathLike[str], start: float | None = None, duration: float | None = None
) -> Video:
    """The video with the sound and subtitles of the file that it was read from, and notes on what cannot be taken."""
    notes: list[str] = []
    tracks = read_tracks(path, start, duration, on_note=notes.append)
    return replace(video, tracks=tracks, notes=(*video.notes, *notes))


def _move(packet: Packet, begin: Fraction, end: Fraction | None, track: Track) -> bool:
    """Count a packet's time from `begin`, and shorten a subtitle to the part; False for a packet outside of it."""
    pts, dts = (round((ticks * packet.time_base - begin) / TICK) for ticks in (packet.pts, packet.dts))
    duration = round((packet.duration or 0) * packet.time_base / TICK)
    length = math.inf if end is None else round((end - begin) / TICK)
    if track.stream.type == SUBTITLES and duration:
        stop = min(pts + duration, length)
        pts = dts = max(pts, 0)
        duration = stop - pts
        if duration <= 0:
            return False
    packet.pts, packet.dts, packet.duration, packet.time_base = pts, dts, duration, TICK
    return pts < length and (pts >= 0 or pts * TICK >= track.earliest(MATROSKA, packet))


def _write_matroska(tracks: Iterable[Track], attachments: Iterable[Stream]) -> bytes | None:
    tracks = [track for track in tracks if track.packets]
    if any(track.stream.type == SUBTITLES for track in tracks):
        tracks += [track for track in map(Track, attachments) if track.fits(MATROSKA)]
    file = io.BytesIO()
    # without bitexact the file has random identifiers in it
    with av.open(file, "w", format=MATROSKA, container_options={"fflags": "+bitexact"}) as container:
        for track in tracks:
            track.add_to(container)
        for _, packet in in_order(tracks):
            container.mux(packet)
    return file.getvalue() or None  # nothing is written before the first packet


def _restore_times(track: Track) -> None:
    """Undo what Matroska does to the times of sound: some durations are missing, and all times are rounded.

    MP4 would leave out a last packet without a duration, and have a gap for every rounding.
    """
    packets, context = track.packets, track.stream.codec_context
    gaps = [b.pts - a.pts for a, b in zip(packets, packets[1:])]
    for packet, gap in zip(packets, [*gaps, *gaps[-1:]]):
        packet.duration = packet.duration or gap
    size, sample = context.frame_size, Fraction(1, context.sample_rate)
    if not size:  # packets of different lengths
        return
    expected = packets[0].pts * packets[0].time_base
    for packet in packets:
        stated, length = packet.pts * packet.time_base, packet.duration * packet.time_base
        exact = expected if abs(expected - stated) <= TICK else stated
        expected = exact + size * sample
        is_whole = not length or abs(length - size * sample) <= TICK
        packet.duration = size if is_whole else round(length / sample)
        packet.time_base, packet.pts = sample, round(exact / sample)
        packet.dts = packet.pts


def _damage_notes(tracks: Iterable[Track]) -> list[str]:
    return [f"{track}: {track.damaged} of its packets are damaged and left out" for track in tracks if track.damaged]
