"""The room that launches get."""

from __future__ import annotations

import torch

from garv_gsplat.ops import PairBudget
from tests.ops.scenes import Scene, draw, lists, random_scene, rounding


def launch(budget: PairBudget, scene: Scene) -> tuple[torch.Tensor, torch.Tensor]:
    tiles = budget.bin(*scene.geometry, scene.width, scene.height)
    if scene.means.is_cuda:
        torch.cuda.synchronize()  # so that the number of pairs has arrived for the next launch
    return tiles


def pairs(scene: Scene) -> int:
    return int(lists(scene)[0][-1])


def test_first_launch_measures(device):
    scene, budget = random_scene(n=3000).to(device), PairBudget()
    offsets, ids = launch(budget, scene)
    assert pairs(scene) == int(offsets[-1]) <= len(ids)
    assert budget.pairs_per_frame == pairs(scene) / 3


def test_later_launches_keep_the_room(device):
    scene, budget = random_scene(n=3000).to(device), PairBudget()
    first = launch(budget, scene)[1]
    assert len(launch(budget, scene.pick(torch.arange(10)))[1]) == len(first)
    assert len(launch(budget, scene)[1]) == len(first)


def test_room_grows_after_an_overflow(device):
    few = random_scene(n=60).to(device)
    many = random_scene(n=12_000).to(device)
    budget = PairBudget()
    launch(budget, few)
    tiles = launch(budget, many)
    assert len(tiles[1]) < pairs(many)
    image = draw(many)
    torch.testing.assert_close(draw(many, tiles), image, rtol=0, atol=max(1e-3, rounding(image)))
    launch(budget, many)
    assert len(launch(budget, many)[1]) >= pairs(many)


def test_another_size_measures_again(device):
    budget = PairBudget()
    launch(budget, random_scene(n=3000).to(device))
    large = random_scene(320, 240, n=12_000).to(device)
    assert len(launch(budget, large)[1]) >= pairs(large)


def test_no_frames_and_no_gaussians(device):
    budget = PairBudget()
    offsets, _ = launch(budget, random_scene(frames=0).to(device))
    assert offsets.tolist() == [0]
    offsets, _ = launch(budget, random_scene(n=0).to(device))
    assert not offsets.any()
