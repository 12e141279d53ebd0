"""One step of a fit; on CUDA recorded once and then replayed, so that the host has next to nothing to do."""

from __future__ import annotations

import torch
from torch import Tensor

from garv_gsplat.fitting.losses import l2
from garv_gsplat.fitting.recipe import FitRecipe
from garv_gsplat.ops import Recording, can_record

_EAGER_STEPS = 3  # before the first recording, in which optimizers and lists set themselves up


class FitStep:
    """Makes the steps of a fit, each by a call: images, loss, gradients, Adam, projection.

    On CUDA the launches of a step are recorded as a graph, again whenever they change: when Gaussians have moved, or
    when the lists need more room. A fit that has to be deterministic waits for the device and so cannot be recorded.
    """

    def __init__(self, recipe: FitRecipe) -> None:
        self._recipe, self._seen = recipe, recipe.seen
        self._eager_steps = 0
        self._recording = Recording(self._seen.frames.device)
        self._recorded: tuple[int, int] | None = None

    def __call__(self, step: int, batch: Tensor) -> Tensor:
        """Step number `step`, with the frames of indices `batch` [B]; its loss, which the next step may overwrite."""
        self._recipe.before_step(step)
        loss = self._replay(batch) if self._can_record() else self._work(batch)
        self._recipe.after_step(loss)
        return loss

    def _work(self, batch: Tensor) -> Tensor:
        field, optimizer = self._recipe.field, self._recipe.optimizer
        optimizer.zero_grad(set_to_none=True)
        loss = l2(field(self._seen.times[batch]), self._seen.frames[batch])
        loss.backward()
        self._recipe.after_backward(len(batch))
        optimizer.step()
        field.project()
        return loss.detach()

    def _can_record(self) -> bool:
        if not can_record(self._seen.frames.device) or torch.are_deterministic_algorithms_enabled():
            return False
        self._eager_steps += 1
        return self._eager_steps > _EAGER_STEPS

    def _replay(self, batch: Tensor) -> Tensor:
        field = self._recipe.field
        with torch.cuda.device(self._seen.frames.device):
            if self._recorded != (state := (field.attributes.data_ptr(), field.room(len(batch)))):
                self._record(batch)
                self._recorded = state
            self._batch.copy_(batch)
            self._recording.replay()
        field.watch_room()
        return self._loss

    def _record(self, batch: Tensor) -> None:
        self._batch = batch.clone()
        self._loss = self._recording.record(lambda: self._work(self._batch))
