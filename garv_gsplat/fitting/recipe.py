"""What happens around a step: sizes of the steps, start of the rounding. Shared by every training loop."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from garv_gsplat.fitting.config import FitConfig
from garv_gsplat.fitting.field import GaussianField

ADAM = {"betas": (0.9, 0.99), "eps": 1e-15, "fused": True}


def build_optimizers(field: GaussianField) -> dict[str, torch.optim.Optimizer]:
    """One Adam for each parameter of the field."""
    rates = field.config.learning_rates
    return {name: torch.optim.Adam(group, lr=rates[name], **ADAM) for name, group in field.param_groups().items()}


class FitRecipe:
    """Calls `before_step` and `after_step` around each step of a fit of `steps` steps."""

    def __init__(
        self, field: GaussianField, config: FitConfig, steps: int, optimizers: Mapping[str, torch.optim.Optimizer]
    ) -> None:
        self.field = field
        self.config = config
        self.steps = steps
        self.optimizers = optimizers
        self.plateau = Plateau(config.plateau_patience, epoch=math.ceil(field.info.frames / config.batch_frames))

    def before_step(self, step: int) -> None:
        """Set the optimizers' step sizes, and start rounding when it is time."""
        factor = self.factor(step)
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                rate = self.config.learning_rates[name] * factor
                if isinstance(group["lr"], Tensor):  # of a step that was recorded: it is read where it lies
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate
        first_rounded = math.ceil(self.config.rounding_from * self.steps)
        if step >= first_rounded and self.config.rounding_from < 1 and not self.field.rounds:
            self.field.start_rounding()

    def after_step(self, loss: Tensor) -> None:
        """Count the loss (a scalar tensor, read once an epoch) for the plateau schedule."""
        if self.config.schedule == "plateau":
            self.plateau.add(loss.detach().clone())

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
        return {"factor": self.plateau.factor, "best": self.plateau.best, "waited": float(self.plateau.waited)}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """The inverse of `state_dict`."""
        self.plateau.factor, self.plateau.best = float(state["factor"]), float(state["best"])
        self.plateau.waited = int(state["waited"])


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
