"""Sorting into a grid: a permutation whose neighbours are alike."""

from __future__ import annotations

import pytest
import torch

from garv_gsplat.codec.plas import neighbour_distance, sort_to_grid


def random_rows(count: int, width: int = 6) -> torch.Tensor:
    return torch.rand(count, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 16, 90])
def test_every_one_stands_in_the_grid_once(device, count):
    grid = sort_to_grid(random_rows(count).to(device))
    side = next(k for k in range(count + 1) if k * k >= count)
    assert grid.shape == (side, side) and grid.device.type == device.type
    assert sorted(grid.flatten()[:count].tolist()) == list(range(count))
    assert (grid.flatten()[count:] == grid.flatten()[count - 1 : count]).all()


def test_a_shuffled_gradient_is_put_back(device):
    side = 32
    ramp = torch.linspace(0, 1, side)
    smooth = torch.stack([ramp[:, None].expand(side, side), ramp.expand(side, side), (ramp[:, None] * ramp) ** 2], 2)
    shuffled = smooth.flatten(0, 1)[torch.randperm(side * side, generator=torch.Generator().manual_seed(0))].to(device)
    before = neighbour_distance(shuffled.view(side, side, 3)).mean()
    after = neighbour_distance(shuffled[sort_to_grid(shuffled)]).mean()
    assert after < 2 * neighbour_distance(smooth).mean()
    assert after < 0.15 * before


def test_random_rows_come_nearer_to_their_neighbours(device):
    rows = random_rows(1000).to(device)
    grid = sort_to_grid(rows)
    unsorted = rows[torch.arange(1000).clamp(max=999)].repeat(2, 1)[:1024].view(32, 32, 6)
    assert neighbour_distance(rows[grid]).mean() < 0.6 * neighbour_distance(unsorted).mean()  # 6 numbers, 2 axes


def test_the_same_seed_gives_the_same_grid():
    rows = random_rows(300)
    assert torch.equal(sort_to_grid(rows, seed=3), sort_to_grid(rows, seed=3))
    assert not torch.equal(sort_to_grid(rows, seed=3), sort_to_grid(rows, seed=4))


def test_units_count_for_nothing_but_their_ratio():
    rows = random_rows(200).double()
    assert torch.equal(sort_to_grid(rows), sort_to_grid(1024 * rows + 3))


def test_rows_that_are_all_alike():
    assert sorted(sort_to_grid(torch.full((9, 2), 7.0)).flatten().tolist()) == list(range(9))


def test_the_distance_of_neighbours():
    grid = torch.tensor([[[0.0], [1.0]], [[0.0], [3.0]]])
    assert neighbour_distance(grid).tolist() == [(1 + 3 + 0 + 2) / 4]
    assert neighbour_distance(grid[:1, :1]).tolist() == [0]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.zeros(4), "floats .N, at least 1., got torch.float32 .4."),
        (torch.zeros(4, 0), "at least 1"),
        (torch.zeros(4, 2, dtype=torch.int64), "got torch.int64"),
        (torch.full((4, 2), float("nan")), "infinite or not a number"),
    ],
)
def test_what_cannot_be_sorted(features, message):
    with pytest.raises(ValueError, match=message):
        sort_to_grid(features)
