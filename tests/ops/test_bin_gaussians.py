"""The tiles' lists."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from garv_gsplat import ops
from garv_gsplat.ops import _reference
from tests.ops.scenes import INFINITE, Scene, lists, random_scene

SIZES = [(1, 1), (17, 9), (177, 99), (64, 48)]


def as_matrix(offsets: Tensor, ids: Tensor, n: int) -> Tensor:
    """Listed or not [frames * tiles, N]; each Gaussian at most once in a list."""
    offsets, ids = offsets.cpu(), ids.cpu().long()
    tile = torch.repeat_interleave(torch.arange(len(offsets) - 1), offsets.diff())
    counts = torch.zeros(len(offsets) - 1, n, dtype=torch.int64)
    counts.index_put_((tile, ids[: len(tile)]), torch.ones_like(tile), accumulate=True)
    assert not (counts > 1).any()
    return counts > 0


def expected(scene: Scene, slack: float) -> Tensor:
    """The reference's lists in float64 where the cutoffs are shifted by `slack`."""
    scene = scene.to("cpu").to(torch.float64)
    scene.cutoffs = scene.cutoffs + slack
    offsets, _ = _reference.bin_gaussians(*scene.geometry, scene.maps, scene.width, scene.height, 0)
    tiles = _reference.bin_gaussians(*scene.geometry, scene.maps, scene.width, scene.height, int(offsets[-1]))
    return as_matrix(*tiles, len(scene.means))


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("frames", [0, 1, 3])
def test_lists_hold_what_reaches_the_tile(width, height, frames, device):
    scene = random_scene(width, height, n=200, frames=frames)
    listed = as_matrix(*lists(scene.to(device)), 200)
    # float32 rounds a squared distance of 11 by about 1e-5: within that either answer is right.
    assert bool((listed >= expected(scene, -1e-3)).all())
    assert bool((listed <= expected(scene, 1e-3)).all())


def test_infinite_cutoffs_list_everything(device):
    scene = random_scene(177, 99, cutoff=INFINITE).to(device)
    offsets, _ = lists(scene)
    assert offsets.tolist() == list(range(0, 60 * (len(offsets) - 1) + 1, 60))


def test_negative_cutoffs_list_nothing(device):
    scene = random_scene(cutoff=-1.0).to(device)
    offsets, _ = ops.bin_gaussians(*scene.geometry, scene.width, scene.height, 10)
    assert int(offsets[-1]) == 0


def test_lists_are_sorted_on_the_cpu():
    scene = random_scene(177, 99, n=2000)
    offsets, ids = lists(scene)
    steps = ids.long().diff()
    inside = torch.ones(len(ids), dtype=torch.bool)
    inside[offsets[:-1][offsets.diff() > 0]] = False  # a list's first entry follows another list
    assert bool((steps[inside[1:]] > 0).all())


@pytest.mark.parametrize("capacity", [0, 1, 37, 100_000])
def test_offsets_are_exact_at_any_capacity(capacity, device):
    scene = random_scene().to(device)
    complete, all_ids = lists(scene)
    offsets, ids = ops.bin_gaussians(*scene.geometry, scene.width, scene.height, capacity)
    assert torch.equal(offsets, complete) and offsets.dtype == torch.int64
    assert ids.shape == (capacity,) and ids.dtype == torch.int32
    held = torch.searchsorted(offsets, capacity, right=True) - 1  # lists that are complete
    if scene.means.is_cuda and capacity < len(all_ids):
        return  # there pairs come in any order, so no list is whole unless all are
    for tile in range(min(int(held), len(offsets) - 1)):
        start, end = int(offsets[tile]), int(offsets[tile + 1])
        assert sorted(ids[start:end].tolist()) == sorted(all_ids[start:end].tolist())


def test_lists_are_whole_though_most_gaussians_lie_beside_the_image(device):
    inside, outside = 100, 39_900
    means = torch.tensor([[8.0, 8.0, 0.5]] * inside + [[24.0, 24.0, 0.5]] * outside)
    cholesky = torch.tensor([[1.0, 0, 0, 0.5, 0, 0.5]]).repeat(len(means), 1)
    geometry = [t.to(device) for t in (means, cholesky, torch.full((len(means),), 9.0), torch.tensor([0.5]))]
    for capacity in (inside, 4 * inside):
        offsets, ids = ops.bin_gaussians(*geometry, 16, 16, capacity)
        assert offsets.tolist() == [0, inside]
        assert sorted(ids[:inside].tolist()) == list(range(inside))


@pytest.mark.parametrize("tensor", ["means", "cholesky", "cutoffs"])
def test_nan_drops_out(tensor, device):
    scene = random_scene(cutoff=INFINITE)
    values = getattr(scene, tensor).view(60, -1)
    for column in range(values.shape[1]):
        values[column, column] = float("nan")
    listed = as_matrix(*lists(scene.to(device)), 60)
    assert not listed[:, : values.shape[1]].any()
    assert listed[:, values.shape[1] :].all()


def test_infinite_means_drop_out(device):
    scene = random_scene()
    scene.means[0, 0], scene.means[1, 1], scene.means[2, 2] = INFINITE, -INFINITE, INFINITE
    assert not as_matrix(*lists(scene.to(device)), 60)[:, :3].any()


def test_no_gaussians(device):
    scene = random_scene(n=0).to(device)
    offsets, ids = ops.bin_gaussians(*scene.geometry, scene.width, scene.height, 5)
    assert not offsets.any() and len(offsets) == 3 * 12 + 1 and len(ids) == 5
