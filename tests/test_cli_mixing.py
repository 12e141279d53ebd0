"""`garv foveate` and `garv mix`: what they write and say, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from garv_gsplat import Box, GarvFile, Region, VideoInfo, mix_files, save, switch_files
from garv_gsplat.cli import main
from garv_gsplat.cli.foveate import Foveate
from garv_gsplat.cli.mix import Mix
from garv_gsplat.codec import encode
from garv_gsplat.regions import FEATHER
from tests.codec.samples import fitted_like
from tests.test_cli_errors import assert_refused

INFO = VideoInfo(64, 48, 20, 10)
pytestmark = pytest.mark.usefixtures("deterministic")  # files are compared byte by byte


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Where high.garv and low.garv are, and others that do not go with them."""
    save(tmp_path / "high.garv", encode(fitted_like(400, INFO), tracks=b"sound"))
    save(tmp_path / "low.garv", encode(fitted_like(100, INFO, seed=1)))
    save(tmp_path / "short.garv", encode(fitted_like(50, VideoInfo(64, 48, 10, 10))))
    save(tmp_path / "plain.garv", encode(fitted_like(50, INFO), "paper16-8-8"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def both() -> list[GarvFile]:
    return [GarvFile("high.garv"), GarvFile("low.garv")]


def run(*arguments: str) -> None:
    assert main(list(arguments)) == 0


def test_foveate(folder, capsys):
    windows = ((8, 4, 16, 12), (40, 30, 8, 8))
    rois = [word for window in windows for word in ("--roi", *map(str, window))]
    run("foveate", "high.garv", "low.garv", *rois, "--feather", "1", "--output", "mixed.garv")
    region = Region([Box.from_pixels(INFO, *window) for window in windows])
    made = mix_files(both(), [region], 1, b"sound")
    assert Path("mixed.garv").read_bytes() == made.data
    line = capsys.readouterr().out
    assert line.startswith(f"mixed.garv: {len(made.data):,} bytes, 0.")
    for size, name in zip(made.stream_bytes, ("high.garv", "low.garv")):
        assert f"{size:,} bytes of {name} (0 of 1 chunks copied)" in line


def test_foveate_along_a_table(folder):
    (folder / "gaze.csv").write_text("0,0,0,16,12\n1.5,40,30,16,12\n")
    run("foveate", "high.garv", "low.garv", "--regions", "gaze.csv", "--output", "mixed.garv")
    region = Region.moving(INFO, [(0, (0, 0, 16, 12)), (1.5, (40, 30, 16, 12))])
    assert Path("mixed.garv").read_bytes() == mix_files(both(), [region], tracks=b"sound").data


def test_mix(folder, capsys):
    run("mix", "high.garv", "0", "low.garv", "0.5", "high.garv", "1.5", "--feather", "0.5", "--output", "out.garv")
    high, low = both()
    assert Path("out.garv").read_bytes() == switch_files([(0, high), (0.5, low), (1.5, high)], 0.5, b"sound").data
    assert "bytes of low.garv" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["foveate", "high.garv", "low.garv"], "either by --roi or by --regions"),
        (["foveate", "high.garv", "low.garv", "--roi", "0", "0", "5", "5", "--regions", "r"], "either by --roi or"),
        (["foveate", "high.garv", "low.garv", "--roi", "60", "0", "5", "5"], "leaves the video: x + w is 0 to 64"),
        (["foveate", "high.garv", "low.garv", "--regions", "none.csv"], "none.csv: No such file"),
        (["foveate", "high.garv", "low.garv", "--regions", "bad.csv"], "line 2 must be seconds,x,y,w,h in numbers"),
        (["foveate", "high.garv", "low.garv", "--regions", "back.csv"], "the times of a moving region must rise"),
        (["foveate", "high.garv", "short.garv", "--roi", "0", "0", "5", "5"], "alike in size and timing; got 64x48"),
        (["foveate", "high.garv", "plain.garv", "--roi", "0", "0", "5", "5"], "plain.garv is paper16-8-8; encode"),
        (["foveate", "high.garv", "low.garv", "--roi", "0", "0", "5", "5", "--feather", "0"], "feather must be"),
        (["mix"], "name each .garv and the second from which on it is drawn"),
        (["mix", "low.garv", "0", "high.garv", "0"], "switches must rise from 0 seconds on, got 0, 0"),
        (["mix", "low.garv", "0", "high.garv", "9"], "the last switch is at 9 s, but the video ends at 2 s"),
        (["mix", "low.garv", "0", "missing.garv", "1"], "missing.garv: No such file"),
    ],
)
def test_what_is_refused(folder, capsys, arguments, message):
    (folder / "bad.csv").write_text("0,0,0,5,5\n1,0,0,five,5\n")
    (folder / "back.csv").write_text("1,0,0,5,5\n0,0,0,5,5\n")
    assert_refused(capsys, folder, [*arguments, "--output", "out.garv"], message)


@pytest.mark.parametrize(("output", "message"), [("out.mp4", "must end in .garv"), ("low.garv", "is the .garv itself")])
def test_outputs_that_are_refused(folder, capsys, output, message):
    assert_refused(capsys, folder, ["mix", "high.garv", "0", "low.garv", "1", "--output", output], message)


def test_the_feather_is_the_librarys():
    assert Foveate(Path(), Path(), Path()).feather == Mix((), Path()).feather == FEATHER


@pytest.mark.parametrize("command", ["foveate", "mix"])
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert f"Example: garv {command} " in capsys.readouterr().out
