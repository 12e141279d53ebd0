"""Packed Gaussians: the level each is drawn on, when its chunk is alive, what a record holds, and the room of lists."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from garv_gsplat.ops import CHUNK_SIZE, MIN_SIGMA, UPSAMPLING_VARIANCE, ListBudget
from garv_gsplat.packing import COARSE_SIGMA, PackedVolume, draw_channels, pack, pack_channels
from tests.ops.scenes import Scene, random_scene

HALF = 2**-11  # largest relative error of a number in half precision
TAU = 0.07


def some_scene(n: int = 2000, **options) -> Scene:
    scene = random_scene(320, 240, n=n, **options)
    scene.cholesky[:, 3:] *= 3  # so that there is every level
    return scene


def packed(scene: Scene, tau: float = TAU) -> PackedVolume:
    return pack(scene.means, scene.cholesky, scene.colors, tau)


def records(volume: PackedVolume) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Means [N, 3], Cholesky factors [N, 6], colours [N, 4] and chunks [N] of the records that are no padding."""
    means = volume.records[:, :3].contiguous().view(torch.float32)
    halves = volume.records[:, 3:].contiguous().view(torch.float16).float()
    kept = volume.records.any(1).nonzero()[:, 0]
    return means[kept], halves[kept, :6], halves[kept, 6:], kept // CHUNK_SIZE


def at_one_place(*sigmas: float, slant: float = 0.0, color: float = 1.0) -> Scene:
    """Gaussians in one place, each of a standard deviation."""
    scene, sigma = random_scene(n=len(sigmas)), torch.tensor(sigmas)
    scene.means[:] = torch.tensor([30.0, 20.0, 3.0])
    scene.cholesky = torch.stack([torch.full_like(sigma, 2.0), 0 * sigma, 0 * sigma, sigma, slant * sigma, sigma], 1)
    scene.colors = torch.full((len(sigma), 3), color)
    return scene


def levels(scene: Scene) -> list[int]:
    """The levels of the scene's Gaussians, coarsest last."""
    volume = packed(scene)
    return volume.chunks[records(volume)[3], 2].int().tolist()


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_a_level_takes_what_is_wide_enough_for_its_samples(level):
    narrowest = COARSE_SIGMA * 2**level
    assert levels(at_one_place(1.001 * narrowest)) == [level]
    assert levels(at_one_place(0.999 * narrowest)) == [max(0, level - 1)]
    assert levels(at_one_place(1000.0)) == [3]
    assert levels(at_one_place(1e-4)) == [0]


def test_the_narrower_axis_decides():
    thin = at_one_place(20.0)
    thin.cholesky[:, 3] = 3.0
    assert levels(thin) == [1]
    slanted = at_one_place(20.0)  # along the diagonal; across it about 20 / 10
    slanted.cholesky[:, 4] = 10 * slanted.cholesky[:, 3]
    assert levels(slanted) == [0]


def test_a_level_of_few_is_not_worth_its_while():
    many = [1.0] * 96
    assert levels(at_one_place(*many, 5.0, 5.0, 5.0)) == [0] * 99
    assert levels(at_one_place(*many, 5.0, 5.0, 5.0, 5.0)) == [0] * 96 + [2] * 4
    assert levels(at_one_place(*many, 5.0, 5.0, 5.0, 20.0)) == [0] * 96 + [2] * 4
    assert packed(at_one_place(1.0)).levels == 1


def test_the_sum_of_the_pixels_stays():
    scene = at_one_place(3.3, 4.5, 6.6, 10.0, 13.0, 20.0, slant=0.6)
    volume = packed(scene)
    _, cholesky, colors, chunks = records(volume)
    level = volume.chunks[chunks, 2]
    assert level.tolist() == [1, 1, 2, 2, 3, 3]
    # integral of a Gaussian over the plane: 2 pi sqrt(det) of its covariance; a sample stands for 4^level pixels
    stored = colors[:, 0] * cholesky[:, 3] * cholesky[:, 5] * 4**level
    wanted = scene.colors[:, 0] * scene.cholesky[:, 3] * scene.cholesky[:, 5]
    torch.testing.assert_close(stored.sort().values, wanted.sort().values, rtol=3 * HALF, atol=0)


def test_interpolation_widens_a_record_to_its_gaussian():
    scene = at_one_place(3.3, 4.5, 6.6, 10.0, 13.0, 20.0, slant=0.6)
    volume = packed(scene)
    means, cholesky, _, chunks = records(volume)
    level = volume.chunks[chunks, 2]
    a, b, c = (cholesky[:, 3:] * 2 ** level[:, None]).double().unbind(1)
    # a level interpolated to the next finer one becomes wider by this variance in squared samples
    wider = sum((UPSAMPLING_VARIANCE * 4.0 ** (level - k) * (level > k) for k in range(3)), torch.zeros(6))
    a0, b0, c0 = scene.cholesky[:, 3:].double().unbind(1)
    for stored, wanted in ((a * a + wider, a0 * a0), (a * b, a0 * b0), (b * b + c * c + wider, b0 * b0 + c0 * c0)):
        torch.testing.assert_close(stored.sort().values, wanted.sort().values, rtol=4 * HALF, atol=0)
    torch.testing.assert_close(means[:, :2] * 2 ** level[:, None], scene.means[:, :2])


def test_records_of_the_finest_level_are_the_rounded_gaussians():
    scene = random_scene(n=500)
    scene.cholesky[:, 3] = scene.cholesky[:, 3].clamp(max=1.0)
    volume = packed(scene, 0.0)
    means, cholesky, colors, _ = records(volume)
    assert volume.levels == 1 and len(means) == 500 and volume.channels == 3
    order, found = scene.means[:, 0].argsort(), means[:, 0].argsort()
    assert torch.equal(means[found], scene.means[order])
    torch.testing.assert_close(cholesky[found], scene.cholesky[order], rtol=HALF, atol=1e-7)
    torch.testing.assert_close(colors[found, :3], scene.colors[order], rtol=HALF, atol=1e-7)
    assert not colors[:, 3].any()


def test_a_gaussian_takes_32_bytes():
    volume = packed(some_scene(n=10_000), 0.0)
    assert volume.records[0].nbytes == 32
    assert 32 * 10_000 <= volume.records.nbytes <= 32 * (10_000 + volume.levels * CHUNK_SIZE)
    assert volume.chunks.nbytes == 16 * len(volume.records) / CHUNK_SIZE


def test_levels_lie_one_after_the_other():
    volume = packed(some_scene())
    level = volume.chunks[:, 2]
    assert level.unique().tolist() == list(range(volume.levels)) == [0, 1, 2, 3]
    assert torch.equal(level, level.sort().values)
    assert not volume.chunks[:, 3].any()


def test_bounds_contain_every_living_time():
    scene = some_scene()
    scene.cholesky[:40, 0] = torch.tensor([0.0, -1.0, MIN_SIGMA / 2, 300.0]).repeat(10)
    volume = packed(scene)
    means, cholesky, colors, chunks = records(volume)
    cutoffs = 2 * (colors.abs().amax(1) * (255 / TAU)).log()
    # half precision makes a lifetime longer by up to HALF of itself; less than that is shown outside
    reach = cholesky[:, 0].clamp(min=MIN_SIGMA) * cutoffs.sqrt() * (1 - 2 * HALF)
    assert len(means) > 1900 and (reach > 0).all()
    assert (volume.chunks[chunks, 0] <= means[:, 2] - reach).all()
    assert (volume.chunks[chunks, 1] >= means[:, 2] + reach).all()


def test_chunks_are_short():
    """A chunk's Gaussians live at about the same time: what is visited is little more than what is alive."""
    scene = random_scene(n=20_000)
    scene.means[:, 2] *= 100
    scene.cholesky[:, 0], scene.cholesky[:, 3], scene.colors[:] = 2.0, 1.0, 1.0
    volume = packed(scene)
    lifetime = 2 * 2.0 * math.sqrt(2 * math.log(255 / TAU))
    durations = volume.chunks[:, 1] - volume.chunks[:, 0]
    assert len(durations) == 79 and lifetime < durations.mean() < 2 * lifetime


def test_padding_is_dead():
    scene = some_scene(n=300)
    volume = packed(scene)
    missing = len(volume.records) - len(records(volume)[0])
    assert missing > 0
    # black, so nothing is above any threshold, and bounds do not know of it
    padding = volume.records[~volume.records.any(1)]
    assert len(padding) == missing and not padding.any()
    reach = 2.0 * (2 * math.log(255 / TAU)) ** 0.5
    for time in (-1000, 3, 1000):
        alone = at_one_place(1.0)
        alone.means[:, 2] = time
        assert packed(alone).chunks[0].tolist() == pytest.approx([time - reach, time + reach, 0, 0])


def test_what_stays_black_is_dropped():
    scene = some_scene()
    scene.colors[:300] = 0
    scene.colors[300:500] = 0.9 * TAU / 255  # also when they are stored brighter
    scene.cholesky[300:500, 3:] = torch.tensor([1.0, 0.0, 1.0])
    assert len(records(packed(scene))[0]) == 1500
    assert len(packed(some_scene(n=0)).chunks) == 0
    scene.colors[:] = 0
    assert len(packed(scene).records) == 0


def test_a_threshold_of_0_keeps_all_at_all_times():
    scene = some_scene()
    scene.colors[:300] = 0
    scene.cholesky[300:310, 0] = 0
    volume = packed(scene, 0.0)
    assert len(records(volume)[0]) == 2000
    assert (volume.chunks[:, 0] == -math.inf).all() and (volume.chunks[:, 1] == math.inf).all()


def test_what_is_not_a_number_is_dropped_alone():
    scene = some_scene()
    for column in range(3):
        scene.means[column, column] = math.nan
    for column in range(6):
        scene.cholesky[3 + column, column] = math.nan
    scene.colors[9, 1] = math.nan
    scene.means[10, 2] = math.inf
    volume = packed(scene)
    rest = packed(scene.pick(torch.arange(11, 2000)))
    assert torch.equal(volume.chunks, rest.chunks) and torch.equal(volume.records, rest.records)


def test_what_passes_half_precision_stays_finite():
    scene = at_one_place(1.0, 1.0, color=1e6)
    scene.cholesky[0, :3] = torch.tensor([1e6, -1e6, 1e6])
    _, cholesky, colors, _ = records(packed(scene))
    assert colors.max() == cholesky.max() == -cholesky.min() == 65504


@pytest.mark.parametrize("channels", range(1, 9))
def test_a_volume_holds_four_channels(channels, device):
    scene = random_scene(n=100, channels=channels)
    volumes = [volume.to(device) for volume in pack_channels(scene.means, scene.cholesky, scene.colors, 0.0)]
    assert [volume.channels for volume in volumes] == [[channels], [4, channels - 4]][channels > 4]
    times, window = scene.times.to(device), (0, 0, 64, 48)
    image = draw_channels(volumes, times, window, [ListBudget(device) for _ in volumes], dtype=torch.float32)
    parts = [volume.draw(times, window, ListBudget(device), dtype=torch.float32) for volume in volumes]
    assert image.shape == (3, 48, 64, channels) and image.device.type == device.type
    # CUDA adds in another order each time, which may turn a weight's rounding
    slack = 0 if device.type == "cpu" else HALF * float(scene.colors.abs().sum())
    torch.testing.assert_close(image, torch.cat(parts, -1), rtol=0, atol=slack)
    assert torch.equal(
        draw_channels(volumes, times[:0], window, [ListBudget(device) for _ in volumes]).cpu(),
        torch.zeros(0, 48, 64, channels).byte(),
    )


class Launches:
    """A series of launches whose longest list has `needed` entries."""

    def __init__(self) -> None:
        self.rooms: list[int] = []
        self.needed = 0

    def __call__(self, room: int, missing: Tensor) -> Tensor:
        self.rooms.append(room)
        if self.needed > room:
            missing.fill_(self.needed)
        return torch.tensor([room])

    def run(self, budget: ListBudget, needed: int) -> int:
        """The room that the image was drawn with."""
        self.needed = needed
        return int(budget.run(self))


def test_the_room_of_lists_is_learned(device):
    budget, launches = ListBudget(device), Launches()
    enough = launches.run(budget, 1000)
    assert launches.rooms == [0, enough] and 1000 < enough < 1500, "measured, then drawn with some room to spare"
    assert launches.run(budget, 10) == enough, "kept"
    assert launches.run(budget, 4000) == enough, "too little, which makes it slower"
    assert 4000 < launches.run(budget, 4000) == budget.room < 6000, "learned"
    assert len(launches.rooms) == 5, "measured only once"


def test_a_budget_knows_nothing_of_those_before_it(device):
    Launches().run(ListBudget(device), 4000)
    launches = Launches()
    launches.run(ListBudget(device), 10)
    assert launches.rooms == [0, ListBudget(device).room + 12], "10 and a quarter"


@pytest.mark.cuda
def test_the_room_of_lists_is_not_waited_for():
    scene = random_scene(n=3000)
    volume, budget, times = packed(scene).to("cuda"), ListBudget(torch.device("cuda")), scene.times.cuda()
    volume.draw(times, (0, 0, 64, 48), budget)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            volume.draw(times, (0, 0, 64, 48), budget)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert 0 < budget.longest <= 3000
