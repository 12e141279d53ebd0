"""`garv encode`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from garv_gsplat.cli import INTERRUPTED, CommandError
from garv_gsplat.cli.sizes import parse_size
from garv_gsplat.fitting.config import PRESETS, CodecName, FitConfig

if TYPE_CHECKING:
    from garv_gsplat.encoding import EncodeResult
    from garv_gsplat.fitting import FitProgress, FitResult
    from garv_gsplat.video import Video

PresetName = Literal[tuple(PRESETS)]


@dataclass
class Encode:
    """Fit a video and write it as a .garv file."""

    video: tyro.conf.Positional[Path]
    """video file, or folder of images"""
    output: tyro.conf.Positional[Path]
    """the .garv to write; one that is there is replaced"""
    preset: PresetName = "garv"
    """settings of the fit; the presets differ in size and steps, garv-paper follows the paper's recipe"""
    bpp: float | None = None
    """size of the file in bits per pixel of the video; the preset's if not given"""
    size: str | None = None
    """size of the file in bytes, such as 800kB or 2MB, in place of bpp"""
    psnr: float | None = None
    """quality of the file in dB, whatever its size, in place of bpp"""
    num_gaussians: int | None = None
    """number of Gaussians, whatever the size of the file, in place of bpp"""
    codec: CodecName = "rans"
    """how the file stores Gaussians: rans by steps that suit each; paper16-8-8 in 16 bits a mean and 8 a number else;
    sog the same numbers as JPEG XL images of a sorted grid (needs garv-gsplat[sog])"""
    denoise: bool = False
    """fit the video without its noise, in place of bpp; PSNR is told against the noisy frames, so is not high"""
    hold_out: int | None = None
    """leave every so many-th frame out of the fit: it is interpolated where it is shown, and its PSNR told apart"""
    global_motion: bool = True
    """whether to find how the camera moves, so that Gaussians can lie in a plane that stands still"""
    steps: int | None = None
    """steps of the fit; the preset's if not given"""
    start: float | None = None
    """seconds into the video at which to start"""
    duration: float | None = None
    """seconds of the video to take; to its end if not given"""
    frame_rate: float | None = None
    """frames per second of a folder of images; 25 if not given"""
    audio: bool = True
    """whether the video's sound and subtitles ride along, untouched; they never count in bits per pixel"""
    seed: int = 0
    """of the fit's random start and order of frames"""
    deterministic: bool = False
    """the same seed gives the same file bit by bit on the same device and software; slower on a GPU"""
    device: str | None = None
    """cpu, cuda or cuda:N; a GPU if there is one when not given"""

    def run(self) -> int:
        """Check, read, fit, write, measure; the exit code."""
        config = self._config()
        if self.output.suffix != ".garv":
            raise CommandError(f"{self.output}: the name of the output must end in .garv")

        from garv_gsplat.cli.devices import parse_device
        from garv_gsplat.cli.display import gibibytes, progress_bars, tell
        from garv_gsplat.encoding import read_source

        device = parse_device(self.device)
        with progress_bars() as bars:
            task = bars.add_task("reading", total=None, note="")
            video, forecast = read_source(
                self.video,
                self.output,
                config,
                start=self.start,
                duration=self.duration,
                frame_rate=self.frame_rate,
                audio=self.audio,
                device=device,
                on_frame=lambda count, total: bars.update(task, completed=count, total=total),
            )
            bars.update(task, completed=video.info.frames, total=video.info.frames)
        for note in video.notes:
            tell(f"note: {note}")
        info = video.info
        size = f"{info.width}x{info.height}, {info.frames} frames"
        tell(f"{size}; the fit takes about {gibibytes(forecast)} of memory on {device}")
        return self._encode(video, config, device)

    def _encode(self, video: Video, config: FitConfig, device: str) -> int:
        from garv_gsplat.cli.display import progress_bars, result, tell
        from garv_gsplat.encoding import encode

        steps = self.steps or PRESETS[self.preset].steps_for(video.info.frames)
        saved: list[FitResult] = []
        try:
            with progress_bars() as bars:
                first = "tracking" if config.global_motion else "fitting"
                task = bars.add_task(first, total=steps, note="")

                def show(state: FitProgress) -> None:
                    bars.update(task, completed=state.step, description="fitting", note=f"{state.psnr:.2f} dB")

                def on_saved(fit: FitResult) -> None:
                    saved.append(fit)
                    bars.update(task, description="measuring")

                outcome = encode(
                    video, self.output, config, steps=steps, device=device, progress=show, on_saved=on_saved
                )
        except KeyboardInterrupt:
            if not saved:
                raise
            tell(f"stopped while measuring; {self.output} is complete")
            return INTERRUPTED
        result(_summary(outcome))
        if (note := _missed(config, video, outcome)) is not None:
            tell(f"note: {note}")
        if not outcome.interrupted:
            return 0
        tell(f"stopped after {outcome.steps} of {steps} steps; {self.output} holds what was fitted so far")
        return INTERRUPTED

    def _config(self) -> FitConfig:
        given = {
            "bpp": self.bpp,
            "size": None if self.size is None else parse_size(self.size),
            "psnr": self.psnr,
            "num_gaussians": self.num_gaussians,
            "codec": self.codec,
            "denoise": self.denoise,
            "hold_out": self.hold_out,
            "global_motion": None if self.global_motion else False,
            "seed": self.seed,
            "deterministic": self.deterministic,
        }
        if self.steps is not None and self.steps < 1:
            raise CommandError(f"--steps must be at least 1, got {self.steps}")
        try:
            return replace(PRESETS[self.preset].fit, **{k: v for k, v in given.items() if v is not None})
        except ValueError as error:
            raise CommandError(str(error)) from error


def _missed(config: FitConfig, video: Video, outcome: EncodeResult) -> str | None:
    """What was asked for and is not reached."""
    from garv_gsplat.fitting.rate import target_bits

    if config.psnr is not None:
        if outcome.psnr_seen >= config.psnr - 0.05:
            return None
        return f"{config.psnr:g} dB are not reached; more steps (--steps) or a larger file (--bpp) come nearer"
    if (
        config.num_gaussians is not None
        or config.denoise
        or outcome.bpp <= 1.03 * target_bits(config, video.info) / video.info.pixels
    ):
        return None
    wanted = f"{config.bpp:g} bpp" if config.size is None else f"{config.size:,} bytes"
    return f"{wanted} cannot be reached: no file of this video is smaller"


def _summary(outcome: EncodeResult) -> str:
    return f"{outcome} (fitted in {outcome.fit_seconds:.1f} s)"
