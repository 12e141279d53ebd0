"""nerfstudio's commands as a user runs them, each a process of its own.

Importing nerfstudio takes a process most of its time, so the commands that only read the fit run two at a time, and
every test waits for its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from websockets.sync.client import connect

from garv_gsplat import codec
from garv_gsplat.video import read_video
from tests import media
from tests.plugin.fits import FRAMES, free_port

pytestmark = pytest.mark.slow
LIMIT = 240  # seconds for a command; most of it is imports on a busy machine
SMALL = ["--pipeline.model.fit.num-gaussians", "200", "--machine.device-type", "cpu"]
QUIT = ["--viewer.quit-on-train-completion", "True"]


def script(name: str) -> str:
    """A command of this Python's environment, or where it is on the PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name) or name


def command(name: str, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    line = [script(name), *(str(a) for a in arguments)]
    return subprocess.run(line, cwd=folder, env=environment(), capture_output=True, text=True, timeout=LIMIT)


def environment() -> dict[str, str]:
    return {**os.environ, "COLUMNS": "200", "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}


def finished(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, f"{result.args}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    return result.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands run; holds the video, which is given by a relative path."""
    path = tmp_path_factory.mktemp("user")
    media.make_video(path / "video.mp4")
    media.make_text(path / "text.mp4")
    return path


@pytest.fixture(scope="module")
def fitted(folder: Path) -> Path:
    """config.yml of `ns-train garv --data video.mp4`, with the viewer and tensorboard."""
    viewer = ["--vis", "viewer+tensorboard", "--viewer.websocket-port", free_port(), *QUIT]
    options = ["--max-num-iterations", 30, "--pipeline.model.fit.deterministic", "True"]
    train = command("ns-train", "garv", "--data", "video.mp4", *options, *viewer, *SMALL, folder=folder)
    assert "Next: ns-export garv --load-config" in finished(train)
    (config,) = folder.glob("outputs/video/garv/*/config.yml")
    return config


@pytest.fixture(scope="module")
def commands(folder: Path, fitted: Path) -> Iterator[dict[str, Future]]:
    load = ["--load-config", fitted.relative_to(folder)]
    resume = ["--load-dir", fitted.parent / "nerfstudio_models", "--max-num-iterations", 40]
    lines = {
        "viewer": ["ns-viewer", *load],
        "eval": ["ns-eval", *load, "--output-path", "eval.json", "--render-output-path", "eval"],
        "render": ["ns-render", "dataset", *load, "--output-path", "renders", "--image-format", "png"],
        "export": ["ns-export", "garv", *load, "--output-dir", "exports"],
        "export help": ["ns-export", "--help"],
        "resume": [
            *["ns-train", "garv", "--data", "video.mp4", "--timestamp", "resumed", "--vis", "tensorboard"],
            *[*resume, *QUIT, *SMALL],
        ],
        "bad": ["ns-train", "garv", "--data", "text.mp4", "--output-dir", "bad", *SMALL],
    }
    with ThreadPoolExecutor(2) as pool:
        yield {
            name: pool.submit(look_at_viewer if name == "viewer" else command, *line, folder=folder)
            for name, line in lines.items()
        }


def test_train_writes_what_nerfstudio_expects(fitted: Path):
    assert (fitted.parent / "nerfstudio_models" / "step-000000029.ckpt").is_file()
    assert list(fitted.parent.glob("events.out.tfevents.*"))


def test_viewer_serves_frames(commands: dict[str, Future]):
    page, messages = commands["viewer"].result()
    assert b"<html" in page
    assert b"Frame" in messages and b"Show the volume" in messages
    assert torch.cuda.is_available() or b"NVIDIA" in messages  # why the volume cannot be drawn
    assert b"\xff\xd8\xff" in messages  # a frame, as JPEG


def look_at_viewer(*line: object, folder: Path) -> tuple[bytes, bytes]:
    """The page and what a browser is sent until the first frame arrives."""
    port = free_port()
    arguments = [script(line[0]), *(str(a) for a in line[1:]), "--viewer.websocket-port", str(port)]
    with open(folder / "viewer.log", "w") as log:
        process = subprocess.Popen(arguments, cwd=folder, env=environment(), stdout=log, stderr=log)
    try:
        page = wait_for(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=5).read(), process)
        return page, watch(port)
    finally:
        process.terminate()
        process.wait(30)


def wait_for(attempt: Callable[[], bytes], process: subprocess.Popen) -> bytes:
    end = time.monotonic() + LIMIT
    while time.monotonic() < end and process.poll() is None:
        try:
            return attempt()
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the viewer does not answer")


def watch(port: int) -> bytes:
    """Connect as a browser does: say where the camera is, then listen."""
    import msgspec

    camera = {
        "type": "ViewerCameraMessage",
        "wxyz": (1.0, 0.0, 0.0, 0.0),
        "position": (0.0, 0.0, -30.0),
        "fov": 0.8,
        "aspect": 1.3,
        "look_at": (0.0, 0.0, 0.0),
        "up_direction": (0.0, 1.0, 0.0),
    }
    received = b""
    with connect(f"ws://127.0.0.1:{port}", max_size=None) as browser:
        browser.send(msgspec.msgpack.encode(camera))
        end = time.monotonic() + 60
        while b"\xff\xd8\xff" not in received and time.monotonic() < end:
            try:
                received += browser.recv(timeout=5)
            except TimeoutError:
                continue
    return received


def test_eval_measures_the_file(commands: dict[str, Future], folder: Path):
    finished(commands["eval"].result())
    results = json.loads((folder / "eval.json").read_text())["results"]
    assert results["psnr"] > 15 and results["fps"] > 0 and results["bpp"] > 0
    assert len(list((folder / "eval").glob("*.png"))) == FRAMES


def test_render_draws_every_frame(commands: dict[str, Future], folder: Path, fitted: Path):
    finished(commands["render"].result())
    pictures = {kind: sorted((folder / "renders" / "test" / kind).glob("*.png")) for kind in ("rgb", "gt-rgb")}
    assert [p.name for p in pictures["rgb"]] == [f"{k:05d}.png" for k in range(FRAMES)]
    source = read_video(folder / "video.mp4").frames.numpy()
    assert all(np.array_equal(np.asarray(Image.open(p)), f) for p, f in zip(pictures["gt-rgb"], source))
    rendered = np.stack([np.asarray(Image.open(p)) for p in pictures["rgb"]])
    assert np.abs(rendered.astype(int) - source).mean() < 40


def test_export_writes_the_file(commands: dict[str, Future], folder: Path):
    line = finished(commands["export"].result()).strip().splitlines()[-1]
    size = (folder / "exports" / "video.garv").stat().st_size
    assert re.fullmatch(rf"exports/video\.garv: {size:,} bytes, [\d.]+ bpp, [\d.]+ dB, \d+ frames/s on [\w:]+", line)
    assert 160 < len(codec.load(folder / "exports" / "video.garv")) <= 200


def test_export_keeps_the_other_commands(commands: dict[str, Future]):
    text = finished(commands["export help"].result())
    assert all(name in text for name in ("garv", "pointcloud", "gaussian-splat", "cameras"))


def test_resume_ends_where_it_was_told(commands: dict[str, Future], folder: Path):
    finished(commands["resume"].result())
    (path,) = folder.glob("outputs/video/garv/resumed/nerfstudio_models/*.ckpt")
    state = torch.load(path, weights_only=True)
    assert state["step"] == 39
    assert float(state["optimizers"]["gaussians"]["state"][0]["steps"].max()) <= 40


def test_bad_video_is_one_line(commands: dict[str, Future], folder: Path):
    result = commands["bad"].result()
    assert result.returncode == 2
    assert "Traceback" not in result.stdout + result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("garv: ")]
    assert "text.mp4" in line
    assert not (folder / "bad").exists()
