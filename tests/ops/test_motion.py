"""Gaussians in a plane that moves: seen through a map a frame, as if they had been moved themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from garv_gsplat import ops
from garv_gsplat.gaussians import affine_map
from garv_gsplat.packing import pack
from tests.ops.scenes import (
    IMAGE,
    INFINITE,
    Scene,
    draw,
    draw_reference,
    gradients,
    lists,
    random_scene,
    relative_error,
    rounding,
)
from tests.ops.test_draw import LOST, ON_CUDA, RECORDS, render
from tests.ops.test_draw_reference import by_reference, contributions, large_scene

MOTION = torch.tensor(
    [[1.0, 0.0, 0.0, 1.0, 5.0, -3.0], [0.9, 0.2, -0.25, 1.1, -7.3, 4.1], [1.3, -0.1, 0.4, 0.8, 0.2, -11.0]]
)


def moving_scene(**settings) -> Scene:
    return replace(random_scene(**settings), motion=MOTION)


def seen(scene: Scene, frame: int) -> Scene:
    """One frame of Gaussians that were moved themselves."""
    xx, xy, yx, yy, x, y = scene.motion[frame].tolist()
    means, cholesky = affine_map(scene.means, scene.cholesky, [[xx, xy, 0], [yx, yy, 0], [0, 0, 1]], [x, y, 0])
    return replace(scene, means=means, cholesky=cholesky, times=scene.times[frame : frame + 1], motion=None)


@pytest.mark.parametrize("cutoff", [11.1, INFINITE])
def test_frames_are_those_of_moved_gaussians(device, cutoff):
    scene = moving_scene(cutoff=cutoff)
    images = draw(scene.to(device)).cpu()
    for frame, image in enumerate(images):
        expected = draw(seen(scene.to(torch.float64), frame))[0]
        scale = float(expected.abs().max()) if device.type == "cuda" else 1.0
        assert (image - expected).abs().max() < IMAGE[device.type] * scale


def test_gradients_are_those_of_moved_gaussians(device):
    scene = moving_scene(smallest=0.6)
    v_image = torch.randn(3, 48, 64, 3, generator=torch.Generator().manual_seed(1))
    found = gradients(scene.to(device), v_image.to(device))
    double = scene.to(torch.float64)
    leaves = [t.clone().requires_grad_() for t in (double.means, double.cholesky, double.colors)]
    double = replace(double, means=leaves[0], cholesky=leaves[1], colors=leaves[2])
    loss = sum((draw(seen(double, k))[0] * v_image[k].double()).sum() for k in range(3))
    for gradient, expected in zip(found, torch.autograd.grad(loss, leaves)):
        assert relative_error(gradient, expected) < 1e-3


@pytest.mark.parametrize("drawing", [draw, draw_reference])
def test_gradcheck(drawing):
    scene = replace(random_scene(18, 3, n=5, frames=3, channels=1, cutoff=INFINITE), motion=MOTION).to(torch.float64)
    tiles = lists(scene)

    def image(means, cholesky, colors):
        return drawing(replace(scene, means=means, cholesky=cholesky, colors=colors), tiles)

    leaves = [t.requires_grad_() for t in (scene.means, scene.cholesky, scene.colors)]
    assert torch.autograd.gradcheck(image, leaves)


def test_the_identity_changes_nothing(device):
    scene = random_scene().to(device)
    same = replace(scene, motion=torch.tensor([1.0, 0, 0, 1, 0, 0], device=device).repeat(3, 1))
    image = draw(scene)
    assert torch.allclose(draw(same), image, atol=rounding(image))


def test_lists_that_do_not_fit_change_nothing(device):
    scene = moving_scene().to(device)
    short = ops.bin_gaussians(*scene.geometry, 64, 48, 40, scene.motion)
    image = draw(scene)
    assert torch.allclose(draw(scene, short), image, atol=rounding(image))


@pytest.mark.parametrize("tau", [0.0, 0.07])
@pytest.mark.parametrize("window", [(0, 0, 230, 150), (37, 51, 99, 45)])
def test_packed_gaussians_are_seen_through_their_maps(tau, window, device):
    scene = replace(large_scene(), times=torch.tensor([0.5, 2.5, 4.5]))
    maps = torch.tensor([[1.0, 0, 0, 1, 5, -3], [0.98, 0.1, -0.12, 1.04, -7.3, 4.1], [1.1, -0.1, 0.05, 0.9, 0.2, 11.0]])
    volume = pack(scene.means, scene.cholesky, scene.colors, tau, maps)
    assert volume.chunks[:, 2].unique().tolist() == [0, 1, 2, 3]
    assert torch.equal(volume.maps, maps)
    image, _ = render(volume.to(device), scene.times.to(device), window, motion=maps.to(device))
    left, top, width, height = window
    scale = contributions(scene, window).max()
    for frame, drawn in enumerate(image):
        moved = seen(replace(scene, motion=maps).to(torch.float64), frame)
        moved = replace(moved, means=moved.means - torch.tensor([left, top, 0.0]), width=width, height=height)
        bound = (RECORDS if device.type == "cpu" else ON_CUDA)[0] * scale + LOST * tau / 255
        assert (drawn - draw(moved)[0]).abs().max() <= bound
    wanted = by_reference(volume, scene.times, window, maps)
    assert (image - wanted).abs().max() <= ((1e-5 if device.type == "cpu" else ON_CUDA[0]) * scale + LOST * tau / 255)


def test_a_map_is_needed_for_every_time():
    scene = random_scene()
    with pytest.raises(
        ValueError, match=r"motion must be \[3, 6\] torch.float32 on cpu, a map for each time, got \[2, 6\]"
    ):
        ops.bin_gaussians(*scene.geometry, 64, 48, 0, MOTION[:2])


def test_operators_are_registered_with_motion(device):
    scene = replace(random_scene(20, 18, n=8, frames=3), motion=MOTION).to(device)
    tiles = lists(scene)
    arguments = (torch.ones(3, 18, 20, 3, device=device), *scene.gaussians, scene.maps, *tiles)
    torch.library.opcheck(torch.ops.garv.accumulate_bwd.default, arguments)
