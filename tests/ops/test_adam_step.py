"""Adam over rows: PyTorch's own where all rows are seen, and rows that were not seen left alone."""

from __future__ import annotations

import pytest
import torch

from garv_gsplat.ops import adam_step
from garv_gsplat.ops._reference import adam_step as reference

BETAS, EPS = (0.9, 0.95), 1e-15


def state(rows: int, columns: int, device: torch.device, dtype=torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(rows)
    values = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    zeros = torch.zeros_like(values)
    return [v.to(device, dtype) for v in (values, zeros, zeros.clone(), zeros[:, :1].clone())]


def gradients(rows: int, columns: int, step: int) -> torch.Tensor:
    """[rows, columns] float64; a third of the rows is zero."""
    generator = torch.Generator().manual_seed(step)
    scale = torch.exp(3 * torch.randn(rows, 1, generator=generator, dtype=torch.float64))
    seen = torch.rand(rows, 1, generator=generator) > 1 / 3
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64) * scale * seen


@pytest.mark.parametrize("visible_only", [False, True])
@pytest.mark.parametrize(("rows", "columns"), [(1, 10), (777, 12), (130, 17)])
def test_kernels_move_like_the_reference(rows, columns, visible_only, device):
    rates = torch.rand(columns, dtype=torch.float64)
    expected, found = state(rows, columns, torch.device("cpu"), torch.float64), state(rows, columns, device)
    for step in range(12):
        gradient = gradients(rows, columns, step)
        reference(expected[0], gradient, *expected[1:], rates, *BETAS, EPS, visible_only)
        arguments = (gradient.to(device, torch.float32), *found[1:], rates.to(device, torch.float32))
        adam_step(found[0], *arguments, betas=BETAS, eps=EPS, visible_only=visible_only)
    for a, b in zip(found, expected):
        torch.testing.assert_close(a.cpu().double(), b, rtol=2e-5, atol=2e-5)


def test_where_all_rows_move_it_is_pytorchs_adam(device):
    rows, exp_avg, exp_avg_sq, steps = state(50, 12, device)
    theirs = rows.clone().requires_grad_()
    optimizer = torch.optim.Adam([theirs], lr=0.01, betas=BETAS, eps=EPS)
    for step in range(8):
        theirs.grad = gradients(50, 12, step).to(rows)
        optimizer.step()
        rates = torch.full((12,), 0.01, device=device)
        adam_step(rows, theirs.grad, exp_avg, exp_avg_sq, steps, rates, betas=BETAS, eps=EPS, visible_only=False)
    torch.testing.assert_close(rows, theirs.detach(), rtol=1e-5, atol=1e-6)


def test_rows_that_were_not_seen_stay(device):
    rows, *moments = state(6, 12, device)
    before = rows.clone()
    gradient = torch.zeros_like(rows)
    gradient[2, 7] = 1e-20
    adam_step(rows, gradient, *moments, torch.ones(12, device=device), betas=BETAS, eps=EPS, visible_only=True)
    assert moments[2].flatten().tolist() == [0, 0, 1, 0, 0, 0]
    moved = (rows != before).any(1)
    assert moved.tolist() == [False, False, True, False, False, False]


def test_opcheck(device):
    rows, *moments = state(5, 12, device)
    arguments = (torch.ones_like(rows), *moments, torch.ones(12, device=device), *BETAS, EPS, True)
    torch.library.opcheck(torch.ops.garv.adam_step.default, (rows, *arguments))
