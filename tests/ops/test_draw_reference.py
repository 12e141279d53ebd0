"""Drawing packed Gaussians: the kernels against the plain-torch operator, and on the CPU what must not change a bit."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from garv_gsplat import ops
from garv_gsplat.ops import _reference_draw
from garv_gsplat.packing import PackedVolume
from tests.ops.scenes import Scene, random_scene
from tests.ops.test_draw import ENOUGH, LOST, ON_CUDA, RECORDS, assert_is, packed, render

TAU = 0.07
WINDOWS = [(0, 0, 230, 150), (37, 51, 99, 45), (-20, 90, 70, 80)]


def large_scene() -> Scene:
    """Of more tiles than threads and several chunks on each of four levels."""
    scene = random_scene(230, 150, n=2500, frames=5)
    scene.cholesky[:, 3:] *= 3
    scene.colors *= 0.05
    return scene


def by_reference(
    volume: PackedVolume, times: Tensor, window: tuple[int, int, int, int], motion: Tensor | None = None
) -> Tensor:
    arguments = (
        volume.records,
        volume.chunks,
        volume.levels,
        volume.channels,
        volume.tau,
        times,
        ops.motion_or_none(motion, times),
    )
    return _reference_draw.draw(*arguments, *window, ENOUGH, True, torch.zeros(1).long())


def contributions(scene: Scene, window: tuple[int, int, int, int]) -> Tensor:
    """The sum at each pixel without signs."""
    return by_reference(packed(replace(scene, colors=scene.colors.abs())), scene.times, window)


def test_the_reference_equals_the_definition():
    scene = random_scene(96, 64, n=200)
    scene.cholesky[:, 3:] *= 3
    assert_is(by_reference(packed(scene), scene.times, (0, 0, 96, 64)), scene, torch.device("cpu"))


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("tau", [0.0, TAU])
def test_kernels_draw_what_the_reference_draws(tau, window, device):
    """Both from the same records. A tile on the edge of a Gaussian's reach may count to it in one and not in the other;
    CUDA rounds weights besides."""
    scene = large_scene()
    volume = packed(scene, tau)
    assert volume.chunks[:, 2].unique().tolist() == [0, 1, 2, 3]
    image, _ = render(volume.to(device), scene.times.to(device), window)
    wanted = by_reference(volume, scene.times, window)
    on_cpu = device.type == "cpu"
    largest, mean = (1e-5, 1e-6) if on_cpu else tuple(a - b for a, b in zip(ON_CUDA, RECORDS))
    scale, error = contributions(scene, window), (image - wanted).abs()
    assert error.max() <= largest * scale.max() + (LOST * tau / 255 if tau else 0)
    assert error.mean() <= mean * scale.mean() + (1e-3 * tau / 255 if on_cpu else 0)


@pytest.mark.parametrize("frames", [1, 3, 4, 5])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_any_number_of_threads_draws_the_same(frames, dtype):
    """Frames that threads draw alone and those that they draw together."""
    scene = large_scene()
    volume, times = packed(scene, TAU), scene.times[:frames]
    alone = render(volume, times, (0, 0, 230, 150), dtype=dtype)[0]
    for threads in (2, 3, 7):
        torch.set_num_threads(threads)
        assert torch.equal(render(volume, times, (0, 0, 230, 150), dtype=dtype)[0], alone)


@pytest.mark.parametrize("capability", ["default", "avx2"])
def test_every_instruction_set_draws_the_same(capability, tmp_path):
    """Up to the last bits: products are added in one step or in two. The choice is made once in a process."""
    scene, drawn = large_scene(), tmp_path / "drawn.pt"
    volume = packed(scene)
    program = (
        "import sys, torch; from tests.ops.test_draw_reference import *; scene = large_scene();"
        "torch.save(render(packed(scene), scene.times, WINDOWS[1])[0], sys.argv[1])"
    )
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": capability}
    folder = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program, str(drawn)], check=True, env=environment, cwd=folder)
    image, _ = render(volume, scene.times, WINDOWS[1])
    torch.testing.assert_close(
        torch.load(drawn), image, rtol=0, atol=1e-5 * float(contributions(scene, WINDOWS[1]).max())
    )
