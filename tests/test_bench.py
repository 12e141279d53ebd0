"""`garv bench`: counts, reference and refusals are right; what is printed is what was measured."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from garv_gsplat import VideoGaussians, VideoInfo, save
from garv_gsplat.bench import cases, checking, counting, reference, suite, targets, timing
from garv_gsplat.bench.ceilings import Ceilings
from garv_gsplat.cli import bench_tables, main
from garv_gsplat.fitting import field
from garv_gsplat.ops import _reference
from tests.ops.scenes import INFINITE, draw, gradients, lists, random_scene
from tests.ops.test_oracle import dense

# few enough Gaussians that pixels stay below white
TINY = ("--scale", "0.03", "--frames", "40", "--num-gaussians", "80", "--seconds", "0.01", "--repeats", "3")
SCENE_B = [
    *(
        925.3284,
        622.5669,
        476.8094,
        8.0,
        0.9588339,
        -0.12954,
        8.618443,
        0.4323196,
        6.099753,
        0.2806095,
        0.2128382,
        0.09353874,
    ),
    *(),
    *(),
]
"""last Gaussian of scene B: mean, Cholesky factor, colour"""
EXACT = 1e-9  # sums of float64, with terms below 1e-18 left out


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch):
    """One thread, because tiny operations gain nothing from more; ceilings that need no gigabytes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr("garv_gsplat.bench.ceilings._COPY_BYTES", {"cpu": 1 << 22, "cuda": 1 << 26})
    monkeypatch.setattr("garv_gsplat.bench.ceilings._PATIENCE", timing.Patience(0.01, 3))
    yield
    torch.set_num_threads(before)


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
    counts = checking.expect(tiny, case, here, frames, tiles=10**9).counts
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
        found = _reference.bin_gaussians(
            view.means, view.cholesky, view.cutoffs, torch.tensor([frame + 0.5]).double(), view.width, view.height, 0
        )
        tiles += int(found[0][-1])
    assert counts.active_gaussians == active / 2
    assert counts.tile_pairs == pytest.approx(tiles / 2, abs=1), "one at the border by float32"
    assert counts.pixel_pairs == pytest.approx(pixels / 2)
    assert counts.pixel_pairs_per_pixel == pytest.approx(pixels / 2 / (view.width * view.height))


def test_bytes(tiny):
    counts = counting.Counts(0, 100, 0, 0)
    gaussians, image, lists_ = 80 * 13 * 4, 2 * 58 * 32 * 3, 2 * (100 * 4 + 8 * 8)
    sizes = {
        "forward": gaussians + 2 * lists_ + 4 * image,
        "decode": gaussians + 2 * lists_ + image,
        "forward+backward": 2 * gaussians + 3 * lists_ + 8 * image + 80 * 12 * 4,
    }
    for kind, size in sizes.items():
        assert counting.bytes_of_launch(kind, tiny.gaussians, (58, 32), counts, 2) == size


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


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(["bench", *arguments])
    output = capsys.readouterr()
    return code, output.out, output.err


def test_json_has_what_is_printed(tmp_path, capsys, device):
    path = tmp_path / "bench.json"
    arguments = ("A", "C", *TINY, "--batches", "2", "1", "--device", str(device), "--json", str(path))
    code, out, err = run(capsys, *arguments)
    assert code == 0, err
    facts = json.loads(path.read_text())
    rows = facts["results"]
    assert len(rows) == 2 * 11
    assert {row["target"] for row in rows} == {f"{name} (scale 0.03, N = 80, 40 frames)" for name in "AC"}
    for row in rows:
        assert row["target"] in out
        times = row["per_frame"]
        assert 0 < times["fastest"] <= times["lower_quartile"] <= times["median"] <= times["slowest"]
        for shown in (
            bench_tables.seconds(times["median"]),
            f"{row['check']['error']['mean']:.2g}",
            f"{row['counts']['pixel_pairs']:,.0f} Gaussian-pixel pairs",
            f"{row['counts']['tile_pairs']:,.0f} Gaussian-tile",
            f"{row['counts']['active_gaussians']:,.0f} active",
            bench_tables.number(row["pairs_per_s"]),
            bench_tables.number(row["bytes_per_s"]) + "B",
            f"{row['pairs_of_ceiling']:.1%}",
            row["case"]["mode"],
        ):
            assert shown in out
        assert row["pairs_per_s"] == pytest.approx(row["counts"]["pixel_pairs"] * row["frames_per_s"])
        assert row["pairs_of_ceiling"] == pytest.approx(row["pairs_per_s"] / facts["ceilings"]["pairs_per_s"])
        assert (row["memory"]["allocated"] is not None) == (device.type == "cuda")
    assert facts["machine"]["torch"] == torch.__version__
    assert facts["machine"]["device"] in out
    assert out.splitlines()[-1].startswith(f"{facts['machine']['device']}: 22 cases, errors within 0.1/255")


def test_a_file(tmp_path, capsys):
    generator = torch.Generator().manual_seed(0)
    means, colors = torch.rand(50, 3, generator=generator), torch.rand(50, 1, generator=generator)
    cholesky = torch.tensor([0.1, 0.0, 0.0, 0.1, 0.0, 0.1]).repeat(50, 1)
    path = tmp_path / "grey.garv"
    save(path, VideoGaussians(means, cholesky, colors, VideoInfo(32, 24, 6, channels=1)))
    code, out, err = run(
        capsys, str(path), "--seconds", "0.01", "--batches", "2", "--device", "cpu", "--crop", "20", "9"
    )
    assert code == 0, err
    assert "grey.garv: 32x24, 50 Gaussians" in out
    assert "forward 20x9" in out


def scaled(accumulate):
    return lambda *args: 1.01 * accumulate(*args)


def with_a_hole(accumulate):
    return lambda *args: accumulate(*args).index_fill(1, torch.tensor([5]), math.nan)


def with_steeper_gradients(accumulate):
    def wrong(*args):
        image = accumulate(*args)
        return image + 0.01 * (image - image.detach())

    return wrong


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        ("forward", scaled, "mean error"),
        ("decode", scaled, "mean error"),
        ("forward+backward", scaled, "mean error"),
        ("forward", with_a_hole, "error nan/255"),
        ("forward+backward", with_steeper_gradients, "gradient error 0.01"),
    ],
)
def test_a_wrong_renderer_is_not_timed(tmp_path, capsys, monkeypatch, kind, wrong, message):
    monkeypatch.setattr(timing, "Timing", None)
    for module in ("garv_gsplat.rendering", "garv_gsplat.fitting.field"):
        monkeypatch.setattr(f"{module}.accumulate", wrong(field.accumulate))
    monkeypatch.setattr("garv_gsplat.bench.ceilings.measure_ceilings", lambda *_: Ceilings(1.0, 1.0, "", ""))
    path = tmp_path / "bench.json"
    code, _, err = run(capsys, "A", *TINY, "--device", "cpu", "--kinds", kind, "--json", str(path))
    assert code == 1
    (line,) = err.splitlines()
    assert line.startswith(f"garv: refused: A (scale 0.03, N = 80, 40 frames), {kind}, throughput, 1 a ")
    assert message in line
    assert "beyond the bound" in line
    assert not path.exists()


def test_a_coarse_tau_is_refused_until_its_error_is_accepted(capsys):
    arguments = ("A", *TINY, "--device", "cpu", "--kinds", "forward", "--batches", "1", "--tau", "2")
    code, _, err = run(capsys, *arguments)
    assert code == 1
    assert "beyond the bound of 0.1/255" in err
    assert run(capsys, *arguments, "--max-mean-error", "20", "--max-error", "50")[0] == 0


def test_rounded_images_are_compared_with_the_rounded_reference():
    wanted = [torch.tensor([0.1, 0.5, 1.7, -0.2]).double()]
    rounded = [torch.tensor([26, 128, 255, 0], dtype=torch.uint8)]
    assert checking.image_errors(rounded, wanted) == checking.Errors(0.0, 0.0)
    assert checking.image_errors([rounded[0] + torch.tensor([1, 0, 0, 0]).byte()], wanted).maximum == 1.0


def test_ablation(tmp_path, capsys, device):
    path = tmp_path / "bench.json"
    code, out, err = run(capsys, "A", *TINY, "--ablation", "--device", str(device), "--json", str(path))
    assert code == 0, err
    (table,) = json.loads(path.read_text())["ablations"]
    rows = table["rows"]
    assert [row["variant"].split(",")[0] for row in rows] == [
        *("eq. 2", "eq. 3", "eq. 3"),
        *("+ frame-wise cull", "+ tile-wise cull"),
    ]
    for row in rows:
        assert f"{row['psnr']:.1f}" in out
        assert bench_tables.seconds(row["per_frame"]["median"]) in out
    exact, framewise, tilewise = [row["psnr"] for row in rows[:3]], rows[3]["psnr"], rows[4]["psnr"]
    assert min(exact) > 110, "float32 rounding alone"
    assert min(exact) >= framewise >= tilewise > 65, "each cull leaves out more, and little"
    assert out.splitlines()[-1].count("dB") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["D"], "D: neither a file nor one of the scenes A, B, C"),
        (["A", "--scale", "2"], "--scale must be"),
        (["A", "--num-gaussians", "0"], "--num-gaussians must be more than 0"),
        (["A", "--tau", "-1"], "--tau"),
        (["A", "--batches", "0"], "--batches"),
        (["A", *TINY, "--crop", "9999", "9"], "--crop must be within the frames of 58x32"),
        (["A", "--json", "missing/bench.json"], "no folder"),
        (["A", "--device", "tpu"], "--device must be cpu"),
    ],
)
def test_bad_arguments(capsys, arguments, message):
    code, _, err = run(capsys, "--device", "cpu", *arguments)
    assert code == 2
    (line,) = err.splitlines()
    assert line.startswith("garv: error: ")
    assert message in line


def test_ctrl_c(tmp_path, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(suite, "measure_throughput", interrupt)
    path = tmp_path / "bench.json"
    code, _, err = run(capsys, "A", *TINY, "--device", "cpu", "--json", str(path))
    assert code == 130
    assert err.splitlines() == ["garv: stopped; nothing was written"]
    assert list(Path(tmp_path).iterdir()) == []
