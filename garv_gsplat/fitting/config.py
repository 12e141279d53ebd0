"""Settings of a fit and the presets. Imports nothing heavy: the command line reads its help from here."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, inf
from typing import Literal, get_args

# exp(-q / 2) at q = 11.345, the radius that holds 99 % of a 3D Gaussian (chi-square, 3 degrees of freedom).
TAU_99_PERCENT = 0.00344

Schedule = Literal["cosine", "plateau"]
Parametrization = Literal["log-cholesky", "gaussian-image"]
CodecName = Literal["rans", "sog", "paper16-8-8"]


@dataclass
class FitConfig:
    """How a video is fitted; all lengths in pixels and frames."""

    bpp: float = 0.15
    """size of the file in bits per pixel of the video; decides the number of Gaussians"""
    size: int | None = None
    """size of the file in bytes; overrides bpp"""
    psnr: float | None = None
    """quality of the file in dB, whatever its size; overrides bpp"""
    num_gaussians: int | None = None
    """number of Gaussians, whatever the size of the file; overrides bpp"""
    hold_out: int | None = None
    """every so many-th frame is left out of the fit and interpolated when decoded; 2 leaves out every other one"""
    denoise: bool = False
    """as many Gaussians as leave nothing but noise, which the file then lacks; overrides bpp"""
    codec: CodecName = "rans"
    """how the file stores Gaussians: rans by steps that suit each; paper16-8-8 in 16 bits a mean and 8 a number else;
    sog the same numbers as JPEG XL images of a sorted grid (needs garv-gsplat[sog])"""
    batch_frames: int = 8
    """frames a step"""
    lr_means: float = 0.2
    """Adam's step for the means, in pixels and frames"""
    lr_scales: float = 0.05
    """Adam's step for the logarithms of l_tt, l_xx, l_yy"""
    lr_ratios: float = 0.08
    """Adam's step for l_xt / l_xx, l_yt / l_yy, l_yx / l_yy"""
    lr_colors: float = 0.02
    """Adam's step for the colours, 1.0 is white"""
    betas: tuple[float, float] = (0.9, 0.95)
    """Adam's decay of the gradients' means and squares"""
    visible_only: bool = True
    """a step leaves alone the Gaussians that its frames do not show"""
    relocations: int = 16
    """times that the Gaussians that matter least move to where the error is largest"""
    relocated: float = 0.05
    """part of the Gaussians that move each time"""
    relocation_span: tuple[float, float] = (0.04, 0.8)
    """part of the steps after which the first and the last ones move"""
    warmup: float = 0.015
    """part of the steps over which the steps' sizes grow from 0"""
    schedule: Schedule = "cosine"
    """cosine: full size to the middle, then down to final_lr; plateau: halved when an epoch's loss stops falling"""
    final_lr: float = 0.02
    """size of the last steps, relative to the first (cosine)"""
    plateau_patience: int = 25
    """epochs without a lower loss before the steps are halved (plateau)"""
    rate_weight: float = 0.35
    """bits that Gaussians take are a part of the loss, at this share of what they are worth; 0 leaves them out (rans,
    log-cholesky and cosine, for a rate or a quality that is asked for)"""
    tau: float = 1 / 255
    """a Gaussian is left out of a tile where its weight p(t) exp(-d/2) stays below this; 0 leaves out nothing"""
    parametrization: Parametrization = "log-cholesky"
    """log-cholesky: logarithms and ratios of Cholesky entries, started from the video; gaussian-image: atanh positions
    and Cholesky entries plus a half, started at random, as in GaussianImage"""
    global_motion: bool = True
    """Gaussians lie in a plane that stands still while the camera moves, where frames follow one; it is found first
    (log-cholesky; gaussian-image keeps means inside of the frames)"""
    seed: int = 0
    """of the start and of the order of frames"""
    deterministic: bool = False
    """the same seed gives the same file bit by bit on the same device and software; slower on a GPU"""

    def __post_init__(self) -> None:
        if not 0 < self.bpp < inf:
            raise ValueError(f"bpp must be a positive number, got {self.bpp}")
        for name in ("lr_means", "lr_scales", "lr_ratios", "lr_colors"):
            if not 0 <= getattr(self, name) < inf:
                raise ValueError(f"{name} must be a number from 0 on, got {getattr(self, name)}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be from 0 to below 1, got {self.betas}")
        if self.relocations < 0:
            raise ValueError(f"relocations must not be negative, got {self.relocations}")
        if not 0 <= self.relocation_span[0] < self.relocation_span[1] <= 1:
            raise ValueError(f"relocation_span must rise within 0 and 1, got {self.relocation_span}")
        if self.num_gaussians is not None and self.num_gaussians < 1:
            raise ValueError(f"num_gaussians must be at least 1, got {self.num_gaussians}")
        if self.size is not None and self.size < 1:
            raise ValueError(f"size must be at least 1 byte, got {self.size}")
        if self.psnr is not None and not 0 < self.psnr < inf:
            raise ValueError(f"psnr must be a positive number of dB, got {self.psnr}")
        if sum(wanted is not None for wanted in (self.size, self.psnr, self.num_gaussians)) + self.denoise > 1:
            raise ValueError(
                "size, psnr, num_gaussians and denoise each decide how many Gaussians there are: give one of them"
            )
        if self.hold_out is not None and self.hold_out < 2:
            raise ValueError(f"hold_out must be at least 2, every other frame, got {self.hold_out}")
        if self.batch_frames < 1:
            raise ValueError(f"batch_frames must be at least 1, got {self.batch_frames}")
        for name in ("warmup", "relocated"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a part, from 0 to 1, got {getattr(self, name)}")
        if not 0 <= self.final_lr <= 1:
            raise ValueError(f"final_lr is relative to the first steps, from 0 to 1, got {self.final_lr}")
        if self.plateau_patience < 0:
            raise ValueError(f"plateau_patience must not be negative, got {self.plateau_patience}")
        if not 0 <= self.rate_weight < inf:
            raise ValueError(f"rate_weight must be a number from 0 on, got {self.rate_weight}")
        if not 0 <= self.tau < 1:
            raise ValueError(f"tau must be in [0, 1), got {self.tau}")
        choices = {"schedule": Schedule, "parametrization": Parametrization, "codec": CodecName}
        for name, known in ((name, get_args(kind)) for name, kind in choices.items()):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be {' or '.join(known)}, got {getattr(self, name)!r}")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed must be from 0 to 2^31 - 1, got {self.seed}")

    def learning_rates(self, channels: int) -> list[float]:
        """Adam's step for each attribute of a Gaussian, 9 + channels of them."""
        rates = (self.lr_means, self.lr_scales, self.lr_ratios)
        return [rate for rate in rates for _ in range(3)] + [self.lr_colors] * channels


@dataclass
class Preset:
    """A fit with a name: its settings and how long it runs."""

    description: str
    fit: FitConfig = field(default_factory=FitConfig)
    steps: int = 10_000
    epochs: int | None = None
    """passes over the video; overrides steps"""

    def steps_for(self, frames: int) -> int:
        """Steps that a video of `frames` frames is fitted for."""
        return self.steps if self.epochs is None else self.epochs * ceil(frames / self.fit.batch_frames)


def _paper() -> Preset:
    return Preset(
        "The recipe of the GaRV paper (WACV 2026): Adam 5e-3, batches of 16 frames, 20 epochs of warm-up, plateau with "
        "a patience of 25 epochs, 2000 epochs, L2 loss, 99 % cull. The paper gives no parametrisation; this takes "
        "GaussianImage's (ECCV 2024), atanh positions and Cholesky entries in pixels.",
        FitConfig(
            batch_frames=16,
            lr_means=5e-3,
            lr_scales=5e-3,
            lr_ratios=5e-3,
            lr_colors=5e-3,
            betas=(0.9, 0.999),
            visible_only=False,
            relocations=0,
            warmup=20 / 2000,
            schedule="plateau",
            rate_weight=0.0,
            tau=TAU_99_PERCENT,
            parametrization="gaussian-image",
            global_motion=False,
        ),
        epochs=2000,
    )


PRESETS: dict[str, Preset] = {
    "garv": Preset("A video as a sum of 3D Gaussians, 0.15 bits per pixel."),
    "garv-small": Preset("A video as a sum of 3D Gaussians, small file: 0.05 bits per pixel.", FitConfig(bpp=0.05)),
    "garv-large": Preset("A video as a sum of 3D Gaussians, high quality: 0.5 bits per pixel.", FitConfig(bpp=0.5)),
    "garv-paper": _paper(),
}
