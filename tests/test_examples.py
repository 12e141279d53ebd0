"""The examples run as they are, on a small clip and with few steps."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from garv_gsplat import PRESETS, GarvFile, VideoDecoder, read_info
from garv_gsplat.codec import truncate
from tests import media

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name: str) -> ModuleType:
    """Load an example; its file name is no Python name."""
    path = EXAMPLES / f"{name}.py"
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


def test_rate_distortion(tmp_path, monkeypatch, capsys):
    """Made in three calls: what is there already is kept, a rate and a clip are added."""
    monkeypatch.setattr(PRESETS["garv"], "steps", 3)
    rate_distortion, plot = example("benchmarks/rate_distortion"), example("benchmarks/rate_distortion_plot")
    clips, output = tmp_path / "clips", tmp_path / "results.json"
    clips.mkdir()
    first = media.make_video(clips / "a.mp4", media.pattern(3))
    (clips / "notes.txt").touch()
    options = {"encoders": ("av1",), "encoder_preset": "ultrafast", "device": "cpu"}
    rate_distortion.main(output, (clips,), bpp=(0.5,), **options)
    points = json.loads(output.read_text())["points"]
    media.make_video(clips / "b.mp4", media.pattern(2))
    capsys.readouterr()
    for _ in range(2):
        rate_distortion.main(output, (clips,), bpp=(0.5, 1.0), **options)
    assert len(capsys.readouterr().out.splitlines()) == 6
    results = json.loads(output.read_text())
    assert results["points"][:2] == points
    assert [point["curve"] for point in results["points"]] == [*["garv", "av1"] * 2, "garv", "garv", "av1", "av1"]
    assert [point["clip"] for point in results["points"]] == [str(first)] * 4 + [str(clips / "b.mp4")] * 4
    assert [point["settings"]["wanted_bpp"] for point in points] == [0.5, 0.5]
    assert results["machine"]["av"]
    plot.main(output, tmp_path / "curves.svg")
    plot.main(output, tmp_path / "curves.png", measure="temporal_consistency")
    assert (tmp_path / "curves.svg").stat().st_size > 0
    assert size_of(tmp_path / "curves.png")[0] > 1000  # two panels

    results["machine"]["torch"] = "0"
    output.write_text(json.dumps(results))
    with pytest.raises(SystemExit, match="was measured elsewhere or with other versions; give another file"):
        rate_distortion.main(output, (clips,), bpp=(0.5,), **options)


def test_every_example_is_short_and_tested():
    numbered = sorted(EXAMPLES.glob("[0-9][0-9]_*.py"))
    assert [path.name[:2] for path in numbered] == ["00", "01", "02", "03", "04"]
    for path in numbered:
        assert 40 <= len(path.read_text().splitlines()) <= 70
        assert f'example("{path.stem}")' in Path(__file__).read_text()
