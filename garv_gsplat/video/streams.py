"""Copying streams of sound and subtitles from one container into another, packet by packet."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from garv_gsplat.video.source import is_cut_off

SOUND = "audio"
SUBTITLES = "subtitle"
ATTACHMENT = "attachment"
TICK = Fraction(1, 1000)
"""seconds to which Matroska rounds times, as FFmpeg writes it"""
TEXT = {("matroska", "mov_text"): "subrip", ("mp4", "subrip"): "mov_text"}
"""containers and subtitles that they cannot hold: the codec for which FFmpeg rewrites the same text"""


@dataclass(eq=False)
class Track:
    """A stream of an open container, and those of its packets that are to be copied."""

    stream: Stream
    packets: list[Packet] = field(default_factory=list)
    damaged: int = 0
    """packets that had to be left out"""
    _earliest: Fraction | None = field(default=None, init=False)

    @property
    def codec(self) -> str:
        """FFmpeg's name for the codec; empty where FFmpeg has no decoder for it."""
        context = self.stream.codec_context
        return "" if context is None else context.codec.canonical_name

    def __str__(self) -> str:
        kind = "sound" if self.stream.type == SOUND else self.stream.type + "s"
        facts = (self.codec or "unknown codec", self.stream.metadata.get("language", "und"))
        return f"{kind} ({', '.join(fact for fact in facts if fact != 'und')})"

    def fits(self, container_format: str) -> bool:
        """Whether a container of this format can hold the stream; packets that it takes for damaged are left out.

        FFmpeg sorts packets before it writes them: in the file itself an error would come with some other packet.
        """
        whole = []
        try:
            with av.open(io.BytesIO(), "w", format=container_format) as trial:
                target = self._add_stream(trial)
                trial.start_encoding()  # refuses some streams that could be added
                for packet in self.packets:
                    if self._is_rewritten_for(container_format) or _is_whole(packet, target):
                        whole.append(packet)
        except (av.error.FFmpegError, ValueError):
            return False
        self.damaged += len(self.packets) - len(whole)
        self.packets = whole
        return True

    def earliest(self, container_format: str, packet: Packet) -> Fraction:
        """The earliest time in seconds at which a container of this format holds the stream: 0, or before it.

        Decoders of some codecs run up on packets before 0, whose sound is not heard. `packet` is one of the stream's.
        """
        if self._earliest is None:
            self._earliest = self._find_earliest(container_format, packet)
        return self._earliest

    def add_to(self, container: OutputContainer) -> None:
        """Add the stream to a container that it fits, and make its packets those to be written there."""
        target = self._add_stream(container)
        if self._is_rewritten_for(container.format.name):
            self.packets = [text for packet in self.packets if (text := self._rewrite(packet, target)) is not None]
        for packet in self.packets:
            packet.stream = target

    def _is_rewritten_for(self, container_format: str) -> bool:
        return (container_format, self.codec) in TEXT

    def _find_earliest(self, container_format: str, packet: Packet) -> Fraction:
        file = io.BytesIO()
        try:
            with av.open(file, "w", format=container_format) as trial:
                early = _copy(packet, self._add_stream(trial))
                early.pts, early.dts, early.time_base = -1000, -1000, TICK
                trial.mux(early)
            file.seek(0)
            with av.open(file) as trial:  # FFmpeg has moved what came too early
                moved = [packet.pts * packet.time_base for packet in trial.demux() if packet.pts is not None]
        except (av.error.FFmpegError, ValueError):  # the packet is damaged, or the stream does not fit
            moved = []
        return min(moved, default=Fraction(0))

    def _add_stream(self, container: OutputContainer) -> Stream:
        if not self._is_rewritten_for(container.format.name):
            stream = container.add_stream_from_template(self.stream)
        else:
            stream = container.add_stream(TEXT[container.format.name, self.codec])
            decoder, encoder = self.stream.codec_context, stream.codec_context
            decoder.open(strict=False)  # it then has the styles that the encoder starts from
            encoder.subtitle_header, encoder.time_base = decoder.subtitle_header, TICK
        source = self.stream.metadata
        names = {"language": source.get("language"), "title": source.get("title") or source.get("name")}  # name: MP4
        stream.metadata.update({key: value for key, value in names.items() if value})
        stream.disposition = self.stream.disposition.value
        return stream

    def _rewrite(self, packet: Packet, target: Stream) -> Packet | None:
        """The packet's text for another codec; None where there is none: MP4 fills pauses with empty lines."""
        try:
            text = self.stream.codec_context.decode2(packet)
            written = None if text is None else target.codec_context.encode_subtitle(text)
        except av.error.FFmpegError:
            self.damaged += 1
            return None
        if written is None or not written.size:
            return None
        written.pts, written.dts, written.duration = packet.pts, packet.dts, packet.duration
        written.time_base = packet.time_base
        return written


def read_packets(container: InputContainer, tracks: list[Track]) -> Iterator[tuple[Track, Packet]]:
    """The tracks' packets as the file has them, up to where it is too damaged to read on."""
    by_index = {track.stream.index: track for track in tracks if track.stream.type != ATTACHMENT}
    if not by_index:
        return  # PyAV takes no streams for all of them
    try:
        for packet in container.demux([track.stream for track in by_index.values()]):
            track = by_index[packet.stream.index]
            if is_cut_off(packet, container):
                track.damaged += 1
                continue
            packet.pts = packet.dts if packet.pts is None else packet.pts
            packet.dts = packet.pts if packet.dts is None else packet.dts
            if packet.size and packet.pts is not None:  # the last packet of a stream only flushes its decoder
                yield track, packet
    except av.error.FFmpegError:
        return  # the pictures end here, too: read_video says so


def in_order(tracks: Iterable[Track]) -> list[tuple[Fraction, Packet]]:
    """The packets of all tracks and when they are to be decoded, in seconds, in the order in which a file has them."""
    timed = [(packet.dts * packet.time_base, packet) for track in tracks for packet in track.packets]
    return sorted(timed, key=lambda entry: entry[0])


def _copy(packet: Packet, target: Stream) -> Packet:
    """A packet of its own to try out: writing changes packets."""
    copy = av.Packet(bytes(packet))
    copy.pts, copy.dts, copy.duration, copy.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
    copy.stream = target
    return copy


def _is_whole(packet: Packet, target: Stream) -> bool:
    try:
        target.container.mux(_copy(packet, target))
    except (av.error.InvalidDataError, av.error.ArgumentError):
        return False
    return True
