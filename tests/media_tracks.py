"""Makes small videos with sound and subtitles, and looks into them; beside `media`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from av.subtitles.subtitle import SubtitleSet

from tests.media import pattern

MILLISECOND = Fraction(1, 1000)
LINES = ((0.0, 0.2, "Hello {\\i1}world{\\i0}"), (0.25, 0.45, "two"))
"""seconds at which a subtitle begins and ends, and its text, in the form of ASS"""
ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


@dataclass(frozen=True)
class Sound:
    """A stream of sound to make."""

    codec: str = "aac"
    language: str = "und"
    start: float = 0.0
    seconds: float = 0.5


@dataclass(frozen=True)
class Text:
    """A stream of subtitles to make, titled and marked as forced."""

    codec: str
    language: str = "und"
    lines: Sequence[tuple[float, float, str]] = LINES


@dataclass(frozen=True)
class Stream:
    """What is in a file, stream by stream."""

    kind: str
    codec: str
    language: str | None
    title: str | None
    disposition: int
    packets: list[tuple[Fraction, Fraction, bytes]]
    """seconds at which it begins, seconds that it lasts, and its bytes"""

    @property
    def times(self) -> list[Fraction]:
        return [time for time, _, _ in self.packets]

    @property
    def data(self) -> list[bytes]:
        return [data for _, _, data in self.packets]


def make_with_tracks(
    path: Path,
    *tracks: Sound | Text,
    frames: np.ndarray | None = None,
    ticks: Sequence[int] | None = None,
    fonts: Sequence[str] = (),
) -> Path:
    """Pictures (12 of 64x48, 25 a second, or at `ticks` in milliseconds) with these tracks, interleaved."""
    frames = pattern() if frames is None else frames
    ticks = [40 * k for k in range(len(frames))] if ticks is None else ticks
    with av.open(str(path), "w") as container:
        # MP4 and AVI want a time base as fine as the ticks, AVI one frame a tick
        base = Fraction(1, 25) if path.suffix == ".avi" else MILLISECOND
        codec, options = ("mpeg4", {"bf": "2"}) if path.suffix == ".avi" else ("libx264", {"preset": "veryfast"})
        video = container.add_stream(codec, rate=25, options=options)
        video.width, video.height, video.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        video.codec_context.time_base = base
        streams = [_add_stream(container, track) for track in tracks]
        for font in fonts:
            container.add_attachment(font, "font/ttf", b"the font " + font.encode())
        packets = []
        for tick, pixels in zip(ticks, frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = round(tick * MILLISECOND / base), base
            packets += video.encode(frame)
        packets += video.encode(None)
        for track, stream in zip(tracks, streams):
            packets += _sound(track, stream) if isinstance(track, Sound) else _text(track, stream)
        container.mux(sorted(packets, key=lambda packet: packet.dts * packet.time_base))
    return path


def look(source: Path | bytes) -> list[Stream]:
    """All streams of a file, or of what `read_tracks` gave."""
    with av.open(io.BytesIO(source) if isinstance(source, bytes) else str(source)) as container:
        packets: dict[int, list] = {stream.index: [] for stream in container.streams}
        for packet in container.demux():
            if packet.pts is not None:
                duration = (packet.duration or 0) * packet.time_base
                packets[packet.stream.index].append((packet.pts * packet.time_base, duration, bytes(packet)))
        return [
            Stream(
                stream.type,
                stream.name if stream.codec_context is None else stream.codec_context.codec.canonical_name,
                stream.metadata.get("language"),
                stream.metadata.get("title") or stream.metadata.get("name"),  # MP4's
                int(stream.disposition.value),
                packets[stream.index],
            )
            for stream in container.streams
        ]


def look_beside_pictures(source: Path) -> list[Stream]:
    """The streams of a file that are no pictures."""
    return [stream for stream in look(source) if stream.kind != "video"]


def _add_stream(container: av.container.OutputContainer, track: Sound | Text) -> av.stream.Stream:
    if isinstance(track, Sound):
        stream = container.add_stream(track.codec, rate=48000 if "opus" in track.codec else 44100, layout="mono")
    else:
        stream = container.add_stream(track.codec)
        stream.codec_context.subtitle_header = ASS_HEADER
        stream.codec_context.time_base = stream.time_base = MILLISECOND
        stream.disposition = Disposition.forced.value
        stream.metadata["title"] = f"title of {track.codec}"
    stream.metadata["language"] = track.language
    return stream


def _sound(track: Sound, stream: av.AudioStream) -> list[av.Packet]:
    size, rate, packets = 1024, stream.rate, []
    for k in range(int(track.seconds * rate / size)):
        wave = np.sin(np.arange(k * size, (k + 1) * size) * 0.06).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = round(track.start * rate) + k * size
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def _text(track: Text, stream: av.subtitles.stream.SubtitleStream) -> list[av.Packet]:
    packets = []
    for begin, end, line in track.lines:
        length = round((end - begin) * 1000)
        event = SubtitleSet.create(f"0,0,Default,,0,0,0,,{line}".encode(), 0, length)
        packet = stream.codec_context.encode_subtitle(event)
        packet.pts = packet.dts = round(begin * 1000)
        packet.duration, packet.time_base, packet.stream = length, MILLISECOND, stream
        packets.append(packet)
    return packets
