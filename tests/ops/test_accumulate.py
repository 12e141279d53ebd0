"""The sum of the slices and its gradients: compiled against the reference, and what must not change them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from garv_gsplat import ops
from garv_gsplat.ops import _reference
from tests.ops.scenes import (
    HALF,
    IMAGE,
    INFINITE,
    ORDER,
    Scene,
    draw,
    draw_reference,
    gradients,
    lists,
    random_scene,
    relative_error,
    rounding,
)

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
    torch.testing.assert_close(image, expected, rtol=0, atol=IMAGE[device.type] * full_scale)
    assert (image - expected).norm() <= HALF / 2 * full_scale * image.numel() ** 0.5
    arguments = (exact.means, exact.cholesky, exact.colors, exact.cutoffs, exact.times, exact.maps, *tiles_here)
    wanted = _reference.accumulate_bwd(noise_like(exact), *arguments)
    for name, value, want in zip(
        ("means", "cholesky", "colors"), gradients(there, noise_like(scene).to(device), tiles), wanted
    ):
        assert relative_error(value, want) < GRADIENT, name


def assert_same(a: Scene, b: Scene, tiles_a=None, tiles_b=None) -> None:
    """The same image and gradients up to the order of a sum."""
    expected = draw(b, tiles_b)
    torch.testing.assert_close(draw(a, tiles_a), expected, rtol=0, atol=rounding(expected))
    for x, y in zip(gradients(a, noise_like(a), tiles_a), gradients(b, noise_like(b), tiles_b)):
        assert relative_error(x, y) < ORDER[x.device.type]


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


@pytest.mark.parametrize("factor", [1e-30, 1e-8, 1e-3, 300.0, 1e6, 1e30])
def test_colors_of_any_size_are_as_exact(factor, device):
    scene = random_scene()
    scene.colors *= factor
    tiles = lists(scene)
    image = draw(scene.to(device), tuple(t.to(device) for t in tiles)).cpu().double()
    expected = draw_reference(scene.to(torch.float64), tiles)
    scale = float(expected.abs().max())
    torch.testing.assert_close(image / scale, expected / scale, rtol=0, atol=IMAGE[device.type])


@pytest.mark.parametrize("descending", [False, True])
def test_large_colors_cost_those_of_other_tiles_nothing(descending, device):
    """Nor where the largest comes late, after those that do not fill a batch."""
    scene = random_scene(n=400, frames=1)
    scene.colors *= torch.exp(8 * torch.randn(400, 1, generator=torch.Generator().manual_seed(3)))
    scene = scene.pick(scene.colors.abs().amax(1).argsort(descending=descending))
    tiles, exact = lists(scene), scene.to(torch.float64)
    assert tiles[0].diff().max() > 64 and scene.colors.abs().max() > 1e12 * scene.colors.abs().amax(1).min()
    image = draw(scene.to(device), tuple(t.to(device) for t in tiles)).cpu().double()
    contributions = draw_reference(replace(exact, colors=exact.colors.abs()), tiles)
    largest = torch.nn.functional.max_pool2d(contributions.permute(0, 3, 1, 2), 16)
    scale = largest.repeat_interleave(16, 2).repeat_interleave(16, 3).permute(0, 2, 3, 1)
    assert ((image - draw_reference(exact, tiles)).abs() / scale).max() < IMAGE[device.type]


def test_the_thinnest_gaussians_leave_the_image_finite(device):
    """Along a diagonal of pixels terms of 1e8 cancel, and what is left of the exponent may be positive."""
    scene = random_scene(n=40, frames=1, cutoff=INFINITE)
    scene.means[:, 1] = scene.means[:, 0]
    scene.cholesky[:, 1:] = torch.tensor([0.0, 0.0, 1000.0, 1000.0, 1e-3])
    assert draw(scene.to(device)).isfinite().all()


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
    image = draw(scene)
    torch.testing.assert_close(draw(scene.pick(order)), image, rtol=0, atol=rounding(image))
    v_image = noise_like(scene)
    for x, y in zip(gradients(scene.pick(order), v_image), gradients(scene, v_image)):
        assert relative_error(x, y[order]) < ORDER[x.device.type]


def test_a_batch_equals_a_loop(device):
    scene = random_scene().to(device)
    v_image = noise_like(scene)
    singles = [replace(scene, times=t[None]) for t in scene.times]
    image = draw(scene)
    torch.testing.assert_close(image, torch.cat([draw(s) for s in singles]), rtol=0, atol=rounding(image))
    loop = [gradients(s, v[None]) for s, v in zip(singles, v_image)]
    for value, parts in zip(gradients(scene, v_image), zip(*loop)):
        assert relative_error(value, sum(parts)) < ORDER[value.device.type]


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
    image = draw(rest)
    torch.testing.assert_close(draw(scene), image, rtol=0, atol=rounding(image))
    v_image = noise_like(scene)
    for value, want in zip(gradients(scene, v_image), gradients(rest, v_image)):
        assert not value[:9].any()
        assert relative_error(value[9:], want) < ORDER[value.device.type]


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
