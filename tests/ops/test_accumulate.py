"""The sum of the slices and its gradients: compiled against the reference, and what must not change them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from garv_gsplat import ops
from garv_gsplat.ops import _reference
from tests.ops.scenes import (
    INFINITE,
    Scene,
    draw,
    draw_reference,
    gradients,
    lists,
    random_scene,
    relative_error,
)

# The exponential is good to a few 1e-6 (a recurrence over 8 rows) and a pixel sums 60 such terms: 1e-4 of full scale is
# what the format's 8 bits need with a factor of 40 to spare.
IMAGE = 1e-4
# Gradients are moments of thousands of pixels that partly cancel, and carry squares of 1 / l_yy.
GRADIENT = 1e-3

SIZES = [(1, 1), (17, 9), (177, 99), (64, 48)]
CUTOFFS = [11.1, INFINITE]


def noise_like(scene: Scene) -> torch.Tensor:
    shape = (len(scene.times), scene.height, scene.width, scene.colors.shape[1])
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(scene.means)


def assert_equals_reference(scene: Scene, device: torch.device) -> None:
    """Draws on `device` in float32 and by the reference in float64, from the same lists."""
    there, exact = scene.to(device), scene.to(torch.float64)
    tiles = lists(there)
    tiles_here = tuple(t.cpu() for t in tiles)
    image, expected = draw(there, tiles).cpu().double(), draw_reference(exact, tiles_here)
    full_scale = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
    torch.testing.assert_close(image, expected, rtol=0, atol=IMAGE * full_scale)
    arguments = (exact.means, exact.cholesky, exact.colors, exact.cutoffs, exact.times, exact.maps, *tiles_here)
    wanted = _reference.accumulate_bwd(noise_like(exact), *arguments)
    for name, value, want in zip(
        ("means", "cholesky", "colors"), gradients(there, noise_like(scene).to(device), tiles), wanted
    ):
        assert relative_error(value, want) < GRADIENT, name


def assert_same(a: Scene, b: Scene, tiles_a=None, tiles_b=None) -> None:
    """The same image and gradients up to the order of a sum in float32."""
    torch.testing.assert_close(draw(a, tiles_a), draw(b, tiles_b), rtol=0, atol=1e-5)
    for x, y in zip(gradients(a, noise_like(a), tiles_a), gradients(b, noise_like(b), tiles_b)):
        assert relative_error(x, y) < 1e-5


def test_compiled_kernels_serve(device):
    ops.bin_gaussians(*random_scene().to(device).geometry, 64, 48, 0)
    assert ops.serving()[device.type.upper()] == "compiled"


@pytest.mark.parametrize("channels", range(1, 9))
def test_every_number_of_channels(channels, device):
    assert_equals_reference(random_scene(channels=channels, frames=2), device)


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("cutoff", CUTOFFS)
def test_every_size(width, height, cutoff, device):
    assert_equals_reference(random_scene(width, height, cutoff=cutoff, seed=width), device)


@pytest.mark.parametrize("frames", [0, 1, 3])
def test_every_number_of_frames(frames, device):
    assert_equals_reference(random_scene(frames=frames), device)


@pytest.mark.parametrize("smallest", [1e-4, 0.02, 0.5])
def test_gaussians_between_the_pixels(smallest, device):
    """Down to the clamp, where most have no pixel, and across every way of stepping through the rows."""
    scene = random_scene(n=150, smallest=smallest, cutoff=INFINITE)
    scene.cholesky[:, 4].clamp_(-1, 1)
    assert_equals_reference(scene, device)


def test_clamped_sigmas_get_no_gradient(device):
    scene = random_scene(n=3)
    scene.cholesky[:, [0, 3, 5]] = 1e-4
    scene.means[:, :2] = torch.tensor([10.5, 10.5])
    scene.means[:, 2] = 3.0
    scene.times = torch.tensor([3.0])
    scene = scene.to(device)
    _, v_cholesky, v_colors = gradients(scene, noise_like(scene))
    assert not v_cholesky[:, [0, 3, 5]].any() and v_colors.all()


def test_order_of_the_gaussians_does_not_matter(device):
    scene = random_scene().to(device)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(2)).to(device)
    torch.testing.assert_close(draw(scene.pick(order)), draw(scene), rtol=0, atol=1e-5)
    v_image = noise_like(scene)
    for x, y in zip(gradients(scene.pick(order), v_image), gradients(scene, v_image)):
        assert relative_error(x, y[order]) < 1e-5


def test_a_batch_equals_a_loop(device):
    scene = random_scene().to(device)
    v_image = noise_like(scene)
    singles = [replace(scene, times=t[None]) for t in scene.times]
    torch.testing.assert_close(draw(scene), torch.cat([draw(s) for s in singles]), rtol=0, atol=1e-5)
    loop = [gradients(s, v[None]) for s, v in zip(singles, v_image)]
    for value, parts in zip(gradients(scene, v_image), zip(*loop)):
        assert relative_error(value, sum(parts)) < 1e-5


@pytest.mark.parametrize("capacity", [0, 1, 100])
def test_lists_that_do_not_fit_change_nothing(capacity, device):
    scene = random_scene().to(device)
    tiles = ops.bin_gaussians(*scene.geometry, scene.width, scene.height, capacity)
    assert int(tiles[0][-1]) > capacity
    assert_same(scene, scene, tiles, lists(scene))


def test_room_to_spare_changes_nothing(device):
    scene = random_scene().to(device)
    tiles = ops.bin_gaussians(*scene.geometry, scene.width, scene.height, 100_000)
    assert_same(scene, scene, tiles, lists(scene))


def test_nan_gaussian_drops_out(device):
    scene = random_scene(cutoff=INFINITE)
    for column in range(3):
        scene.means[column, column] = float("nan")
    for column in range(6):
        scene.cholesky[3 + column, column] = float("nan")
    scene = scene.to(device)
    rest = scene.pick(torch.arange(9, 60, device=device))
    torch.testing.assert_close(draw(scene), draw(rest), rtol=0, atol=1e-5)
    v_image = noise_like(scene)
    for value, want in zip(gradients(scene, v_image), gradients(rest, v_image)):
        assert not value[:9].any()
        assert relative_error(value[9:], want) < 1e-5


def test_no_gaussians(device):
    scene = random_scene(n=0).to(device)
    image = draw(scene)
    assert image.shape == (3, 48, 64, 3) and not image.any()
    assert [g.shape for g in gradients(scene, noise_like(scene))] == [(0, 3), (0, 6), (0, 3)]


def test_no_pairs(device):
    scene = random_scene(cutoff=-1.0).to(device)
    assert not draw(scene).any()
    assert not any(g.any() for g in gradients(scene, noise_like(scene)))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads_gives_the_same_bits_on_the_cpu(threads):
    scene = random_scene(177, 99, n=3000)
    first = [*lists(scene), draw(scene), *gradients(scene, noise_like(scene))]
    torch.set_num_threads(threads)
    second = [*lists(scene), draw(scene), *gradients(scene, noise_like(scene))]
    assert all(torch.equal(a, b) for a, b in zip(first, second))
