"""Baselines: the same frames by x264, x265 and SVT-AV1, through PyAV, at a rate that is asked for.

What the source decodes to goes to the encoder as it is where the encoder takes it, without a detour over RGB. PSNR is
what is measured, so the encoders are told to strive for it (tune psnr), and not for what looks sharp.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext
from av.codec import Codec
from av.codec.codec import UnknownCodecError
from av.container import OutputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

from garv_gsplat.comparing.clip import Clip
from garv_gsplat.comparing.crf import CrfScale, closest, next_crf
from garv_gsplat.comparing.planes import choose_format, convert, without_range
from garv_gsplat.video import VideoError, display_matrix, picture_stream, read_color
from garv_gsplat.volume import ColorInfo

GOP = 250
"""frames from key frame to key frame at most, for every encoder; x264's and x265's own choice"""
PRESETS = {
    **{"ultrafast": 12, "superfast": 11, "veryfast": 10, "faster": 9, "fast": 8},
    **{"medium": 6, "slow": 5, "slower": 4, "veryslow": 3, "placebo": 2},
}
"""presets by the names of x264 and x265, fastest first, and the number that SVT-AV1 is given for them"""
COLOR = ("color_range", "colorspace", "color_primaries", "color_trc")
"""PyAV's names for how a stream's colours are described"""


@dataclass(frozen=True)
class Encoder:
    """One of FFmpeg's encoders, and what is its own."""

    library: str
    """FFmpeg's name for it"""
    messages: str
    """types of the units of its stream that say something about the pictures and hold none"""
    crf: CrfScale
    odd_sizes: bool
    """whether it takes odd widths and heights with subsampled chroma"""

    def options(self, preset: str, crf: float) -> dict[str, str]:
        """What FFmpeg is told."""
        if self.library == "libsvtav1":
            # FFmpeg's own option for the crf takes whole numbers only; 1 is PSNR
            return {"preset": str(PRESETS[preset]), "svtav1-params": f"tune=1:crf={crf:g}"}
        quiet = {"x265-params": "log-level=none"} if self.library == "libx265" else {}
        return {"preset": preset, "tune": "psnr", "crf": f"{crf:g}", **quiet}


X26_CRF = CrfScale(first=28.0, last=51.0, per_octave=5)
ENCODERS = {
    "x264": Encoder("libx264", messages="6", crf=X26_CRF, odd_sizes=False),  # SEI
    "x265": Encoder("libx265", messages="39|40", crf=X26_CRF, odd_sizes=False),  # SEI
    "av1": Encoder("libsvtav1", messages="5", crf=CrfScale(first=40.0, last=63.0, per_octave=12), odd_sizes=True),
}
"""what `encode_baseline` has; encoders are called so everywhere: in commands, tables, plots and JSON"""


@dataclass(frozen=True)
class Baseline:
    """How a file was encoded."""

    encoder: str
    """one of ENCODERS"""
    library: str
    """FFmpeg's name for it"""
    preset: str
    """one of PRESETS"""
    crf: float
    """constant rate factor"""
    options: dict[str, str]
    """what FFmpeg was told, preset and crf among it"""
    gop: int
    """frames from key frame to key frame at most"""
    pixel_format: str
    """what the encoder was given"""
    native_planes: bool
    """whether that is what the source decodes to"""
    color: ColorInfo
    """what the stream says about its colours"""


def check_encoder(name: str) -> None:
    """Raise VideoError where this PyAV lacks the encoder of this name, one of ENCODERS."""
    library = ENCODERS[name].library
    try:
        Codec(library, "w")
    except UnknownCodecError as error:
        raise VideoError(
            f"{name}: this PyAV has no encoder {library}; install PyAV from PyPI or leave it out"
        ) from error


def encoder_versions() -> dict[str, str]:
    """PyAV, and the FFmpeg in it; the encoders' own versions go with them."""
    return {"av": av.__version__, "libavcodec": ".".join(map(str, av.library_versions["libavcodec"]))}


def encode_baseline(
    clip: Clip,
    name: str,
    bpp: float,
    path: Path,
    *,
    preset: str = "medium",
    on_trial: Callable[[float], None] | None = None,
) -> Baseline:
    """Encode a clip as an MP4 whose pictures take `bpp` bits a pixel, to within 2 % where a crf does that.

    The crf is searched for, so that all of the file is of one quality; the file nearest to the rate stays. Frames are
    shown at the clip's average rate.

    Args:
        clip: what to encode.
        name: one of ENCODERS.
        bpp: bits of the stream's packets per pixel, as `picture_stream` counts them.
        path: the file to write.
        preset: one of PRESETS.
        on_trial: called with every crf before it is tried.

    Raises:
        VideoError: the encoder is not there, or does not take videos of this size.
    """
    check_encoder(name)
    encoder, info = ENCODERS[name], clip.video.info
    wanted = bpp * info.pixels / 8
    sizes: dict[float, int] = {}
    trial = path.with_name(f".{path.name}.trial")
    try:
        while (crf := next_crf(sizes, wanted, encoder.crf)) is not None:
            if on_trial is not None:
                on_trial(crf)
            encoded = _Encoding(clip, name, preset, crf).run(trial)
            sizes[crf] = picture_stream(trial).bytes
            if closest(sizes, wanted) == crf:
                trial.replace(path)
                best = encoded
    except av.error.FFmpegError as error:
        size = f"{info.width}x{info.height}"
        raise VideoError(f"{clip.path}: {name} cannot encode {size} ({error.strerror}); leave {name} out") from error
    finally:
        trial.unlink(missing_ok=True)
    return best


class _Encoding:
    """One pass over a clip."""

    def __init__(self, clip: Clip, name: str, preset: str, crf: float) -> None:
        self.clip, self.name, self.preset, self.crf = clip, name, preset, crf
        self.encoder = ENCODERS[name]
        self.options = self.encoder.options(preset, crf)
        self.rate = clip.video.info.frame_rate.limit_denominator(1_000_000)
        self.source = next(clip.native_frames())
        taken = {pixels.name for pixels in Codec(self.encoder.library, "w").video_formats}
        self.pixel_format = choose_format(self.source, taken, self.encoder.odd_sizes)

    def run(self, path: Path) -> Baseline:
        """Write the file; raises FFmpegError where the encoder refuses."""
        os.environ.setdefault("SVT_LOG", "0")  # nothing else keeps SVT-AV1 from writing its settings to stderr
        with av.open(str(path), "w", format="mp4") as container:
            stream = self._add_stream(container)
            # x264's words about itself would be most of a small file
            pictures = BitStreamFilterContext(f"filter_units=remove_types={self.encoder.messages}", stream)
            for frame in chain(self._frames(), [None]):  # None: all that is left
                for packet in chain.from_iterable(map(pictures.filter, stream.encode(frame))):
                    packet.stream = stream
                    container.mux(packet)
            color = read_color(stream.codec_context)
        return Baseline(
            encoder=self.name,
            library=self.encoder.library,
            preset=self.preset,
            crf=self.crf,
            options=self.options,
            gop=GOP,
            pixel_format=self.pixel_format,
            native_planes=without_range(self.pixel_format) == without_range(self.source.format.name),
            color=color,
        )

    def _add_stream(self, container: OutputContainer) -> VideoStream:
        """With the source's description of its colours, and turned as the source is."""
        stream = container.add_stream(self.encoder.library, rate=self.rate, options=self.options)
        stream.width, stream.height, stream.pix_fmt = self.source.width, self.source.height, self.pixel_format
        stream.gop_size = GOP
        context = stream.codec_context
        context.thread_type = "AUTO"  # else PyAV has x264 cut frames into slices, which costs 3 % of the rate
        if self.clip.video.info.frames < 3:
            context.max_b_frames = 0  # x265 gives such short videos garbage for decoding times (its issue 781)
        given = convert(self.source, self.pixel_format)
        for attribute in COLOR:
            setattr(context, attribute, getattr(given, attribute))
        turn = display_matrix(self.source)
        if turn is not None:
            a, b, c, d = turn
            stream.set_display_matrix((a, b, 0, c, d, 0, 0, 0, 1 << 30))
        return stream

    def _frames(self) -> Iterator[av.VideoFrame]:
        """What the encoder is given, in turn."""
        for k, source in enumerate(self.clip.native_frames()):
            frame = convert(source, self.pixel_format)
            frame.pts, frame.time_base = k, 1 / self.rate
            frame.pict_type = PictureType.NONE  # else the source's key frames would be the baseline's
            yield frame
