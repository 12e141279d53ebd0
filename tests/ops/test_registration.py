"""Gradients by finite differences, the operators' registration, and what bad arguments are told."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from garv_gsplat import ops
from tests.ops.scenes import INFINITE, draw, draw_reference, lists, random_scene


@pytest.mark.parametrize(("drawing", "height"), [(draw, 18), (draw_reference, 3)])
@pytest.mark.parametrize("cutoff", [11.1, INFINITE])
def test_gradcheck(drawing, height, cutoff):
    # Two tiles along x; l_yy from 0.3 to 10 takes every way of stepping through the rows. The reference is slow.
    scene = random_scene(18, height, n=6, frames=2, channels=1, cutoff=cutoff).to(torch.float64)
    tiles = lists(scene)

    def image(means, cholesky, colors):
        return drawing(replace(scene, means=means, cholesky=cholesky, colors=colors), tiles)

    leaves = [t.requires_grad_() for t in (scene.means, scene.cholesky, scene.colors)]
    assert torch.autograd.gradcheck(image, leaves)


def test_opcheck(device):
    scene = random_scene(20, 18, n=8, frames=2).to(device)
    size = (scene.width, scene.height)
    tiles = lists(scene)
    torch.library.opcheck(torch.ops.garv.bin_gaussians.default, (*scene.geometry, scene.maps, *size, len(tiles[1])))
    v_image = torch.ones(2, 18, 20, 3, device=device)
    torch.library.opcheck(torch.ops.garv.accumulate_bwd.default, (v_image, *scene.gaussians, scene.maps, *tiles))
    leaves = [t.requires_grad_() for t in (scene.means, scene.cholesky, scene.colors)]
    arguments = (*leaves, scene.cutoffs, scene.times, scene.maps, *tiles, *size)
    torch.library.opcheck(torch.ops.garv.accumulate.default, arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"means": torch.zeros(60, 2)}, r"means must be \[N, 3\], got \[60, 2\]"),
        ({"cholesky": torch.zeros(60, 5)}, r"cholesky must be \[60, 6\], got \[60, 5\]"),
        ({"cutoffs": torch.zeros(59)}, r"cutoffs must be \[60\], got \[59\]"),
        ({"times": torch.zeros(2, 2)}, r"times must be \[B\], got \[2, 2\]"),
        ({"times": torch.zeros(2).double()}, "times must be torch.float32 on cpu as means are, got torch.float64"),
        ({"width": 0}, "the image must be at least 1x1, got 0x48"),
    ],
)
def test_bin_gaussians_tells_what_is_wrong(change, message):
    scene = replace(random_scene(), **change)
    with pytest.raises(ValueError, match=message):
        ops.bin_gaussians(*scene.geometry, scene.width, scene.height, 10)


def test_bin_gaussians_refuses_a_negative_capacity():
    scene = random_scene()
    with pytest.raises(ValueError, match="capacity must not be negative, got -1"):
        ops.bin_gaussians(*scene.geometry, 64, 48, -1)


@pytest.mark.parametrize("channels", [0, 9])
def test_accumulate_refuses_other_channels(channels):
    scene = random_scene()
    tiles = lists(scene)
    with pytest.raises(ValueError, match=rf"colors must be \[60, 1 to 8\], got \[60, {channels}\]"):
        draw(replace(scene, colors=torch.zeros(60, channels)), tiles)


def test_accumulate_refuses_lists_of_another_size():
    scene = random_scene()
    tiles = lists(scene)
    with pytest.raises(ValueError, match="bin_gaussians with the same times and size"):
        draw(replace(scene, width=128), tiles)


def test_other_dtypes_are_refused(device):
    scene = random_scene().to(torch.float16).to(device)
    with pytest.raises(RuntimeError, match="float32"):
        ops.bin_gaussians(*scene.geometry, 64, 48, 0)


@pytest.mark.cuda
def test_double_precision_is_refused_on_cuda():
    scene = random_scene().to(torch.float64).to("cuda")
    with pytest.raises(RuntimeError, match="float32"):
        ops.bin_gaussians(*scene.geometry, 64, 48, 0)


def test_kernels_check_what_reaches_them_directly():
    """The library guards its memory even when the Python checks are passed by."""
    scene = random_scene()
    offsets, ids = lists(scene)
    size = (scene.width, scene.height)
    with pytest.raises(RuntimeError, match="cholesky must be contiguous"):
        cholesky = scene.cholesky.T.contiguous().T
        torch.ops.garv.bin_gaussians(scene.means, cholesky, scene.cutoffs, scene.times, scene.maps, *size, 0)
    with pytest.raises(RuntimeError, match="isect_offsets must be int64"):
        torch.ops.garv.accumulate(*scene.gaussians, scene.maps, offsets[1:], ids, *size)
    with pytest.raises(RuntimeError, match="flatten_ids must be int32"):
        torch.ops.garv.accumulate(*scene.gaussians, scene.maps, offsets, ids.long(), *size)
    with pytest.raises(RuntimeError, match="v_image must be"):
        torch.ops.garv.accumulate_bwd(torch.zeros(3, 48, 64, 2), *scene.gaussians, scene.maps, offsets, ids)
