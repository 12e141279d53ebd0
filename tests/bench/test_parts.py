"""What `garv bench` is made of: scenes, reference, counts, cases and times are right."""

from __future__ import annotations

import math

import pytest
import torch

from garv_gsplat.bench import cases, checking, counting, reference, targets, timing
from garv_gsplat.ops import _reference, _reference_draw, slice_gaussians
from tests.ops.scenes import INFINITE, draw, gradients, lists, random_scene
from tests.ops.test_oracle import dense

# mean, Cholesky factor and colour of the last Gaussian of scene B
LAST = "925.3284 622.5669 476.8094 8 0.9588339 -0.12954 8.618443 0.4323196 6.099753 0.2806095 0.2128382 0.09353874"
SCENE_B = [float(number) for number in LAST.split()]
EXACT = 1e-9  # sums of float64, with terms below 1e-18 left out


@pytest.fixture
def tiny() -> targets.Target:
    return targets.make_scene("A", scale=0.03, frames=40, num_gaussians=80)


def settings(device: torch.device | str = "cpu") -> cases.Settings:
    return cases.Settings(torch.device(device), (1, 2), tau=0.03, fit_tau=1 / 255, crop=None)


def as_view(scene, cutoffs: float):
    """A scene of the operators' tests as the float64 view that the reference takes."""
    scene = scene.to(torch.float64)
    size = (scene.width, scene.height, 6)
    return reference.VolumeView(
        scene.means, scene.cholesky, scene.colors, torch.full_like(scene.cutoffs, cutoffs), *size
    )


def assemble(tiles: list[reference.SampledTile], images: list[torch.Tensor], like: torch.Tensor) -> torch.Tensor:
    whole = torch.full_like(like, math.nan)
    for tile, image in zip(tiles, images):
        whole[tile.frame, tile.ys, tile.xs] = image
    return whole


def test_scenes_have_everybodys_numbers():
    gaussians = targets.make_scene("B").gaussians
    assert (gaussians.info.width, gaussians.info.height, gaussians.info.frames) == (1920, 1080, 600)
    means, cholesky = gaussians.in_pixels()
    assert len(means) == 300_000
    expected = torch.tensor(SCENE_B)
    values = torch.cat([means[-1], cholesky[-1], gaussians.colors[-1]])
    torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-5)


def test_reference_is_the_definition():
    scene = random_scene(40, 25, n=60, cutoff=INFINITE, smallest=0.8).to(torch.float64)
    tiles = reference.sample_tiles(3, 40, 25, 10**9)
    assert len(tiles) == 3 * 3 * 2
    found = reference.evaluate(as_view(scene, 11.0), scene.times, tiles)
    expected = dense(scene)
    torch.testing.assert_close(assemble(tiles, found.images, expected), expected, rtol=0, atol=EXACT)


def test_reference_with_the_same_cull_is_the_operator():
    scene = random_scene(40, 25, n=60, cutoff=5.0).to(torch.float64)
    tiles = reference.sample_tiles(3, 40, 25, 10**9)
    v_image = torch.randn(3, 25, 40, 3, dtype=torch.float64)
    v_tiles = [v_image[t.frame, t.ys, t.xs] for t in tiles]
    found = reference.evaluate(as_view(scene, 5.0), scene.times, tiles, culled=True, v_tiles=v_tiles)
    image = draw(scene, lists(scene))
    torch.testing.assert_close(assemble(tiles, found.images, image), image, rtol=0, atol=EXACT)
    for value, expected in zip(found.gradients, gradients(scene, v_image)):
        torch.testing.assert_close(value, expected, rtol=1e-7, atol=EXACT)


def test_sampled_tiles_are_distinct_and_in_order():
    tiles = reference.sample_tiles(4, 100, 50, 20)
    assert len({(t.frame, t.row, t.column) for t in tiles}) == 20
    assert [t.frame for t in tiles] == sorted(t.frame for t in tiles)
    assert all(t.xs.stop <= 100 and t.ys.stop <= 50 for t in tiles)


@pytest.mark.parametrize("kind", ["forward", "forward+backward"])
def test_counts_equal_brute_force(tiny, device, kind):
    here, frames = settings(device), [3, 17]
    case = cases.Case(kind, "throughput", 2)
    expected = checking.expect(tiny, case, here, frames, tiles=10**9)
    counts = expected.counts
    view = cases.exact_view(tiny, case, settings())
    active = tiles = pixels = 0
    rows, columns = (torch.arange(n, dtype=torch.float64) + 0.5 for n in (view.height, view.width))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    for frame in frames:
        for (mx, my, mt), (tt, xt, yt, xx, yx, yy), q in zip(view.means, view.cholesky, view.cutoffs):
            u = (frame + 0.5 - mt) / tt
            active += int(u**2 <= q)
            z = (x - mx - u * xt) / xx
            distances = u**2 + z**2 + ((y - my - u * yt - yx * z) / yy) ** 2
            pixels += int((distances <= q).sum())
        times, still = torch.tensor([frame + 0.5]).double(), torch.zeros(0, 6).double()
        geometry = (view.means, view.cholesky, view.cutoffs, times, still, view.width, view.height)
        found = _reference.bin_gaussians(*geometry, 0)
        tiles += int(found[0][-1])
    assert counts.active_gaussians == active / 2
    if kind == "forward":
        assert counts.tile_pairs == expected.work.tile_pairs, "of the levels; see below"
    else:
        assert counts.tile_pairs == pytest.approx(tiles / 2, abs=1), "one at the border by float32"
    assert counts.pixel_pairs == pytest.approx(pixels / 2)
    assert counts.pixel_pairs_per_pixel == pytest.approx(pixels / 2 / (view.width * view.height))


def test_draw_work_equals_brute_force(tiny, device):
    window, positions = (11, -3, 70, 35), torch.tensor([3.5, 17.5])
    work = counting.draw_work(cases.pack_target(tiny, settings(device)), positions.to(device), window)
    (volume,) = cases.pack_target(tiny, settings())
    tiles, squares, samples, lists_ = [], set(), 0, 0
    for level in range(volume.levels):
        apron = 6 if level > 0 else 0
        left, top = (corner / 2**level - apron for corner in (8, -8))  # at multiples of the coarsest grid's samples
        columns, rows = (math.ceil(pixels / 2**level) + 2 * apron for pixels in (11 + 70 - 8, -3 + 35 + 8))
        samples += columns * rows if level > 0 else 0
        lists_ += math.ceil(columns / 32) * math.ceil(rows / 32)
        y, x = torch.meshgrid(torch.arange(math.ceil(rows / 16)), torch.arange(math.ceil(columns / 16)), indexing="ij")
        grid = torch.stack([x, y], -1).reshape(-1, 2)
        for frame, time in enumerate(positions):
            here = _reference_draw.level_gaussians(volume, level, time[None], (0, 0, columns, rows), None)
            means, cholesky, _, cutoffs = here
            means2d, peak, factor = slice_gaussians(means.double(), cholesky.double(), time[None].double())
            distances = _reference._tile_distance(means2d[0] - torch.tensor([left, top]), factor, grid.double())
            for tile, gaussian in (distances - 2 * peak[0].log() <= cutoffs).nonzero().tolist():
                tiles.append(tile)
                squares.add((level, frame, *(grid[tile] // 2).tolist(), gaussian))
    assert volume.levels == 3
    assert (work.lists, work.coarse_samples) == (lists_, samples)
    assert work.tile_pairs == pytest.approx(len(tiles) / 2, abs=1), "one at the border by float32"
    assert work.list_entries == pytest.approx(len(squares) / 2, abs=1)
    assert work.living.shape == (2, len(volume.chunks))


def test_bytes_of_decoding():
    living = torch.tensor([[True, False, False], [True, True, False], [False, True, True]])
    work = counting.DrawWork(living, tile_pairs=0, list_entries=100, lists=8, coarse_samples=500)
    rest = 2 * 4 * (100 + 8) + 2 * 8 * 500 + 58 * 32 * 3
    for batch, chunks, launches in ((1, 5, 3), (2, 4, 2), (3, 3, 1)):
        read = chunks * 256 * 32 + launches * 3 * 16
        assert counting.drawn_bytes_per_frame(work, (58, 32), 3, batch) == pytest.approx(read / 3 + rest)


def test_bytes_of_fitting(tiny):
    counts = counting.Counts(0, 100, 0, 0)
    gaussians, image, lists_ = 80 * 13 * 4, 2 * 58 * 32 * 3, 2 * (100 * 4 + 8 * 8)
    launch = 2 * gaussians + 3 * lists_ + 8 * image + 80 * 12 * 4
    assert counting.fitted_bytes_per_frame(tiny.gaussians, (58, 32), counts, 2) == launch / 2


def test_every_case_renders_the_same_frames(tiny):
    assert cases.chosen_frames(600, (1, 4, 16))[:3] == [18, 56, 93]
    assert cases.chosen_frames(2, (8,)) == [0, 0, 0, 0, 1, 1, 1, 1]
    for case in cases.cases(("forward", "decode", "forward+backward"), (1, 4)):
        launches = cases.Launches(tiny, case, settings(), [1, 2, 3, 4])
        assert sum(launches.sets, []) == [1, 2, 3, 4]
        assert launches.images(0).shape[0] == case.batch


def test_timing():
    found = timing.Timing.of([4.0, 1.0, 2.0, 3.0, 10.0], runs_per_sample=2)
    assert (found.fastest, found.lower_quartile, found.median) == (0.5, 1.0, 1.5)
    assert (found.upper_quartile, found.slowest, found.samples) == (2.0, 5.0, 5)
    assert found.per(3).median == 0.5
    runs = []
    patience = timing.Patience(seconds=0.01, repeats=4)
    measured = timing.measure_throughput(lambda: runs.append(sum(range(1000))), torch.device("cpu"), patience)
    assert 3 <= measured.samples <= 4
    assert len(runs) >= measured.samples * measured.runs_per_sample + 2, "not warmed up"
