"""`garv compare`: table, JSON and plot, what it refuses, and that nothing half written stays."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image

from garv_gsplat import cli, comparing, read_info
from garv_gsplat.cli import compare as command
from garv_gsplat.cli import main
from tests import media
from tests.comparing.test_points import make_garv
from tests.test_cli_errors import assert_refused, snapshot

FAST = ("--encoder-preset", "ultrafast", "--device", "cpu")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A video, and a .garv and a video beside it."""
    path = media.make_video(tmp_path / "v.mp4")
    make_garv(tmp_path / "v.garv", read_info(path))
    media.make_video(tmp_path / "other.mkv", options={"crf": "40", "preset": "ultrafast"})
    return path


def test_files_and_baselines(tmp_path, source, capsys):
    garv, other = tmp_path / "v.garv", tmp_path / "other.mkv"
    outputs = {name: tmp_path / name for name in ("c.json", "c.png", "kept")}
    written = ["--json", outputs["c.json"], "--plot", outputs["c.png"], "--keep", outputs["kept"]]
    arguments = [source, garv, other, "--encode", "x264", "av1", "--bpp", "0.8", "0.4", *written, *FAST]
    assert main(["compare", *map(str, arguments)]) == 0
    output = capsys.readouterr()
    table, closing = output.out.rsplit("BD-rate", 1)[0], output.out.splitlines()[-1]
    facts = json.loads(outputs["c.json"].read_text())
    assert [point["curve"] for point in facts["points"]] == ["garv", "h264 files", "x264", "x264", "av1", "av1"]
    assert [point["settings"]["encoder"] for point in facts["points"][2:]] == ["x264", "x264", "av1", "av1"]
    for point in facts["points"]:
        (line,) = [line for line in table.splitlines() if f" {point['file']} " in line]
        values = (
            point["curve"],
            f"{point['bytes']:,}",
            f"{point['bpp']:.4f}",
            f"{point['psnr']:.2f}",
            f"{point['decode_fps']:.0f} (cpu)",
        )
        assert all(f" {value} " in line for value in values)
    x264 = facts["points"][2]
    assert x264["settings"]["wanted_bpp"] == 0.4
    assert x264["bpp"] == pytest.approx(0.4, rel=0.1)  # 1.8 kB: one step of the crf is more than usual
    assert (x264["settings"]["preset"], x264["settings"]["gop"]) == ("ultrafast", 250)
    assert facts["source"] == {
        **{"file": str(source), "width": 64, "height": 48, "frames": 12, "frame_rate": "25"},
        **{"start": None, "duration": None, "max_frames": None},
    }
    assert {"device", "torch", "garv_gsplat", "av", "libavcodec"} <= set(facts["machine"])
    assert "without sound" in facts["bytes_counted"]
    assert [rate["reason"] for rate in facts["bd_rates"]] == ["the reference has 1 of at least 4 points"] * 3
    assert "BD-rate of av1 against garv: none, as the reference has 1 of at least 4 points" in output.out
    assert Image.open(outputs["c.png"]).size[0] > 500
    assert sorted(path.name for path in outputs["kept"].iterdir()) == sorted(p["file"] for p in facts["points"][2:])
    assert closing == f"{source}: 6 files against 12 frames of 64x48; written: {', '.join(map(str, outputs.values()))}"


def test_bd_rate_of_two_curves(tmp_path, source, capsys):
    arguments = ["--encode", "x264", "x265", "--bpp", "0.3", "0.5", "0.8", "1.1", "--json", str(tmp_path / "c.json")]
    assert main(["compare", str(source), *arguments, *FAST]) == 0
    (rate,) = json.loads((tmp_path / "c.json").read_text())["bd_rates"]
    assert (rate["curve"], rate["reference"], rate["measure"]) == ("x265", "x264", "psnr")
    assert f"BD-rate of x265 against x264: PSNR {rate['percent']:+.1f} %\n" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.json", "other.mkv", "v.garv", "v.mp4"]


def test_a_part_of_the_source(tmp_path, capsys):
    source = media.make_video(tmp_path / "v.mp4", media.pattern(25))
    part = media.make_video(tmp_path / "part.mp4", media.pattern(25)[5:15])
    assert main(["compare", str(source), str(part), "--start", "0.2", "--duration", "0.4", *FAST]) == 0
    assert capsys.readouterr().out.endswith("1 files against 10 frames of 64x48\n")
    assert main(["compare", str(source), str(part), "--start", "0.2", "--max-frames", "10", *FAST]) == 0


def test_a_rate_out_of_reach_is_said(source, capsys):
    assert main(["compare", str(source), "--encode", "x264", "--bpp", "1e-5", *FAST]) == 0
    assert re.search(r"v_x264_1e-05bpp.mp4: 0.\d+ bpp is as near as x264 comes to 1e-05", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to compare; give .garv or video files, or baselines with --encode"),
        (["missing.mp4"], "missing.mp4: no such file"),
        (["missing.garv"], "missing.garv"),
        (["v.garv", "--max-frames", "5"], "v.garv: holds 12 frames of 64x48, v.mp4 5 frames of 64x48; give"),
        (["v.garv", "--start", "9"], "no frame from 9 s"),
        (["v.garv", "--device", "tpu"], "--device must be cpu"),
        (["v.garv", "--keep", "kept"], "nothing to keep without --encode"),
        (["v.garv", "--plot", "p.pdf"], "--plot p.pdf: the name must end in .png or .svg"),
        (["v.garv", "--json", "none/c.json"], "there is no folder"),
        (["v.garv", "--json", "v.garv"], "v.garv: is one of the files to compare; give another name"),
        (["other.mkv", "--json", "v.mp4"], "v.mp4: is one of the files to compare"),
        (["--encode", "x264", "--bpp", "-1"], "--bpp must be numbers above 0, got -1"),
        (["--encode", "x264", "--bpp", "nan"], "--bpp must be numbers above 0"),
        (["--encode", "x264", "--keep", "."], "is already there"),
    ],
)
def test_bad_arguments(tmp_path, source, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert_refused(capsys, tmp_path, ["compare", "v.mp4", *arguments], message)


def test_bad_source(tmp_path, source, capsys):
    assert_refused(capsys, tmp_path, ["compare", tmp_path / "none.mp4", tmp_path / "v.garv"], "no such file")


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        ("matplotlib.figure", ["v.garv", "--plot", "p.png"], "plots need Matplotlib"),
        ("scipy.interpolate", ["--encode", "x264", "x265"], "BD-rates need SciPy"),
    ],
)
def test_what_is_not_installed_is_said_before_the_work(
    tmp_path, source, capsys, monkeypatch, module, arguments, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(comparing, "read_clip", lambda *_, **__: pytest.fail("the video was read first"))
    arguments = ["compare", "v.mp4", *arguments]
    assert_refused(capsys, tmp_path, arguments, f'{message}: pip install "garv-gsplat[compare]"')


def test_ctrl_c_leaves_nothing(tmp_path, source, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # the baselines' folder is among what is looked at
    before = snapshot(tmp_path)
    written = ["--json", str(tmp_path / "c.json"), "--plot", str(tmp_path / "c.png")]
    for keep in ([], ["--keep", str(tmp_path / "kept")]):
        for stage in ("measure_baseline", "bd_rates", "save_plot"):
            with monkeypatch.context() as patch:
                patch.setattr(comparing, stage, interrupt)
                arguments = ["compare", str(source), "--encode", "x264", "--bpp", "0.5", *written[2:], *keep, *FAST]
                assert main(arguments) == cli.INTERRUPTED
            assert "nothing was written" in capsys.readouterr().err
            assert snapshot(tmp_path) == before


def test_choices_are_the_encoders_and_presets_there_are():
    assert get_args(command.EncoderName) == tuple(comparing.ENCODERS)
    assert get_args(command.EncoderPreset) == tuple(comparing.PRESETS)
