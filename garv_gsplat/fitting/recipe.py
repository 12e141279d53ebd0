"""What happens around a step: sizes of the steps, and Gaussians that move or change in number."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from garv_gsplat.fitting.config import FitConfig
from garv_gsplat.fitting.denoising import whitening_gaussians
from garv_gsplat.fitting.field import GaussianField
from garv_gsplat.fitting.optimizer import GaussianAdam
from garv_gsplat.fitting.rate import price_of, wanted_gaussians
from garv_gsplat.fitting.rate_term import add_rate
from garv_gsplat.fitting.relocation import relocate
from garv_gsplat.fitting.seen import SeenFrames


def build_optimizer(field: GaussianField) -> GaussianAdam:
    """The optimizer of a field's attributes."""
    return adam_for(field.config, [field.attributes])


def adam_for(config: FitConfig, params: list[Tensor]) -> GaussianAdam:
    """The optimizer of attributes [N, 9 + C]; its step sizes are set before every step."""
    rows = params[0]
    return GaussianAdam(params, rows.new_zeros(rows.shape[1]), config.betas, config.visible_only)


class FitRecipe:
    """Calls `before_step`, `after_backward` and `after_step` in each step of a fit of `steps` steps."""

    def __init__(self, field: GaussianField, steps: int, optimizer: GaussianAdam, seen: SeenFrames) -> None:
        """seen: what is fitted, on the field's device."""
        self.field, self.steps, self.optimizer, self.seen = field, steps, optimizer, seen
        self.config = config = field.config
        self.plateau = Plateau(config.plateau_patience, epoch=math.ceil(len(seen) / config.batch_frames))
        self._rates = torch.tensor(config.learning_rates(field.info.channels)).to(field.attributes)
        self._loss: Tensor | None = None
        self._priced = price_of(field, progress=1.0, factor=0.0) > 0
        # Both are read where they lie by a step that was recorded.
        self._now, self._price = torch.zeros_like(self._rates), self._rates.new_zeros(())

    def before_step(self, step: int) -> None:
        """Set the optimizer's step sizes, and move Gaussians when it is time."""
        torch.mul(self._rates, self.factor(step), out=self._now)
        for group in self.optimizer.param_groups:
            group["lr"] = self._now
        if self.relocates(step):
            relocate(self.field, self.optimizer, self.seen, step, self.config.relocated, self._wanted(step))
        if self._priced and self._loss is not None:
            torch.mul(self._loss, price_of(self.field, step / self.steps, self.factor(step)), out=self._price)

    def after_backward(self, batch_frames: int) -> None:
        """Add what bits cost to the gradients of a step that sees so many frames."""
        if self._priced:
            add_rate(self.field.attributes, self._price, self.field.info.frames, batch_frames, self.config.tau)

    def after_step(self, loss: Tensor) -> None:
        """Count the loss (a scalar tensor), which is read when it is needed."""
        self._loss = loss.detach().clone() if self._loss is None else self._loss.lerp(loss.detach(), 0.05)
        if self.config.schedule == "plateau":
            self.plateau.add(loss.detach().clone())

    def mean_loss(self) -> float:
        """Mean loss of the last steps, about twenty of them; waits for the device."""
        return math.inf if self._loss is None else float(self._loss)

    def _wanted(self, step: int) -> Callable[[], int]:
        if self.config.denoise:
            return partial(whitening_gaussians, self.field, self.seen, self.factor(step))
        return wanted_gaussians(self.field, self.mean_loss(), self.factor(step))

    def relocates(self, step: int) -> bool:
        """Whether Gaussians move before this step: `relocations` times, evenly over the middle of the fit."""
        first, last = (round(part * self.steps) for part in self.config.relocation_span)
        times = self.config.relocations
        if times == 0 or not first < step <= last:
            return False
        passed = [(k - first) * times // (last - first) for k in (step - 1, step)]
        return passed[0] != passed[1]

    def factor(self, step: int) -> float:
        """Size of step `step` relative to the learning rates."""
        warmup = max(1.0, self.config.warmup * self.steps)
        factor = min(1.0, (step + 1) / warmup)
        if self.config.schedule == "plateau":
            return factor * self.plateau.factor
        progress = max(0.0, 2 * step / self.steps - 1)  # the second half
        final = self.config.final_lr
        return factor * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))

    def state_dict(self) -> dict[str, float]:
        """What a resumed fit needs beside the step's number."""
        plateau = {"factor": self.plateau.factor, "best": self.plateau.best, "waited": float(self.plateau.waited)}
        return {**plateau, "loss": self.mean_loss()}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """The inverse of `state_dict`."""
        self.plateau.factor, self.plateau.best = float(state["factor"]), float(state["best"])
        self.plateau.waited = int(state["waited"])
        self._loss = self._now.new_tensor(state["loss"]) if math.isfinite(state["loss"]) else None


class Plateau:
    """Halves its factor when the mean loss of an epoch has not fallen for `patience` epochs."""

    def __init__(self, patience: int, epoch: int) -> None:
        self.patience = patience
        self.epoch = epoch
        self.factor = 1.0
        self.best = math.inf
        self.waited = 0
        self._losses: list[Tensor] = []

    def add(self, loss: Tensor) -> None:
        """Count a step's loss; reads them at the end of an epoch."""
        self._losses.append(loss)
        if len(self._losses) < self.epoch:
            return
        mean = float(torch.stack(self._losses).mean())
        self._losses = []
        self.waited = 0 if mean < self.best else self.waited + 1
        self.best = min(self.best, mean)
        if self.waited > self.patience:
            self.factor, self.waited = self.factor / 2, 0
