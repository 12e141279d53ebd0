"""Drawing packed Gaussians: against the definition, and what must not change the image."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from garv_gsplat import ops
from garv_gsplat.packing import PackedVolume, pack
from tests.ops.scenes import HALF, Scene, random_scene
from tests.ops.test_oracle import dense

# Errors are relative to the sum of all contributions without their signs, at most at its largest pixel and on average.
# A record's numbers are wrong by up to HALF each, which a weight magnifies by what its Gaussian moves and is slanted; a
# coarse level's interpolation adds 4e-4 of a Gaussian's peak, up to 5e-3 for the few that are narrowest there.
RECORDS = (4 * HALF, HALF)
# CUDA rounds every weight as well, and each coarse level's sum up to three times.
ON_CUDA = (8 * HALF, 2 * HALF)
# What is added in another order: float32 on the CPU; on CUDA weights may end on the other side of their
# roundings, of which a steep one beside others has fewer or more.
REORDERED = {"cpu": 1e-5, "cuda": 2 * HALF}

# Grey levels for each of tau: what is left out at a pixel is below tau each time and of both signs. No larger than 1.6.
LOST = 3
ENOUGH = 4096  # entries, more than any list here has


def packed(scene: Scene, tau: float = 0.0) -> PackedVolume:
    return pack(scene.means, scene.cholesky, scene.colors, tau)


def render(
    volume: PackedVolume,
    times: Tensor,
    window: tuple[int, int, int, int],
    *,
    room: int = ENOUGH,
    dtype: torch.dtype = torch.float32,
    motion: Tensor | None = None,
) -> tuple[Tensor, int]:
    """Images on the CPU, and the longest list that had no room."""
    arguments = (volume.records, volume.chunks, volume.levels, volume.channels, volume.tau, times)
    missing = torch.zeros(1, dtype=torch.int64, pin_memory=times.is_cuda)
    image = ops.draw(*arguments, *window, room, missing, dtype, motion).cpu()  # which waits for both
    return image, int(missing)


def render_whole(scene: Scene, device: torch.device, *, tau: float = 0.0, **options) -> Tensor:
    volume = packed(scene, tau).to(device)
    return render(volume, scene.times.to(device), (0, 0, scene.width, scene.height), **options)[0]


def wide_scene(factor: float = 1.0, **options) -> Scene:
    """Standard deviations up to `factor` times 10 pixels."""
    scene = random_scene(96, 64, n=200, **options)
    scene.cholesky[:, 3:] *= factor
    return scene


def through(scene: Scene, window: tuple[int, int, int, int]) -> Scene:
    """The same from the window's corner on."""
    left, top, width, height = window
    return replace(scene, means=scene.means - torch.tensor([left, top, 0.0]), width=width, height=height)


def contributions(scene: Scene) -> Tensor:
    return dense(replace(scene, colors=scene.colors.abs()))


def assert_is(image: Tensor, scene: Scene, device: torch.device) -> None:
    """Equation 2 summed densely in float64, with nothing culled, up to the roundings above."""
    error, scale = (image.double() - dense(scene)).abs(), contributions(scene)
    largest, mean = RECORDS if device.type == "cpu" else ON_CUDA
    assert error.max() <= largest * scale.max()
    assert error.mean() <= mean * scale.mean()


@pytest.mark.parametrize(
    ("smallest", "factor", "levels"), [(0.3, 1, [0, 1]), (2.0, 1, [0, 1, 2]), (0.3, 3, [0, 1, 2, 3]), (5.0, 3, [2, 3])]
)
def test_equals_the_definition(smallest, factor, levels, device):
    scene = wide_scene(factor, smallest=smallest)
    assert packed(scene).chunks[:, 2].unique().tolist() == levels
    assert_is(render_whole(scene, device), scene, device)


@pytest.mark.parametrize("level", [0, 1, 2, 3])
@pytest.mark.parametrize("sigma", [1.21, 1.4, 1.7, 2.39])
def test_one_gaussian_on_each_level(level, sigma, device):
    """Interpolation alone: a Gaussian of `sigma` samples of its level that moves by fractions of them."""
    sigma *= 2**level
    scene = random_scene(150, 150, n=1, frames=0, channels=1)
    scene.means, scene.times = torch.tensor([[71.3, 78.9, 3.0]]), torch.arange(2.5, 3.5, 0.125)
    scene.cholesky = torch.tensor([[64.0, 64 * 3.3, 64 * 5.7, sigma, 0.0, sigma]])
    scene.colors = torch.ones(1, 1)
    error = (render_whole(scene, device).double() - dense(scene)).abs().max()
    narrowest = sigma < 1.4 * 2**level
    interpolation = (0, *((2e-3, 4e-3, 6e-3) if narrowest else (4e-4, 4e-4, 4e-4)))[level]
    rounding = 3 * HALF if device.type == "cpu" else 7 * HALF  # records; weights and levels besides
    assert error <= interpolation + rounding


def test_culling_loses_no_more_than_tau(device):
    scene, tau = wide_scene(smallest=1.0), 0.5
    lost = (render_whole(scene, device, tau=tau) - render_whole(scene, device)).abs()
    slack = REORDERED[device.type] * contributions(scene)
    assert 0 < (lost - slack).max() <= LOST * tau / 255
    assert (lost - slack).mean() <= 0.1 * LOST * tau / 255


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_number_of_channels(channels, device):
    scene = wide_scene(channels=channels, frames=2)
    image = render_whole(scene, device)
    assert image.shape == (2, 64, 96, channels)
    assert_is(image, scene, device)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("window", [(0, 0, 96, 64), (0, 0, 92, 64), (1, 0, 93, 64), (-5, 3, 50, 41)])
def test_bytes_are_the_rounded_floats(channels, window, device):
    """16 bytes, four and single ones are written differently."""
    scene = wide_scene(channels=channels)
    scene.colors *= 0.8
    volume, times = packed(scene).to(device), scene.times.to(device)
    image, (rounded, _) = render(volume, times, window)[0], render(volume, times, window, dtype=torch.uint8)
    assert rounded.dtype == torch.uint8
    wanted = (255 * image).clamp(0, 255)
    assert wanted.min() == 0 and wanted.max() == 255
    if device.type == "cpu":
        assert torch.equal(rounded, wanted.round().byte())
    # Two launches add in two orders.
    slack = 255 * REORDERED[device.type] * float(contributions(through(scene, window)).max())
    assert (rounded - wanted).abs().max() <= 0.5 + slack


@pytest.mark.parametrize(
    "window", [(0, 0, 96, 64), (16, 32, 48, 16), (7, 5, 33, 21), (40, 9, 1, 1), (88, 61, 8, 3), (3, 0, 93, 64)]
)
def test_a_window_equals_that_part_of_the_whole(window, device):
    """Without culling; with it up to what it leaves out, since a window's tiles start elsewhere."""
    scene, (left, top, width, height) = wide_scene(smallest=1.0), window
    for tau in (0.0, 0.07):
        whole = render_whole(scene, device, tau=tau)
        image, _ = render(packed(scene, tau).to(device), scene.times.to(device), window)
        slack = REORDERED[device.type] * float(contributions(scene).max())
        expected = whole[:, top : top + height, left : left + width]
        torch.testing.assert_close(image, expected, rtol=0, atol=slack + LOST * tau / 255)


@pytest.mark.parametrize("window", [(-37, -21, 96, 64), (-1, -1, 3, 3), (70, 50, 90, 61), (-200, 10, 500, 20)])
def test_windows_past_the_border(window, device):
    scene = wide_scene()
    image, _ = render(packed(scene).to(device), scene.times.to(device), window)
    assert_is(image, through(scene, window), device)


def test_gaussians_that_reach_many_blocks(device):
    """Of 5x7 blocks of 32x32 pixels; without culling each reaches all, with it most a few."""
    scene = random_scene(200, 150, n=400, smallest=1.0)
    whole = render_whole(scene, device)
    assert_is(whole, scene, device)
    slack = REORDERED[device.type] * float(contributions(scene).max())
    torch.testing.assert_close(render_whole(scene, device, tau=0.07), whole, rtol=0, atol=slack + LOST * 0.07 / 255)


@pytest.mark.parametrize("tau", [0.0, 0.07])
def test_a_batch_equals_a_loop(tau, device):
    """In several visits of the chunks on CUDA, whose coarse tiles are so many that a warp has each for itself."""
    scene = wide_scene(smallest=1.0)
    volume, window = packed(scene, tau).to(device), (0, 0, 96, 64)
    times = torch.linspace(-3, 9, 90, device=device)
    batch, _ = render(volume, times, window)
    loop = torch.cat([render(volume, time, window)[0] for time in times.split(1)])
    torch.testing.assert_close(batch, loop, rtol=0, atol=REORDERED[device.type] * float(contributions(scene).max()))


def test_order_of_the_gaussians_does_not_matter(device):
    scene = wide_scene(smallest=1.0)
    volume = packed(scene)
    whole, slack = render_whole(scene, device), REORDERED[device.type] * float(contributions(scene).max())
    random = torch.Generator().manual_seed(2)
    shuffled = scene.pick(torch.randperm(200, generator=random))
    torch.testing.assert_close(render_whole(shuffled, device), whole, rtol=0, atol=slack)
    order = torch.cat([256 * k + torch.randperm(256, generator=random) for k in range(len(volume.chunks))])
    mixed = replace(volume, records=volume.records[order])
    image, _ = render(mixed.to(device), scene.times.to(device), (0, 0, 96, 64))
    torch.testing.assert_close(image, whole, rtol=0, atol=slack)


def test_no_gaussians(device):
    image = render_whole(random_scene(n=0), device)
    assert image.shape == (3, 48, 64, 3) and not image.any()


def test_no_frames(device):
    image = render_whole(random_scene(frames=0), device, dtype=torch.uint8)
    assert image.shape == (0, 48, 64, 3)


def test_nobody_is_alive(device):
    scene = random_scene()
    scene.times += 1000
    assert not render_whole(scene, device, tau=0.07).any()


def test_gaussians_that_are_not_numbers_draw_nothing(device):
    """Neither when they are packed nor when they stand in the records, of every level."""
    scene, tau = wide_scene(smallest=1.0), 0.07
    rest = render_whole(scene.pick(torch.arange(12, 200)), device, tau=tau)
    slack = REORDERED[device.type] * float(contributions(scene).max())
    broken = replace(scene, **{name: getattr(scene, name).clone() for name in ("means", "cholesky", "colors")})
    together = torch.cat([broken.means, broken.cholesky, broken.colors], 1)
    together[range(12), range(12)] = float("nan")
    broken.means, broken.cholesky, broken.colors = together.split([3, 6, 3], 1)
    torch.testing.assert_close(render_whole(broken, device, tau=tau), rest, rtol=0, atol=slack)

    volume, times = packed(scene, tau), scene.times.to(device)
    numbers = volume.records[:, :3].view(torch.float32), volume.records[:, 3:].view(torch.float16)
    for kind, columns in ((0, range(3)), (1, range(6))):
        for column in columns:
            before = numbers[kind][:, column].clone()
            numbers[kind][:, column] = float("nan")
            assert not render(volume.to(device), times, (0, 0, 96, 64))[0].any()
            numbers[kind][:, column] = before


@pytest.mark.parametrize("as_float", [False, True])
def test_opcheck(as_float, device):
    scene = random_scene(20, 18, n=8, frames=2).to(device)
    volume = packed(scene)
    arguments = (volume.records, volume.chunks, volume.levels, 3, 0.07, scene.times)
    arguments = (*arguments, torch.zeros(0, 6, device=device), 1, -2, 20, 18, 32, as_float)
    arguments = (*arguments, torch.zeros(1, device=device).long())  # copies of what is pinned would not be
    torch.library.opcheck(torch.ops.garv.draw.default, arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": torch.float16}, "dtype must be torch.uint8 or torch.float32, got torch.float16"),
        ({"records": torch.zeros(256, 7).int()}, r"\[256 \* M, 8\] and chunks \[M, 4\], got \[256, 7\] and \[1, 4\]"),
        ({"records": torch.zeros(2048).int()}, r"got \[2048\] and \[1, 4\]"),
        ({"chunks": torch.zeros(2, 4)}, r"got \[256, 8\] and \[2, 4\]"),
        ({"chunks": torch.zeros(1, 3)}, r"got \[256, 8\] and \[1, 3\]"),
        ({"times": torch.zeros(1, 1)}, r"times must be \[B\] and the window at least 1x1, got \[1, 1\] and 5x4"),
        ({"width": 0}, "at least 1x1, got .* and 0x4"),
        ({"height": -1}, "at least 1x1, got .* and 5x-1"),
    ],
)
def test_draw_tells_what_is_wrong(change, message):
    arguments = {"records": torch.zeros(256, 8).int(), "chunks": torch.zeros(1, 4), "levels": 1, "channels": 3}
    arguments |= {"tau": 0.07, "times": torch.zeros(1), "left": 0, "top": 0, "width": 5, "height": 4, "room": 1}
    arguments["missing"] = torch.zeros(1).long()
    with pytest.raises(ValueError, match=message):
        ops.draw(**{**arguments, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: torch.zeros(256, 8)}, "records must be int32"),
        ({1: torch.zeros(1, 4).double()}, "chunks must be float32"),
        ({2: 0}, "levels must be 1 to 4, got 0"),
        ({2: 5}, "levels must be 1 to 4, got 5"),
        ({3: 5}, "channels must be 1 to 4, got 5"),
        ({5: torch.zeros(1).double()}, "times must be float32"),
        ({6: torch.zeros(1, 6).double()}, "motion must be float32"),
        ({9: 1 << 25}, "cannot draw 33554432x4 pixels"),
        ({11: -1}, "room must be 0 to"),
    ],
)
def test_the_kernel_checks_what_reaches_it_directly(change, message, device):
    arguments = [torch.zeros(256, 8).int(), torch.zeros(1, 4), 1, 3, 0.07, torch.zeros(1)]
    arguments += [torch.zeros(0, 6), 0, 0, 5, 4, 1, False, torch.zeros(1).long()]
    for place, value in change.items():
        arguments[place] = value
    ops.serving()
    with pytest.raises(RuntimeError, match=message):
        torch.ops.garv.draw(*(a.to(device) if isinstance(a, Tensor) else a for a in arguments))
