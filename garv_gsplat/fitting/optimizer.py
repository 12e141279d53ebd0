"""Adam for Gaussians, of which a step sees only some."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Optimizer

from garv_gsplat.ops import adam_step


class GaussianAdam(Optimizer):
    """Adam (Kingma and Ba, 2015) over rows, one a Gaussian, with a step size for every column.

    With `visible_only` a row without any gradient, of a Gaussian that no frame of the step shows, keeps its values and
    its moments, and its bias correction counts the steps that saw it. Nothing waits for the device.
    """

    def __init__(
        self,
        params,  # [N, K] each
        lr: Tensor,  # [K]; read where it lies, so that it can be changed between recorded steps
        betas: tuple[float, float],
        visible_only: bool,
        eps: float = 1e-15,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "visible_only": visible_only, "eps": eps})

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """Move the rows against their gradients."""
        for group in self.param_groups:
            for rows in group["params"]:
                if rows.grad is not None:
                    moments = self._moments(rows)
                    settings = {name: group[name] for name in ("betas", "eps", "visible_only")}
                    adam_step(rows, rows.grad, **moments, rates=group["lr"], **settings)

    def replace(self, old: Tensor, new: Tensor, chosen: Tensor) -> None:
        """Go on with parameter `new`, whose rows are those of `old` at the indices `chosen` [N]; new where negative."""
        for group in self.param_groups:
            group["params"] = [new if rows is old else rows for rows in group["params"]]
        moments = self.state.pop(old, {})
        kept = (chosen >= 0)[:, None]
        self.state[new] = {name: moment[chosen.clamp(min=0)] * kept for name, moment in moments.items()}

    def _moments(self, rows: Tensor) -> dict[str, Tensor]:
        state = self.state[rows]
        if not state:
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(rows), torch.zeros_like(rows)
            state["steps"] = rows.new_zeros(len(rows), 1)
        return state
