"""`garv bench`: what is printed is what was measured, and what is drawn wrong is not timed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from garv_gsplat import VideoGaussians, VideoInfo, load, save
from garv_gsplat.bench import checking, suite, timing
from garv_gsplat.bench.ceilings import Ceilings
from garv_gsplat.cli import bench_tables, main
from garv_gsplat.fitting import field
from garv_gsplat.ops import Drawing

# few enough Gaussians that pixels stay below white
TINY = ("--scale", "0.03", "--frames", "40", "--num-gaussians", "80", "--seconds", "0.01", "--repeats", "3")


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
    assert f"grey.garv: 32x24, {len(load(path))} Gaussians" in out
    assert "forward 20x9" in out


def scaled(image):
    return 1.01 * image


def with_a_hole(image):
    return image.index_fill(1, torch.tensor([5]), math.nan)


def with_steeper_gradients(image):
    return image + 0.01 * (image - image.detach())


def break_renderers(monkeypatch, wrong):
    """Let what decodes and what fits draw images that are `wrong`."""
    accumulate, draw = field.accumulate, Drawing.__call__

    def wrong_draw(*arguments):
        return wrong(draw(*arguments).float()).nan_to_num().round().clamp(0, 255).byte()

    monkeypatch.setattr(field, "accumulate", lambda *arguments: wrong(accumulate(*arguments)))
    monkeypatch.setattr(Drawing, "__call__", wrong_draw)


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        ("forward", scaled, "mean error"),
        ("decode", scaled, "mean error"),
        ("forward+backward", scaled, "mean error"),
        ("forward", with_a_hole, "mean error"),
        ("forward+backward", with_a_hole, "error nan/255"),
        ("forward+backward", with_steeper_gradients, "gradient error 0.01"),
    ],
)
def test_a_wrong_renderer_is_not_timed(tmp_path, capsys, monkeypatch, kind, wrong, message):
    monkeypatch.setattr(timing, "Timing", None)
    break_renderers(monkeypatch, wrong)
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
        *("+ frame-wise cull", "+ tile-wise cull", "+ levels"),
    ]
    assert [row["tau"] for row in rows] == pytest.approx([0, 0, 0, 0.03, 0.03, 0.07])
    for row in rows:
        assert f"{row['psnr']:.1f}" in out
        assert bench_tables.seconds(row["per_frame"]["median"]) in out
    *exact, kernels, framewise, tilewise, _ = [row["psnr"] for row in rows]
    assert min(exact) > 110, "float32 rounding alone"
    if device.type == "cuda":
        assert kernels > 75, "half precision: 2^-11 of white is 66 dB, and most errors are far below it"
    else:
        assert kernels > 110 and min(*exact, kernels) >= framewise >= tilewise, "each cull leaves out more"
    assert tilewise > 65, "and little"
    # 2^-11 of white is 66 dB, and a record's seven numbers and CUDA's weights and levels are rounded by up to that.
    assert rows[5]["psnr"] > 62
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
