"""The command line with bad input: one line on stderr, exit code 2, no traceback, nothing left behind."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from garv_gsplat import VideoDecoder, VideoGaussians, VideoInfo, cli, encoding, save
from garv_gsplat.cli import main
from garv_gsplat.codec import encode, load
from tests import media

QUICK = ("--steps", "3", "--num-gaussians", "40", "--device", "cpu")


def assert_refused(capsys, folder: Path, arguments: list, message: str, lines: int = 1) -> None:
    """Run `garv` with arguments that it must refuse, in its last line on stderr."""
    before = snapshot(folder)
    code = main([str(a) for a in arguments])
    output = capsys.readouterr()
    assert code == 2, output
    assert output.out == ""
    assert len(output.err.splitlines()) == lines
    line = output.err.splitlines()[-1]
    assert line.startswith("garv: error: ")
    assert message in line
    assert snapshot(folder) == before


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {str(p): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@pytest.fixture(scope="session")
def garv_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("garv") / "v.garv"
    generator = torch.Generator().manual_seed(0)
    means, colors = torch.rand(50, 3, generator=generator), torch.rand(50, 3, generator=generator)
    cholesky = torch.tensor([0.1, 0.0, 0.0, 0.1, 0.0, 0.1]).repeat(50, 1)
    save(path, VideoGaussians(means, cholesky, colors, VideoInfo(32, 24, 6)))
    return path


SOURCES = {
    "missing": (lambda path: path, "v.mp4", "no such file"),
    "folder without images": (lambda path: path.mkdir() or path, "folder", "folder"),
    "empty": (media.make_empty, "v.mp4", "empty"),
    "text": (media.make_text, "v.mp4", "not a video"),
    "audio only": (media.make_audio_only, "v.mp4", "only audio"),
    "nothing decodes": (media.make_undecodable, "v.mp4", "no frame can be decoded"),
    "mixed sizes": (media.make_mixed_images, "folder", "images of mixed sizes"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_bad_source(tmp_path, capsys, name):
    make, file, message = SOURCES[name]
    source = make(tmp_path / file)
    assert_refused(capsys, tmp_path, ["encode", source, tmp_path / "v.garv", *QUICK], message)


def test_bad_source_leaves_an_earlier_file(tmp_path, capsys, garv_file):
    path = tmp_path / "v.garv"
    path.write_bytes(garv_file.read_bytes())
    assert_refused(capsys, tmp_path, ["encode", media.make_text(tmp_path / "v.mp4"), path, *QUICK], "not a video")


def test_real_process(tmp_path):
    source = media.make_text(tmp_path / "v.mp4")
    command = [sys.executable, "-m", "garv_gsplat.cli", "encode", str(source), str(tmp_path / "v.garv")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"garv: error: {source}: not a video")


OUTPUTS = {
    "missing/v.garv": "no folder",
    "folder.garv": "is a folder",
    "v.mp4": "must end in .garv",
    "v.mp4/v.garv": "no folder",
    "/proc/v.garv": "cannot be written",
}


@pytest.mark.parametrize("output", OUTPUTS)
def test_output_that_cannot_be_written_is_said_before_the_fit(tmp_path, capsys, monkeypatch, output):
    monkeypatch.setattr(encoding, "read_video", lambda *_, **__: pytest.fail("the video was read first"))
    source = media.make_video(tmp_path / "v.mp4")
    (tmp_path / "folder.garv").mkdir()
    assert_refused(capsys, tmp_path, ["encode", source, tmp_path / output, *QUICK], OUTPUTS[output])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bpp", "-1"], "bpp must be a positive number"),
        (["--bpp", "nan"], "bpp"),
        (["--num-gaussians", "0"], "num_gaussians must be at least 1"),
        (["--steps", "0"], "--steps must be at least 1"),
        (["--device", "tpu"], "--device must be cpu"),
        (["--device", "cpu:1"], "--device must be cpu"),
        (["--device", "cuda:99"], "--device cuda:99"),
        (["--seed", "99999999999"], "seed must be from 0"),
        (["--start", "99"], "no frame from 99 s"),
        (["--duration", "0"], "duration is 0"),
        (["--frame-rate", "10"], "frame_rate is for folders"),
    ],
)
def test_bad_arguments(tmp_path, capsys, arguments, message):
    source = media.make_video(tmp_path / "v.mp4", media.pattern(2))
    assert_refused(capsys, tmp_path, ["encode", source, tmp_path / "v.garv", *arguments], message)


def test_the_video_itself_is_not_overwritten(tmp_path, capsys):
    source = media.make_video(tmp_path / "v.mkv", media.pattern(2)).rename(tmp_path / "v.garv")
    assert_refused(capsys, tmp_path, ["encode", source, source, *QUICK], "is the video itself")


def test_a_codec_whose_library_is_missing(tmp_path, capsys, monkeypatch, garv_file):
    source, path = media.make_video(tmp_path / "v.mp4"), tmp_path / "sog.garv"
    save(path, encode(load(garv_file), "sog"))
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    message = "the codec sog needs imagecodecs: pip install garv-gsplat[sog]"
    arguments = ["encode", source, tmp_path / "v.garv", *QUICK, "--codec", "sog"]
    assert_refused(capsys, tmp_path, arguments, message)
    assert_refused(capsys, tmp_path, ["decode", path, "--output", tmp_path / "v2.mp4"], message)


def test_a_fit_that_is_too_large_is_refused_before_the_video_is_read(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(encoding, "read_video", lambda *_, **__: pytest.fail("the video was read first"))
    source = media.make_video(tmp_path / "v.mp4", media.pattern(2))
    arguments = ["--num-gaussians", str(10**12), "--device", "cpu"]
    assert_refused(capsys, tmp_path, ["encode", source, tmp_path / "v.garv", *arguments], "not even one frame")


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_out_of_memory(tmp_path, capsys, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(encoding, "fit", fail)
    source = media.make_video(tmp_path / "v.mp4", media.pattern(2))
    assert_refused(capsys, tmp_path, ["encode", source, tmp_path / "v.garv", *QUICK], "out of memory", lines=2)


def test_errors_of_our_own_keep_their_traceback(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ValueError("a mistake in the code")

    monkeypatch.setattr(encoding, "fit", fail)
    source = media.make_video(tmp_path / "v.mp4", media.pattern(2))
    with pytest.raises(ValueError, match="a mistake"):
        main(["encode", str(source), str(tmp_path / "v.garv"), *QUICK])


def damage(path: Path, garv_file: Path, name: str) -> Path:
    """A broken copy of a .garv."""
    data = bytearray(garv_file.read_bytes())
    if name == "truncated":
        data = data[: len(data) // 2]
    elif name == "flipped in a stream":
        data[-20] ^= 1
    elif name == "flipped in the header":
        data[14] ^= 1
    elif name == "later version":
        data[8] += 1
    elif name == "renamed mp4":
        return media.make_video(path.with_suffix(".mp4")).rename(path)
    elif name == "empty":
        data = data[:0]
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("command", ["decode", "info"])
@pytest.mark.parametrize(
    "name", ["truncated", "flipped in a stream", "flipped in the header", "later version", "renamed mp4", "empty"]
)
def test_bad_garv(tmp_path, capsys, garv_file, name, command):
    path = damage(tmp_path / "bad.garv", garv_file, name)
    output = ["--output", tmp_path / "out.mp4"] if command == "decode" else []
    assert_refused(capsys, tmp_path, [command, path, *output], str(path))


@pytest.mark.parametrize("command", ["decode", "info"])
def test_missing_garv(tmp_path, capsys, command):
    output = ["--output", tmp_path / "out.mp4"] if command == "decode" else []
    path = tmp_path / "v.garv"
    assert_refused(capsys, tmp_path, [command, path, *output], f"{path}: No such file")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("out.avi", ".mp4 or .mkv"),
        ("missing/out.mp4", "no folder"),
        ("missing/images", "no folder"),
        ("images", "already there"),
        ("/proc/out.mp4", "cannot be written"),
    ],
)
def test_bad_output_of_decode(tmp_path, capsys, garv_file, output, message):
    (tmp_path / "images").mkdir()
    assert_refused(capsys, tmp_path, ["decode", garv_file, "--output", tmp_path / output], message)


def test_the_garv_itself_is_not_overwritten(tmp_path, capsys, garv_file):
    path = tmp_path / "v.mp4"
    path.write_bytes(garv_file.read_bytes())
    assert_refused(capsys, tmp_path, ["decode", path, "--output", path], "is the .garv itself")


def test_decoding_that_fails_midway_leaves_nothing(tmp_path, capsys, monkeypatch, garv_file):
    def frames(self, *_, **__):
        yield self[:2]
        raise OSError(28, "No space left on device", "out")

    monkeypatch.setattr(VideoDecoder, "frames", frames)
    for output in ("out.mp4", "images"):
        arguments = ["decode", garv_file, "--output", tmp_path / output]
        assert_refused(capsys, tmp_path, arguments, "No space left")


def test_ctrl_c_before_the_fit(tmp_path, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(encoding, "read_video", interrupt)
    source = media.make_video(tmp_path / "v.mp4", media.pattern(2))
    before = snapshot(tmp_path)
    assert main(["encode", str(source), str(tmp_path / "v.garv"), *QUICK]) == cli.INTERRUPTED
    assert "nothing was written" in capsys.readouterr().err
    assert snapshot(tmp_path) == before


def test_ctrl_c_while_measuring_keeps_the_file(tmp_path, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(encoding, "report", interrupt)
    source, path = media.make_video(tmp_path / "v.mp4", media.pattern(2)), tmp_path / "v.garv"
    assert main(["encode", str(source), str(path), *QUICK]) == cli.INTERRUPTED
    assert "is complete" in capsys.readouterr().err
    assert len(VideoDecoder(path, device="cpu")) == 2


def test_ctrl_c_while_fitting_keeps_what_is_fitted(tmp_path):
    """A real process on a terminal, interrupted once it shows how far it is."""
    source, path = media.make_video(tmp_path / "v.mp4"), tmp_path / "v.garv"
    command = [sys.executable, "-m", "garv_gsplat.cli", "encode", str(source), str(path), *QUICK]
    screen, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, "--steps", "1000000"], stdout=subprocess.PIPE, stderr=terminal, env=environment, text=True
    )
    os.close(terminal)
    watchdog = threading.Timer(240, process.kill)
    watchdog.start()
    shown = ""
    try:
        while not re.search(r"[1-9]\d*/1000000", shown):
            shown += os.read(screen, 4096).decode(errors="replace")
        process.send_signal(signal.SIGINT)
        shown += read_all(screen)
        output = process.communicate()[0]
    finally:
        watchdog.cancel()
        process.kill()
        os.close(screen)
    assert process.returncode == cli.INTERRUPTED, shown
    assert f"{path} holds what was fitted so far" in " ".join(shown.split())
    assert "Traceback" not in shown
    assert "dB" in shown
    assert re.search(r"ETA +\d+:\d\d", re.sub(r"\x1b\[[\d;]*m", "", shown)), "time left"
    assert output.startswith(f"{path}: ")
    assert len(output.splitlines()) == 1
    assert main(["info", str(path)]) == 0
    assert main(["decode", str(path), "--output", str(tmp_path / "out.mp4")]) == 0


def read_all(screen: int) -> str:
    """What a terminal shows until its last program has left it."""
    shown = ""
    try:
        while data := os.read(screen, 4096):
            shown += data.decode(errors="replace")
    except OSError:  # how Linux says that nothing has the terminal open any more
        pass
    return shown
