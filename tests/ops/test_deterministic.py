"""Under torch.use_deterministic_algorithms: the same bits again, which differ from the others only by rounding."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from garv_gsplat import ops
from garv_gsplat.ops import PairBudget, _deterministic
from tests.ops.scenes import INFINITE, ORDER, Scene, draw, gradients, lists, random_scene, relative_error, rounding


def crowded(**changes) -> Scene:
    """Many Gaussians to a tile, and many tiles to a Gaussian."""
    scene = random_scene(177, 99, **{"n": 3000, "frames": 4, **changes})
    scene.cholesky[:50, [3, 5]] *= 20
    return scene


def noise_like(scene: Scene) -> Tensor:
    shape = (len(scene.times), scene.height, scene.width, scene.colors.shape[1])
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    noise[:, :16] = 0  # tiles without a gradient
    return noise.to(scene.means)


def everything(scene: Scene, capacity: int | None = None) -> list[Tensor]:
    """Lists, images and gradients of one run; with a capacity only that much room is asked for."""
    if capacity is None:
        tiles = lists(scene)
    else:
        tiles = ops.bin_gaussians(*scene.geometry, scene.width, scene.height, capacity)
    return [*tiles, draw(scene, tiles), *gradients(scene, noise_like(scene), tiles)]


def shuffled(tiles: tuple[Tensor, Tensor]) -> Tensor:
    """The entries of every list in another order."""
    offsets, ids = (t.cpu() for t in tiles)
    generator = torch.Generator().manual_seed(2)
    parts = [part[torch.randperm(len(part), generator=generator)] for part in ids.tensor_split(offsets[1:-1])]
    return torch.cat(parts).to(tiles[1])


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_same_bits_five_times(channels, device, deterministic):
    scene = crowded(channels=channels).to(device)
    first = everything(scene)
    for _ in range(4):
        assert all(torch.equal(a, b) for a, b in zip(first, everything(scene)))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 8])
def test_only_rounding_differs_from_the_usual_result(channels, device):
    scene = crowded(channels=channels).to(device)
    _, _, image, *usual = everything(scene)
    torch.use_deterministic_algorithms(True)
    try:
        _, _, same_image, *ordered = everything(scene)
    finally:
        torch.use_deterministic_algorithms(False)
    # on the CPU 1e-4: hundreds of colours of several units a pixel
    torch.testing.assert_close(same_image, image, rtol=0, atol=rounding(image) if image.is_cuda else 1e-4)
    for value, expected in zip(ordered, usual):
        assert relative_error(value, expected) < ORDER[value.device.type]


@pytest.mark.parametrize("capacity", [0, 1, 1000, 1_000_000])
def test_room_changes_no_bit(capacity, device, deterministic):
    scene = crowded().to(device)
    (offsets, ids, *expected), (same_offsets, some_ids, *values) = everything(scene), everything(scene, capacity)
    assert torch.equal(offsets, same_offsets)
    assert all(torch.equal(a, b) for a, b in zip(expected, values))
    if device.type == "cuda":
        assert torch.equal(ids, some_ids)


def test_what_a_budget_has_learned_changes_no_bit(device, deterministic):
    scene, budget = crowded().to(device), PairBudget()
    results = []
    for part in (torch.arange(60), torch.arange(3000), torch.arange(3000)):
        seen = scene.pick(part.to(device))
        tiles = budget.bin(*seen.geometry, seen.width, seen.height)
        results.append([draw(seen, tiles), *gradients(seen, noise_like(seen), tiles)])
    fresh = [draw(scene), *gradients(scene, noise_like(scene))]
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, fresh))


def test_lists_are_sorted(device, deterministic):
    scene = crowded().to(device)
    offsets, ids = lists(scene)
    steps = ids.long().diff()
    inside = torch.ones(len(ids), dtype=torch.bool, device=device)
    inside[offsets[:-1][offsets.diff() > 0]] = False  # a list's first entry follows another list
    assert bool((steps[inside[1:]] > 0).all())


def test_sorting_lists(device):
    scene = random_scene(177, 99, n=500).to(device)
    offsets, ids = lists(scene)
    expected = _deterministic.sort_lists(offsets, ids, 500)
    mixed = shuffled((offsets, ids))
    assert not torch.equal(mixed, expected)
    assert torch.equal(_deterministic.sort_lists(offsets, mixed, 500), expected)
    if device.type == "cpu":
        assert torch.equal(ids, expected)


def test_room_for_exactly_the_pairs_is_enough(device):
    """Also where most Gaussians lie between pixels that belong to four tiles, and so are in no list."""
    scene = random_scene(n=500)
    scene.means[:450, :2] = 16.0
    scene.cholesky[:450, 1:] = torch.tensor([0.0, 0.0, 0.01, 0.0, 0.01])
    scene = scene.to(device)
    offsets, ids = lists(scene)
    same_offsets, more_ids = ops.bin_gaussians(*scene.geometry, scene.width, scene.height, 100_000)
    assert torch.equal(offsets, same_offsets) and ids.max() >= 450
    expected, given = (_deterministic.sort_lists(offsets, some[: len(ids)], 500) for some in (more_ids, ids))
    assert torch.equal(given, expected) and given.min() >= 450


@pytest.mark.parametrize("cutoff", [11.1, INFINITE])
@pytest.mark.parametrize("channels", [1, 3, 7])
@pytest.mark.parametrize("capacity", [None, 0, 100, 100_000])
def test_sums_of_pairs_are_the_gradients(cutoff, channels, capacity, device):
    """Whether or not lists are complete or longer than they are, and where the kernels keep order by themselves."""
    scene = random_scene(channels=channels, cutoff=cutoff).to(device)
    tiles = lists(scene)
    some = tiles if capacity is None else ops.bin_gaussians(*scene.geometry, 64, 48, capacity)
    v_image = noise_like(scene)
    for value, expected in zip(
        _deterministic.accumulate_bwd(v_image, *scene.gaussians, scene.maps, *some), gradients(scene, v_image, tiles)
    ):
        assert value.shape == expected.shape and value.is_contiguous()
        # on the CPU pairs are those of the reference, which has an exponential of its own (see test_accumulate.py)
        assert relative_error(value, expected) < (1e-3 if device.type == "cpu" else ORDER["cuda"])


def test_pairs_that_do_not_fit_have_no_rows(device):
    scene = random_scene().to(device)
    offsets, ids = ops.bin_gaussians(*scene.geometry, 64, 48, 100)
    assert int(offsets[-1]) > 100
    rows = torch.ops.garv.accumulate_bwd_pairs(noise_like(scene), *scene.gaussians, scene.maps, offsets, ids)
    assert rows.shape == (100, 12) and torch.isfinite(rows).all()


def test_nothing_to_draw(device, deterministic):
    for scene in (random_scene(n=0), random_scene(cutoff=-1.0), random_scene(frames=0)):
        there = scene.to(device)
        assert not draw(there).any()
        assert not any(g.any() for g in gradients(there, noise_like(there)))


def test_nan_gaussian_drops_out(device, deterministic):
    scene = random_scene(cutoff=INFINITE)
    scene.means[0, 0] = scene.cholesky[1, 3] = float("nan")
    for gradient in gradients(scene.to(device), noise_like(scene.to(device))):
        assert not gradient[:2].any() and gradient[2:].isfinite().all() and gradient[2:].any()


def test_pairs_of_an_unused_list_are_left_out(device, deterministic):
    """Entries past the used part of a list that came from elsewhere may hold anything."""
    scene = random_scene().to(device)
    offsets, ids = lists(scene)
    padded = torch.cat([ids, torch.full((50,), 2**31 - 1, dtype=torch.int32, device=device)])
    v_image = noise_like(scene)
    for a, b in zip(gradients(scene, v_image, (offsets, padded)), gradients(scene, v_image, (offsets, ids))):
        assert torch.equal(a, b)


def test_opcheck(device):
    scene = random_scene(20, 18, n=8, frames=2).to(device)
    arguments = (torch.ones(2, 18, 20, 3, device=device), *scene.gaussians, scene.maps, *lists(scene))
    torch.library.opcheck(torch.ops.garv.accumulate_bwd_pairs.default, arguments)


@pytest.mark.cuda
def test_kernel_checks_what_reaches_it_directly():
    scene = random_scene().to("cuda")
    tiles = lists(scene)
    with pytest.raises(RuntimeError, match="v_image has the wrong shape"):
        torch.ops.garv.accumulate_bwd_pairs(
            torch.zeros(3, 48, 64, 2, device="cuda"), *scene.gaussians, scene.maps, *tiles
        )
    with pytest.raises(RuntimeError, match="cholesky must be contiguous"):
        transposed = replace(scene, cholesky=scene.cholesky.T.contiguous().T)
        torch.ops.garv.accumulate_bwd_pairs(
            torch.zeros(3, 48, 64, 3, device="cuda"), *transposed.gaussians, transposed.maps, *tiles
        )
