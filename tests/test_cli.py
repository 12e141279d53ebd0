"""The command line: odd input from video to file and back, and help that is quick."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from garv_gsplat import (
    PRESETS,
    FitConfig,
    GarvFile,
    VideoDecoder,
    VideoGaussians,
    VideoInfo,
    __version__,
    codec,
    load,
    read_info,
    read_video,
    save,
)
from garv_gsplat.cli import BAD_INPUT, main
from garv_gsplat.cli.encode import Encode
from garv_gsplat.metrics import psnr
from garv_gsplat.video import read_tracks
from tests import media
from tests.media_tracks import Sound, Text, look, make_with_tracks

QUICK = ("--steps", "3", "--num-gaussians", "40", "--device", "cpu")


def make_images(path: Path) -> Path:
    return media.make_images(path, media.pattern(3))


ODD = {
    "one frame": (media.make_one_frame, "v.mp4", (64, 48, 1), None),
    "one pixel": (media.make_one_pixel, "v.mp4", (1, 1, 3), None),
    "odd size": (media.make_odd_size, "v.mp4", (177, 99, 5), None),
    "rotated": (media.make_rotated, "v.mp4", (48, 64, 6), "turned upright"),
    "variable rate": (media.make_variable_rate, "v.mp4", (64, 48, 8), None),
    "10 bit": (media.make_ten_bit, "v.mp4", (64, 48, 4), "taken as 8-bit RGB"),
    "grey": (media.make_grey, "v.mkv", (64, 48, 4), "taken as 8-bit RGB"),
    "cut": (media.make_truncated, "v.mp4", None, "damaged"),
    "images": (make_images, "frames", (64, 48, 3), None),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_input(tmp_path, capsys, name):
    make, file, size, note = ODD[name]
    source = make(tmp_path / file)
    path, copy = tmp_path / "v.garv", tmp_path / "copy.mp4"
    assert main(["encode", str(source), str(path), *QUICK]) == 0
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 1, "one summary line"
    for part in (str(path), "bytes", "bpp", "dB", "frames/s"):
        assert part in output.out
    assert note is None or note in output.err
    assert "of memory on cpu" in output.err

    assert main(["decode", str(path), "--output", str(copy)]) == 0
    info, decoded = read_info(source), read_info(copy)
    assert size is None or (info.width, info.height, info.frames) == size
    assert (decoded.width, decoded.height, decoded.frames) == (info.width, info.height, info.frames)
    assert decoded.timestamps == info.timestamps
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({file, "v.garv", "copy.mp4"})


def test_summary_is_what_the_file_gives(tmp_path, capsys):
    source = media.make_video(tmp_path / "v.mp4")
    path = tmp_path / "v.garv"
    assert main(["encode", str(source), str(path), "--steps", "30", "--bpp", "1", "--device", "cpu"]) == 0
    line = capsys.readouterr().out
    size, info = path.stat().st_size, read_info(source)
    quality = psnr(VideoDecoder(path, device="cpu", dimension_order="NHWC")[:], read_video(source).frames)
    assert f"{path}: {size:,} bytes, {8 * size / info.pixels:.4f} bpp, {quality:.2f} dB, " in line
    assert 8 * size <= info.pixels, "more than --bpp asked for"
    assert quality > 20


@pytest.mark.parametrize("codec", ["sog", "paper16-8-8"])
def test_a_codec_that_was_asked_for(tmp_path, capsys, codec):
    source = media.make_video(tmp_path / "v.mp4", media.pattern(2))
    path = tmp_path / "v.garv"
    assert main(["encode", str(source), str(path), *QUICK, "--codec", codec]) == 0
    capsys.readouterr()
    assert main(["info", str(path)]) == 0
    assert codec in capsys.readouterr().out


def test_a_size_that_no_file_reaches_is_said(tmp_path, capsys):
    source = media.make_video(tmp_path / "v.mp4", media.pattern(2))
    arguments = [str(source), str(tmp_path / "v.garv"), "--steps", "2", "--bpp", "1e-9", "--device", "cpu"]
    assert main(["encode", *arguments]) == 0
    assert "1e-09 bpp cannot be reached" in capsys.readouterr().err
    assert main(["encode", *arguments, "--num-gaussians", "2"]) == 0
    assert "cannot be reached" not in capsys.readouterr().err


def test_part_of_a_video(tmp_path):
    source = media.make_video(tmp_path / "v.mp4", media.pattern(25))
    path = tmp_path / "v.garv"
    assert main(["encode", str(source), str(path), *QUICK, "--start", "0.2", "--duration", "0.4"]) == 0
    assert len(VideoDecoder(path, device="cpu")) == 10


def test_frame_rate_of_images(tmp_path):
    path = tmp_path / "v.garv"
    assert main(["encode", str(make_images(tmp_path / "f")), str(path), *QUICK, "--frame-rate", "12.5"]) == 0
    assert load(path).info.frame_rate == 12.5


def test_deterministic(tmp_path, device):
    source = media.make_video(tmp_path / "v.mp4")
    paths = [tmp_path / "a.garv", tmp_path / "b.garv"]
    for path in paths:
        arguments = ["--steps", "30", "--num-gaussians", "200", "--device", str(device), "--deterministic"]
        assert main(["encode", str(source), str(path), *arguments]) == 0
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_sound_goes_through_encode_and_decode(tmp_path, capsys):
    source, path, copy = make_with_tracks(tmp_path / "v.mp4", Sound(), Text("mov_text")), tmp_path / "v.garv", "c.mp4"
    assert main(["encode", str(source), str(path), *QUICK]) == 0
    assert main(["decode", str(path), "--output", str(tmp_path / copy), "--device", "cpu"]) == 0
    assert read_tracks(tmp_path / copy) == read_tracks(source)
    capsys.readouterr()
    assert main(["info", str(path)]) == 0
    assert f"{len(read_tracks(source)):,} of them sound and subtitles" in capsys.readouterr().out
    assert main(["decode", str(path), "--output", str(tmp_path / copy), "--device", "cpu", "--no-audio"]) == 0
    assert read_tracks(tmp_path / copy) is None
    assert main(["encode", str(source), str(path), *QUICK, "--no-audio"]) == 0
    assert GarvFile(path).tracks() is None


def test_decode_to_images(tmp_path):
    path, folder = tmp_path / "v.garv", tmp_path / "images"
    assert main(["encode", str(media.make_odd_size(tmp_path / "v.mp4")), str(path), *QUICK]) == 0
    assert main(["decode", str(path), "--output", str(folder), "--device", "cpu"]) == 0
    decoded = VideoDecoder(path, device="cpu", dimension_order="NHWC")[:].numpy()
    images = [np.asarray(Image.open(p)) for p in sorted(folder.iterdir())]
    np.testing.assert_array_equal(np.stack(images), decoded)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images", "v.garv", "v.mp4"]


def test_decode_with_sound_and_subtitles(tmp_path, capsys):
    source, path = make_with_tracks(tmp_path / "v.mkv", Sound(), Text("ass")), tmp_path / "v.garv"
    assert main(["encode", str(source), str(path), *QUICK]) == 0
    for name, note, more in (
        ("a.mkv", "", []),
        ("a.mp4", "subtitles (ass) left out", []),
        ("a", "only .mp4 and .mkv hold them", []),
        ("part.mkv", "they belong to the whole video", ["--frames", "0", "2"]),
    ):
        capsys.readouterr()
        assert main(["decode", str(path), "--output", str(tmp_path / name), "--device", "cpu", *more]) == 0
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == bool(note)
        assert all(line.startswith("garv: note: ") and note in line for line in lines)
    assert [s.kind for s in look(tmp_path / "a.mkv")] == ["video", "audio", "subtitle"]
    assert [s.kind for s in look(tmp_path / "a.mp4")] == ["video", "audio"]


def test_info(tmp_path, capsys):
    source, path = media.make_variable_rate(tmp_path / "v.mp4"), tmp_path / "v.garv"
    assert main(["encode", str(source), str(path), *QUICK]) == 0
    capsys.readouterr()
    assert main(["info", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    size = path.stat().st_size
    assert (facts["width"], facts["height"], facts["frames"]) == (64, 48, 8)
    assert 30 < facts["num_gaussians"] <= 40 and facts["format_version"] == 1
    assert facts["bytes"] == size
    assert facts["bits_per_pixel"] == 8 * size / (64 * 48 * 8)
    assert facts["bits_per_gaussian"] == 8 * size / facts["num_gaussians"]
    assert not facts["constant_frame_rate"] and facts["motion_pixels"] is None
    assert 0 < sum(facts["layer_bytes"]) < size
    assert set(facts["kernels"]) == {"CPU", "CUDA"}
    assert main(["info", str(path)]) == 0
    text = capsys.readouterr().out
    for part in ("64x48", "8 frames", f"{size:,} bytes", "bits per pixel", "CPU", "CUDA"):
        assert part in text


def test_info_of_a_plane_that_moves(tmp_path, capsys):
    path, maps = tmp_path / "v.garv", [(1.0, 0.0, 0.0, 1.0, 3 / 32 * k, 4 / 16 * k) for k in (0, 1, 0, -1)]
    info = VideoInfo(32, 16, 4, motion=tuple(maps))
    save(path, VideoGaussians(torch.rand(5, 3), torch.full((5, 6), 0.1), torch.rand(5, 3), info))
    assert main(["info", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["format_version"], facts["motion_pixels"]) == (2, 15.0)
    assert main(["info", str(path)]) == 0
    assert "moving: the middle of the picture goes 15.0 pixels" in capsys.readouterr().out


def test_info_of_a_file_with_sound(tmp_path, capsys):
    path = tmp_path / "v.garv"
    gaussians = VideoGaussians(torch.rand(5, 3), torch.full((5, 6), 0.1), torch.rand(5, 3), VideoInfo(32, 16, 4))
    data = codec.encode(gaussians, tracks=bytes(3000))
    save(path, data)
    assert main(["info", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["bytes"], facts["track_bytes"]) == (len(data), 3000)
    assert facts["bits_per_pixel"] == 8 * (len(data) - 3000) / (32 * 16 * 4)
    assert main(["info", str(path)]) == 0
    assert f"{len(data):,} bytes, 3,000 of them sound and subtitles" in capsys.readouterr().out
    save(path, data[:-1] + b"?")
    assert main(["info", str(path)]) == BAD_INPUT
    assert "tracks" in capsys.readouterr().err


def test_presets(tmp_path, capsys):
    assert Encode(Path(), Path())._config() == FitConfig()
    assert Encode(Path(), Path(), global_motion=False)._config() == FitConfig(global_motion=False)
    assert not Encode(Path(), Path(), "garv-paper")._config().global_motion
    with pytest.raises(SystemExit):
        main(["encode", "--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in PRESETS)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"garv {__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["encode", "--help"], ["compare", "--help"], ["bench", "--help"]])
def test_help_is_quick(arguments):
    """In half a second where importing tyro takes a quarter of one, as on a machine that does nothing else."""
    help_seconds, tyro_seconds = [], []
    for _ in range(5):
        help_seconds.append(processor_seconds("-m", "garv_gsplat.cli", *arguments, says="usage: garv"))
        tyro_seconds.append(processor_seconds("-c", "import tyro"))
    assert min(help_seconds) < 2.5 * min(tyro_seconds)


def processor_seconds(*arguments: str, says: str = "") -> float:
    """Time on the processor that Python takes: other programs on the machine do not count."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, *arguments]
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert says in output
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_output_that_is_no_terminal_is_not_flooded(tmp_path):
    source = media.make_video(tmp_path / "v.mp4")
    command = [sys.executable, "-m", "garv_gsplat.cli", "encode", str(source), str(tmp_path / "v.garv"), *QUICK]
    result = subprocess.run([*command, "--steps", "200"], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 1
    (line,) = result.stderr.splitlines()
    assert "of memory on cpu" in line
