"""Gaussians that move to where the error is."""

from __future__ import annotations

import pytest
import torch

from garv_gsplat.fitting import FitConfig, GaussianField, build_optimizer, seen_frames
from garv_gsplat.fitting.losses import l2
from garv_gsplat.fitting.relocation import propose, relocate, survey
from garv_gsplat.gaussians import energies
from garv_gsplat.volume import VideoInfo
from tests.media import pattern


def spot(x: int, y: int, t: int) -> torch.Tensor:
    """A black video with one bright spot."""
    frames = torch.zeros(12, 48, 64, 3, dtype=torch.uint8)
    frames[t - 2 : t + 3, y - 3 : y + 4, x - 3 : x + 4] = 200
    return frames


def test_new_gaussians_come_where_the_error_is():
    frames = spot(40, 20, 6)
    field = GaussianField(FitConfig(), VideoInfo(64, 48, 12), 10)
    field.set_values(*dark(10))
    seen, generator = seen_frames(frames, field.config), torch.Generator().manual_seed(0)
    means, cholesky, colors = propose(field, seen, survey(field, seen, generator), 200, generator)
    assert (means - torch.tensor([40.5, 20.5, 6.5])).abs().amax(1).quantile(0.9) < 8
    assert (colors >= 0).all() and (cholesky[:, 3] == cholesky[:, 5]).all()


def dark(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    means = torch.rand(n, 3, generator=torch.Generator().manual_seed(1)) * torch.tensor([64.0, 48.0, 12.0])
    return means, torch.tensor([2.0, 0, 0, 2.0, 0, 2.0]).repeat(n, 1), torch.full((n, 3), 1e-6)


@pytest.mark.parametrize("count", [80, 100, 115])
def test_relocation_lessens_the_error_and_keeps_what_matters(count):
    frames = torch.as_tensor(pattern(12, 64, 48, seed=0))
    field = GaussianField(FitConfig(), VideoInfo(64, 48, 12), 100)
    field.initialize(seen_frames(frames, field.config))
    with torch.no_grad():
        field.attributes[::2, 9:] *= 1e-3  # half of them are as good as nothing
    optimizer = build_optimizer(field)
    times = torch.arange(12) + 0.5
    l2(field(times), frames).backward()
    optimizer.param_groups[0]["lr"] = torch.zeros(12)
    optimizer.step()
    best = energies(*field.values()[1:], field.info).topk(40).indices
    kept = field.attributes[best].detach().clone()
    before = float(l2(field.look(times), frames))
    relocate(field, optimizer, seen_frames(frames, field.config), step=5, share=0.3, wanted=lambda: count)
    assert len(field) == count
    assert float(l2(field.look(times), frames)) < before
    distance = (kept[:, None] - field.attributes.detach()[None]).abs().amax(2).amin(1)
    assert distance.max() < 1e-3
    state = optimizer.state[field.attributes]
    assert all(len(moment) == count for moment in state.values())
    assert int((state["steps"] == 0).sum()) >= count - 70  # the new ones


def test_relocation_repeats_itself_and_takes_nothing_but_the_step():
    frames, results = torch.as_tensor(pattern(12, 64, 48, seed=0)), []
    for _ in range(2):
        field = GaussianField(FitConfig(), VideoInfo(64, 48, 12), 100)
        field.initialize(seen_frames(frames, field.config))
        relocate(
            field, build_optimizer(field), seen_frames(frames, field.config), step=5, share=0.3, wanted=lambda: 100
        )
        results.append(field.attributes.detach().clone())
    assert torch.equal(*results)
