"""Quality over rate, beside x264, x265 and SVT-AV1 (figure 6).

python examples/benchmarks/paper/rate_distortion.py clips/ --output results/ --bpp 0.05 0.1 0.2 0.4
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import ClassVar

from experiment import UVG, Clip, Experiment, Figure, Row, by_clip, main

from garv_gsplat.cli.compare import EncoderName, EncoderPreset
from garv_gsplat.comparing import ENCODERS, Panel, Point, bd_rates, draw_panels, measure


@dataclass
class RateDistortion(Experiment):
    """Files of several rates, by this package and by FFmpeg's encoders at the same rates (one quality all through, a
    key frame every 250 frames, tuned for PSNR), measured as `garv compare` does. The rate of a .garv is that of the
    file, of a video that of its pictures alone. Speed is that of decoding all frames in batches; videos by FFmpeg on
    the CPU."""

    bpp: tuple[float, ...] = (0.03, 0.06, 0.12, 0.24)
    """rates of the files"""
    encoders: tuple[EncoderName, ...] = tuple(ENCODERS)
    """baselines; each makes a curve"""
    encoder_preset: EncoderPreset = "medium"
    """speed of the baselines' encoders"""

    name: ClassVar[str] = "rate_distortion"
    title: ClassVar[str] = "Quality over rate (figure 6)"
    columns: ClassVar[dict[str, tuple[str, str]]] = {
        "bpp": ("bpp", ".4f"),
        "psnr": ("PSNR, dB", ".2f"),
        "ms_ssim": ("MS-SSIM", ".4f"),
        "temporal_consistency": ("temporal consistency, dB", ".2f"),
        "decode_fps": ("decoding, frames/s", ".0f"),
    }
    paper: ClassVar[list[Row]] = [
        {"by": by, **UVG, "bpp": 0.06, "psnr": psnr}
        for by, psnr in (
            *(("VTM, low delay", 38.6), ("HiNeRV", 37.6), ("x265, zerolatency", 36.7)),
            *(("HNeRV", 35.7), ("NeRV", 35.3)),
        )
    ]

    def measure(self, clip: Clip) -> Iterator[Row]:
        """A row a file."""
        for bpp in self.bpp:
            yield asdict(measure(clip, self.encode(clip, bpp), self.where, settings={"wanted_bpp": bpp}))
        for encoder in self.encoders:
            for bpp in self.bpp:
                path, made = self.baseline(clip, encoder, bpp, self.encoder_preset)
                settings = {"wanted_bpp": bpp, **made}
                yield {"by": encoder, **asdict(measure(clip, path, self.where, curve=encoder, settings=settings))}

    def draw(self, figure: Figure, rows: list[Row]) -> None:
        """A panel a clip."""
        draw_panels(figure, [Panel(_points(some), title=clip) for clip, some in by_clip(rows).items()])

    def summary(self, rows: list[Row]) -> str:
        """BD-rates of the first clip, where its curves have enough points for them."""
        rates = bd_rates(_points(by_clip(rows)[rows[0]["clip"]]))
        found = [
            f"{rate.percent:+.0f} % by {rate.curve}"
            for rate in rates
            if rate.percent is not None and rate.measure == "psnr"
        ]
        return (
            f"{rows[0]['clip']}: {len(rows)} points; bits at equal PSNR beside garv: {', '.join(found) or 'not known'}"
        )


def _points(rows: list[Row]) -> list[Point]:
    return [Point(**{field.name: row[field.name] for field in fields(Point)}) for row in rows]


if __name__ == "__main__":
    main(RateDistortion)
