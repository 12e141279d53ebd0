"""The lists that drawing makes: of frames alone and in batches, with dead chunks, without room."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.ops.scenes import random_scene
from tests.ops.test_draw import ENOUGH, REORDERED, contributions, packed, render, render_whole, wide_scene


@pytest.mark.parametrize("window", [(0, 0, 480, 350), (-90, 37, 333, 500), (201, 111, 40, 40)])
def test_a_frame_alone_of_long_thin_gaussians(window, device):
    """Across many blocks of which they reach few; a frame alone finds these in another way than a batch."""
    random = torch.Generator().manual_seed(5)
    scene = random_scene(480, 350, n=400)
    angle, long = torch.rand(400, generator=random) * 3.1, 20 + 60 * torch.rand(400, generator=random)
    x, y = long * angle.cos().abs() + 1, long * angle.sin()
    scene.cholesky[:, 3:] = torch.stack([x, y, 1 + 0.01 * long], 1)
    volume, times = packed(scene, 0.07).to(device), torch.arange(0.5, 6, 1, device=device)
    batch, _ = render(volume, times, window)
    alone = torch.cat([render(volume, time, window)[0] for time in times.split(1)])
    scale = render_whole(replace(scene, colors=scene.colors.abs()), device).max()
    assert batch.any()
    torch.testing.assert_close(alone, batch, rtol=0, atol=REORDERED[device.type] * float(scale))


@pytest.mark.parametrize("room", [ENOUGH, 3])
@pytest.mark.parametrize("frames", [1, 3])
def test_many_chunks_of_which_few_are_alive(frames, room, device):
    """More of them than a GPU looks at in one go, before and behind those that are; lists that lack room skip them."""
    scene = wide_scene(smallest=1.0, frames=frames)
    volume, others = packed(scene), torch.zeros(4500 * 256, 8, dtype=torch.int32)
    dead = torch.tensor([[torch.inf, -torch.inf, 0, 0]]).repeat(4500, 1)
    records, chunks = torch.cat([others, volume.records, others]), torch.cat([dead, volume.chunks, dead])
    among_others = replace(volume, records=records, chunks=chunks).to(device)
    image, missing = render(among_others, scene.times.to(device), (0, 0, 96, 64), room=room)
    assert (missing > 0) == (room < ENOUGH and device.type == "cuda")
    assert (image - render_whole(scene, device)).abs().max() <= REORDERED[device.type] * contributions(scene).max()


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("smallest", [0.3, 5.0])
def test_too_little_room_changes_nothing(smallest, frames, device):
    """The entries that a list has no room for are found again; lists on the CPU always have room."""
    scene = wide_scene(smallest=smallest, frames=frames)
    volume, times, window = packed(scene, 0.07).to(device), scene.times.to(device), (3, 0, 90, 64)
    whole, none_missing = render(volume, times, window)
    assert none_missing == 0
    nothing, longest = render(volume, times, window, room=0)
    assert not nothing.any() and nothing.shape == whole.shape
    assert 20 < longest <= 200 if device.type == "cuda" else longest == 0
    slack = REORDERED[device.type] * float(contributions(scene).max())
    for room in (1, 7, max(1, longest - 1), max(1, longest)):
        image, missing = render(volume, times, window, room=room)
        assert missing == (longest if room < longest else 0)
        torch.testing.assert_close(image, whole, rtol=0, atol=slack)
