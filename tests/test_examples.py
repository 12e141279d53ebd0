"""The examples run as they are, on a small clip and with few steps."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from garv_gsplat import GarvFile, VideoDecoder, read_info
from garv_gsplat.bench.timing import Patience
from garv_gsplat.codec import truncate
from tests import media

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name: str) -> ModuleType:
    """Load an example; its file name is no Python name. What lies beside it can be imported, as by a command."""
    path = EXAMPLES / f"{name}.py"
    if (folder := str(path.parent)) not in sys.path:
        sys.path.append(folder)
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the first example has run."""
    folder = tmp_path_factory.mktemp("examples")
    source = media.make_video(folder / "clip.mp4")
    example("00_encode_and_decode").main(video=source, output_dir=folder, steps=5)
    return folder


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_encode_and_decode(encoded):
    decoded, source = read_info(encoded / "clip_decoded.mp4"), read_info(encoded / "clip.mp4")
    assert replace(decoded, color=source.color) == source  # a written file names the colours that its source left open
    assert len(VideoDecoder(encoded / "clip.garv", device="cpu")) == source.frames


def test_the_demo_clip_is_there():
    clip = example("00_encode_and_decode").CLIP
    info = read_info(clip)
    assert (info.width, info.height, info.frames) == (320, 180, 48)
    assert clip.name in (EXAMPLES / "demo.sh").read_text()


def test_frames_times_and_crops(encoded, tmp_path):
    example("01_frames_times_and_crops").main(file=encoded / "clip.garv", output_dir=tmp_path)
    sizes = {path.stem: size_of(path) for path in tmp_path.iterdir()}
    full = {"frame": (64, 48), "between": (64, 48), "crop": (32, 24), "crop_4x": (128, 96), "thumbnail": (16, 12)}
    assert sizes == full
    assert np.asarray(Image.open(tmp_path / "frame.png")).std() > 5


def test_fit_an_array(tmp_path, capsys):
    example("02_fit_an_array").main(output_dir=tmp_path, steps=150)
    decoder = VideoDecoder(tmp_path / "blobs.garv", device="cpu")
    assert decoder.metadata.channels == 1
    assert f"brightest of {decoder.num_gaussians} Gaussians" in capsys.readouterr().out


def test_line_scan_and_zoom(encoded, tmp_path):
    example("03_line_scan_and_zoom").main(file=encoded / "clip.garv", output_dir=tmp_path)
    assert size_of(tmp_path / "scan_of_a_row.png") == (64, 24)
    assert size_of(tmp_path / "scan_of_a_column.png") == (12, 48)
    assert size_of(tmp_path / "leaning.png") == (64, 48)
    assert read_info(tmp_path / "zoom.mp4").frames == 12


def test_foveated_stream(encoded, tmp_path, capsys):
    low = tmp_path / "low.garv"
    low.write_bytes(truncate(GarvFile(encoded / "clip.garv"), 2000))
    example("04_foveated_stream").main(high=encoded / "clip.garv", low=low, output_dir=tmp_path, viewers=2)
    for name in ("foveated", "switched"):
        assert len(VideoDecoder(tmp_path / f"{name}.garv", device="cpu")) == 12
    assert capsys.readouterr().out.count("viewer ") == 2


def test_measure(encoded, tmp_path):
    measure = example("benchmarks/measure")
    output = tmp_path / "clip.json"
    measure.main(encoded / "clip.mp4", encoded / "clip.garv", output, command="a command", fit_seconds=1.5)
    row = json.loads(output.read_text())
    assert row["bytes"] == (encoded / "clip.garv").stat().st_size
    assert row["bpp"] == 8 * row["bytes"] / (64 * 48 * 12)
    assert (row["clip"], row["command"], row["fit_seconds"]) == ("clip", "a command", 1.5)
    assert row["psnr"] > 10
    assert row["decode_fps"] > 0
    assert row["ms_ssim"] is None
    line = example("benchmarks/results_table").table([row])
    assert f"| clip, 64x48, 12 frames | `a command` | {row['device']} | 1.5 s | {row['bytes']:,} bytes |" in line


def test_operations(tmp_path, capsys, device, monkeypatch):
    operations = example("benchmarks/operations")
    monkeypatch.setattr(operations, "PATIENCE", Patience(seconds=0.01))
    output = tmp_path / "new" / "operations.json"
    operations.main(output, scale=0.03, device=str(device))
    facts = json.loads(output.read_text())
    assert facts["machine"]["device_type"] == device.type
    assert facts["scene"] == {"width": 58, "height": 32, "frames": 600, "num_gaussians": 900}
    rows = {(row.pop("operation"), row.pop("case")): row for row in facts["rows"]}
    assert len(rows) == len(facts["rows"])
    scans, mixes = ("rows", "half rows", "columns"), ("one box", "a jumping gaze", "a moving region")
    ways = ("whole frames", "crop=", "after pre-discard")
    counts = (1, 32)  # one launch draws as many frames of this size
    assert set(rows) == {
        ("opening", "to a first frame"),
        *(("pre-discard", case) for case in ("all frames", "32 frames")),
        *(("crop", f"{way}, {count} a call") for way in ways for count in counts),
        *(("memory", case) for case in ("whole frames", "whole frames, as of a file", "after pre-discard")),
        *(("line scan", case) for case in scans),
        *(("line scan, moving plane", case) for case in scans),
        *(("mix", case) for case in (*mixes, "a gaze new each time")),
        *(("frames of a mix", f"{count} a call") for count in counts),
    }
    for (operation, _), row in rows.items():
        times = row.pop("seconds")
        assert (times is None) == (operation == "memory")
        assert times is None or 0 < times["lower_quartile"] <= times["median"] <= times["upper_quartile"]
        for name, value in row.items():
            assert value is None if name.endswith("_mb") and device.type == "cpu" else value > 0
    assert rows["mix", "one box"]["boxes"] == 1 < rows["mix", "a jumping gaze"]["boxes"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith(f"{output}: {len(rows)} measurements on {facts['machine']['device']}; opening ")
    assert len(lines) == len(rows) + 1


@pytest.mark.cuda
def test_memory(tmp_path, capsys):
    output = tmp_path / "memory.json"
    example("benchmarks/memory").main(output, num_gaussians=20_000)
    facts = json.loads(output.read_text())
    assert facts["num_gaussians"] == 20_000 and facts["machine"]["device_type"] == "cuda"
    assert facts["tensors_mb"] > 0 and facts["context_mb"] > 0  # the process of the tests may keep enough already
    assert capsys.readouterr().out.startswith(f"{output}: 20,000 Gaussians, ")


def test_memory_needs_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="torch sees none"):
        example("benchmarks/memory").main(tmp_path / "memory.json")


def test_random_clips(encoded, capsys):
    random_clips = example("05_random_clips")
    options = {"frames": 3, "size": 16, "batch": 2, "steps": 2}
    random_clips.main((encoded / "clip.garv",), **options, workers=0)
    assert "step 2/2: loss" in capsys.readouterr().out
    torch.manual_seed(0)
    clips = iter(random_clips.RandomClips((encoded / "clip.garv",), 3, (16, 24)))
    first, second = next(clips), next(clips)
    assert first.shape == (3, 3, 24, 16) and first.dtype == torch.uint8
    assert not torch.equal(first, second)


def test_random_clips_by_workers(encoded):
    """As a command, because a process that is spawned imports what it runs by name."""
    command = [sys.executable, EXAMPLES / "05_random_clips.py", "--files", encoded / "clip.garv", "--steps", "2"]
    options = ["--size", "16", "--frames", "2", "--workers", "1"]
    done = subprocess.run([*map(str, command), *options], check=True, capture_output=True, text=True)
    assert "step 2/2: loss" in done.stdout


def test_every_example_is_short_and_tested():
    numbered = sorted(EXAMPLES.glob("[0-9][0-9]_*.py"))
    assert [path.name[:2] for path in numbered] == ["00", "01", "02", "03", "04", "05"]
    for path in numbered:
        assert 40 <= len(path.read_text().splitlines()) <= 70
        assert f'example("{path.stem}")' in Path(__file__).read_text()
