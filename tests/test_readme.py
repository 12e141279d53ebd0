"""README: every command line is run, here or by the test that is named here, and the table is the generated one."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from garv_gsplat import PRESETS, VideoDecoder, read_info
from garv_gsplat.cli import main
from garv_gsplat.cli.bench import Bench
from tests import media
from tests.test_examples import example

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md")

INSTALLS = {
    "pip install .",
    "CUDA_HOME=/usr/local/cuda pip install .",
    'pip install ".[nerfstudio]"',
    'pip install ".[compare]"',
    'pip install ".[sog]"',
    "pip install . --no-build-isolation",
}
"""what tests/test_packaging.py builds and installs, `make` installs (the extras), and .ci/run compiles"""

NERFSTUDIO = {"ns-train", "ns-eval", "ns-viewer", "ns-render", "ns-export"}
"""what tests/plugin/test_commands.py runs"""


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def command_lines(page: str) -> list[str]:
    """Every command line of a page's shell blocks, without comments."""
    lines = [line.split("#")[0].strip() for block in blocks(page, "sh") for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for preset in PRESETS.values():
        monkeypatch.setattr(preset, "steps", 3)
    monkeypatch.setattr(Bench.__dataclass_fields__["seconds"], "default", 0.02)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a user sits who has a video."""
    media.make_video(tmp_path / "video.mp4", media.pattern(100))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_of_garv(folder, few_steps, capsys):
    lines = [line for line in command_lines("README.md") if line.startswith("garv ")]
    assert len(lines) >= 4
    for line in lines:
        assert main(shlex.split(line)[1:]) == 0, capsys.readouterr().err
    assert read_info("out.mp4").frames == 100
    assert len(VideoDecoder("part.garv", device="cpu")) == 50
    slow, cut = read_info("slow.mp4"), VideoDecoder("cut.garv", device="cpu").metadata
    assert (slow.width, slow.height, slow.frames) == (128, 96, 100)
    assert (cut.width, cut.height, cut.frames) == (32, 24, 50)
    assert Path("scan.png").exists()
    assert json.loads(Path("bench.json").read_text())["results"]
    assert len(json.loads(Path("compare.json").read_text())["points"]) == 7
    assert Path("compare.png").stat().st_size > 0


def test_python_example(folder, few_steps, capsys):
    (block,) = blocks("README.md", "python")
    names: dict = {}
    exec(compile(block, "README.md", "exec"), names)
    assert tuple(names["frame"].shape) == (3, 48, 64)
    assert tuple(names["clip"].shape) == (2, 3, 48, 64)
    assert tuple(names["shown"].data.shape) == (3, 48, 64)
    assert tuple(names["scan"].shape) == (3, 100, 64)
    assert tuple(names["between"].data.shape) == (1, 3, 48, 64)
    code = [line for line in block.splitlines() if line and not line.startswith("#")]
    assert len(code) <= 12


@pytest.mark.parametrize("page", PAGES)
def test_every_command_line_belongs_to_a_test(page):
    nerfstudio_tests = (ROOT / "tests/plugin/test_commands.py").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for line in command_lines(page):
        words = shlex.split(line)
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), line
        elif words[0] in NERFSTUDIO:
            assert f'"{words[0]}"' in nerfstudio_tests, line
        else:
            assert words[0] in ("garv", ".ci/run"), f"{line}: no test runs this"


def test_installs():
    lines = re.findall(r"`([^`]*pip install[^`]*)`", (ROOT / "README.md").read_text())
    assert set(lines) == INSTALLS


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page):
    text = (ROOT / page).read_text()
    links = re.findall(r"\]\(([^)#]+)\)", text)
    named = re.findall(r"`((?:docs|examples|tests|garv_gsplat|cuda_ext|method_configs)/[\w./-]*)`", text)
    assert named
    for path in [link for link in links if "://" not in link] + named:
        assert (ROOT / path).exists(), path


def test_table_of_results_is_the_generated_one():
    results_table = example("benchmarks/results_table")
    text = (ROOT / "README.md").read_text()
    assert text == results_table.fill_all(text)


def test_table_of_results_sorts_and_fills():
    results_table = example("benchmarks/results_table")
    row = {
        **{"clip": "b", "width": 2, "height": 2, "frames": 2, "command": "c", "device": "d", "fit_seconds": 1.0},
        **{"bytes": 1234, "bpp": 0.5, "psnr": 30.0, "ms_ssim": 0.9, "decode_fps": 9.6},
    }
    table = results_table.table([row, {**row, "clip": "a", "frames": 1}])
    assert [line.split(",")[0] for line in table.splitlines()[2:]] == ["| a", "| b"]
    assert "| 1.0 s | 1,234 bytes | 0.5000 | 30.00 dB | 0.9000 | 10 frames/s |" in table
    assert results_table.table([]) == "Nothing has been measured yet.\n"
    marks = "x\n<!-- results: begin -->\n{}<!-- results: end -->\ny\n"
    assert results_table.fill(marks.format("old\n"), "results", table) == marks.format(table)


def test_table_of_random_access(tmp_path):
    results_table = example("benchmarks/results_table")
    peer = {
        "machine": {"device": "d"},
        "columns": {"fps": ["frames/s", ".0f"], "mb": ["MB", ".0f"]},
        "rows": [{"clip": "a", "fps": 12.4}, {"clip": "a", "by": "PyAV", "device": "e", "fps": 3}],
        "paper": [],
    }
    (tmp_path / "peer.json").write_text(json.dumps(peer))
    lines = results_table.peer_table(tmp_path / "peer.json").splitlines()
    assert lines[0] == "| by | clip | device | frames/s |"
    assert lines[2:] == ["| garv-gsplat | a | d | 12 |", "| PyAV | a | e | 3 |"]
    assert results_table.peer_table(tmp_path / "none.json") == "Nothing has been measured yet.\n"
