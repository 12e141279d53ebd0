"""Cholesky factors against rotations and scales as what a fit moves.

python examples/benchmarks/paper/cholesky.py clips/ --output results/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from experiment import Clip, Experiment, Figure, Row, by_clip, main
from rotation_scale import RotationScale
from torch import Tensor, nn

from garv_gsplat.fitting import FitConfig, FrameSampler, GaussianField, seen_frames
from garv_gsplat.fitting.initialization import draw_from_video
from garv_gsplat.fitting.losses import l2, psnr_of
from garv_gsplat.fitting.optimizer import GaussianAdam
from garv_gsplat.fitting.parametrization import LogCholesky
from garv_gsplat.metrics import psnr
from garv_gsplat.volume import VideoInfo

POINTS = 40
"""of a loss curve"""


@dataclass
class Cholesky(Experiment):
    """A short fit of the same part of a clip (from the middle of its first frames) by the same number of Gaussians from
    the same start, which moves either logarithms and ratios of Cholesky factors, as this package does, or standard
    deviations and a rotation. Adam, its step sizes for means and colours, their schedule and the loss are the same;
    those of the shapes are multiplied by each of several factors, and the best of each counts. Nothing is relocated,
    rounded or coded; PSNR is that of all frames."""

    num_gaussians: int = 1500
    """of each fit"""
    part: tuple[int, int, int] = (160, 96, 32)
    """columns, rows and frames that are fitted"""
    factors: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    """of the step sizes of shapes"""

    name: ClassVar[str] = "cholesky"
    title: ClassVar[str] = "Cholesky factors against rotations and scales"
    columns: ClassVar[dict[str, tuple[str, str]]] = {
        "size": ("part", ""),
        "num_gaussians": ("Gaussians", "d"),
        "steps": ("steps", "d"),
        "shapes": ("shapes as", ""),
        "factor": ("best factor of steps", "g"),
        "psnr": ("PSNR, dB", ".2f"),
        "worst_psnr": ("at the worst factor", ".2f"),
    }
    paper: ClassVar[list[Row]] = []

    def measure(self, clip: Clip) -> Iterator[Row]:
        """A row a way."""
        info, wanted = clip.video.info, self.part
        width, height, count = (min(n, m) for n, m in zip((info.width, info.height, info.frames), wanted))
        left, top = (info.width - width) // 2, (info.height - height) // 2
        frames = clip.video.frames[:count, top : top + height, left : left + width].to(self.where)
        steps = 1000 if self.steps is None else self.steps
        for shapes, kind in (("Cholesky factor", LogCholesky), ("rotation and scale", RotationScale)):
            fits = {}
            for factor in self.factors:
                self.note(f"{clip.path.stem}: {shapes}, steps x {factor:g}")
                fits[factor] = self._fit(frames, kind, factor, steps)
            best = max(fits, key=lambda factor: fits[factor][0])
            yield {
                **{"size": f"{width}x{height}, {count} frames", "num_gaussians": self.num_gaussians, "steps": steps},
                **{"shapes": shapes, "factor": best, "psnr": fits[best][0], "curve": fits[best][1]},
                "worst_psnr": min(quality for quality, _ in fits.values()),
            }

    def _fit(self, frames: Tensor, kind: type[nn.Module], factor: float, steps: int) -> tuple[float, list[float]]:
        """PSNR of all frames in the end, and of the batches on the way, both in dB."""
        config, (count, height, width, channels) = FitConfig(), frames.shape
        field = GaussianField(config, VideoInfo(width, height, count, channels=channels), 0).to(frames.device)
        if kind is RotationScale:
            field.parametrization = RotationScale(field.info).to(frames.device)
        field.set_values(*draw_from_video(seen_frames(frames, config), self.num_gaussians, config.seed))
        shapes = field.attributes.shape[1] - 3 - channels
        rates = [config.lr_means] * 3 + [factor * config.lr_scales] * 3 + [factor * config.lr_ratios] * (shapes - 3)
        rates = torch.tensor([*rates, *[config.lr_colors] * channels]).to(frames.device)
        optimizer = GaussianAdam([field.attributes], rates.clone(), config.betas, config.visible_only)
        sampler = FrameSampler(count, config.batch_frames, config.seed, frames.device)
        schedule = torch.cos(torch.linspace(0, torch.pi / 2, steps + 1)).square()[:-1].tolist()
        losses = torch.zeros(steps)
        for step, size in enumerate(schedule):
            batch = sampler.batch(step)
            optimizer.param_groups[0]["lr"] = rates * size
            optimizer.zero_grad()
            loss = l2(field(batch + 0.5), frames[batch])
            loss.backward()
            optimizer.step()
            field.project()
            losses[step] = loss.detach()
        drawn = torch.cat([field.look(times) for times in (torch.arange(count, device=frames.device) + 0.5).split(8)])
        curve = [psnr_of(part.mean().item()) for part in losses.split(max(1, steps // POINTS))]
        return psnr(drawn.clamp(0, 1), frames.float() / 255), curve

    def draw(self, figure: Figure, rows: list[Row]) -> None:
        """The loss curves of the best fits."""
        axes = figure.add_subplot()
        for index, (clip, some) in enumerate(by_clip(rows).items()):
            for row, style in zip(some, ("-", "--")):
                curve, span = row["curve"], row["steps"] / len(row["curve"])
                steps = [(k + 0.5) * span for k in range(len(curve))]
                axes.plot(steps, curve, style, color=f"C{index}", label=f"{clip}, {row['shapes']}")
        axes.set(xlabel="step", ylabel="PSNR of the batches (dB)")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)

    def summary(self, rows: list[Row]) -> str:
        """Both of the first clip."""
        return ", ".join(f"{row['psnr']:.2f} dB by {row['shapes']}" for row in rows[:2]) + f" ({rows[0]['clip']})"


if __name__ == "__main__":
    main(Cholesky)
