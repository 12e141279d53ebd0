"""The paper's experiments on frames held out and on noise: they run, and write what the page is made of."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from tests import media

FOLDER = Path(__file__).parents[1] / "examples/benchmarks/paper"


@pytest.mark.parametrize(
    ("name", "kind", "numbers"),
    [
        ("interpolation", "Interpolation", {"seen_psnr", "held_out_psnr", "average_psnr"}),
        ("denoising", "Denoising", {"noisy_psnr", "psnr", "median_psnr", "nl_means_psnr"}),
    ],
)
def test_experiment(tmp_path, monkeypatch, capsys, name, kind, numbers):
    monkeypatch.syspath_prepend(str(FOLDER))
    clip = media.make_video(tmp_path / "clip.mp4", media.pattern(7))
    script = importlib.import_module(name)
    (row,) = getattr(script, kind)((clip,), tmp_path / "out", steps=5, device="cpu").run()
    assert all(10 < row[number] < 100 for number in numbers)
    facts = json.loads((tmp_path / f"out/{name}.json").read_text())
    assert facts["rows"] == [row] and {key for key in row if key != "clip"} <= {*facts["columns"]}
    assert (tmp_path / f"out/{name}.png").stat().st_size > 1000
    assert f"{name}.json: " in capsys.readouterr().out
