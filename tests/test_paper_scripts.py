"""The scripts of the paper's experiments at toy size: what they write, what they share, and the page made of it."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

from garv_gsplat import VideoError, VideoInfo, load
from garv_gsplat.fitting import FitConfig, seen_frames
from garv_gsplat.fitting.initialization import draw_from_video
from garv_gsplat.fitting.parametrization import MIN_TEMPORAL_SIGMA, LogCholesky
from tests import media
from tests.test_examples import EXAMPLES, size_of

SCRIPTS = EXAMPLES / "benchmarks" / "paper"
sys.path.append(str(SCRIPTS))  # as Python does for a command; they import each other by name
EXPERIMENTS = {
    "cholesky": "Cholesky",
    "davis": "Davis",
    "decoding_cost": "DecodingCost",
    "denoising": "Denoising",
    "foveation": "Foveation",
    "interpolation": "Interpolation",
    "line_scan": "LineScan",
    "partial_decoding": "PartialDecoding",
    "peer": "Peer",
    "rate_distortion": "RateDistortion",
    "slicing": "Slicing",
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call is timed once, not for a second."""

    def once(self, work, device=None):
        work()
        return 0.5

    monkeypatch.setattr(import_module("experiment").Experiment, "seconds", once)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.make_video(tmp_path_factory.mktemp("clips") / "clip.mp4", media.pattern(8))


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared, as users share it: what one script encodes the next one finds."""
    return tmp_path_factory.mktemp("paper")


def run(name: str, clip: Path, output: Path, **options) -> dict:
    """Run a script on one clip; what its JSON holds."""
    kind = getattr(import_module(name), EXPERIMENTS[name])
    kind((clip,), output, **{"steps": 3, "device": "cpu", **options}).run()
    assert size_of(output / f"{name}.png")[0] > 300
    return json.loads((output / f"{name}.json").read_text())


def test_line_scan(clip, output, capsys):
    result = run("line_scan", clip, output, bpp=1.0)
    (row,) = result["rows"]
    assert row["clip"] == "clip" and row["row"] == 24
    assert row["scan_ms"] == row["frames_ms"] == 500
    assert row["scan_psnr"] == pytest.approx(row["frames_psnr"], abs=0.5)  # the same row, but for roundings
    assert result["clips"] == [{"clip": "clip", "file": "clip.mp4", "width": 64, "height": 48, "frames": 8}]
    assert result["machine"]["device_type"] == "cpu"
    assert result["command"].endswith(f"line_scan.py {clip} --output {output} --steps 3 --device cpu --bpp 1.0")
    assert {row["device"] for row in result["paper"]} == {"RTX A4000"}
    assert "line_scan.json: a line scan in 500.00 ms" in capsys.readouterr().out


def test_encodings_are_shared_and_kept(clip, output):
    run("line_scan", clip, output, bpp=1.0)
    before = (output / "clip_1bpp_3steps.garv").stat().st_mtime_ns
    result = run("davis", clip, output, bpp=(1.0,))
    assert (output / "clip_1bpp_3steps.garv").stat().st_mtime_ns == before
    one, mean = result["rows"]
    assert mean["clip"] == "mean of 1 clips"
    assert mean["psnr"] == one["psnr"] > 10
    assert one["alone_fps"] == 2 and one["batched_fps"] == 16  # half a second a call: a frame, and all eight
    assert one["alone_mb"] is None  # of a GPU


def test_other_frames_are_encoded_under_another_name(clip, tmp_path):
    module = import_module("experiment")
    kept = []

    class Half(module.Experiment):
        name, title, columns, paper = "half", "half", {}, []

        def measure(self, clip):
            kept.append(self.encode(clip, 1.0, frames=clip.video.frames[::2], variant="half"))
            yield {}

        def draw(self, figure, rows): ...

        def summary(self, rows):
            return "done"

    Half((clip,), tmp_path, steps=1, device="cpu").run()
    assert kept == [tmp_path / "clip_half_1bpp_1steps.garv"]
    assert load(kept[0]).info.frames == 4


def test_foveation(clip, output):
    rows = run("foveation", clip, output, high=1.0, low=0.5, part=0.25, windows=1)["rows"]
    assert [row["window"] for row in rows] == ["still 1", "jumps every 0.5 s"]
    assert all(row["inside_psnr"] == pytest.approx(row["high_psnr"], abs=1.0) for row in rows)
    assert all(row["outside_psnr"] == pytest.approx(row["low_psnr"], abs=3.0) for row in rows)
    assert all(0 < row["taken"] < 1 and row["mix_ms"] == 500 and row["batched_fps"] == 16 for row in rows)


def test_peer(clip, output):
    ours, theirs = run("peer", clip, output, bpp=1.0)["rows"]
    assert theirs["by"] in ("PyAV", "TorchCodec")
    assert theirs["file"]["gop"] == 250
    assert theirs["psnr"] > 35, "the frames that were asked for, and no others"
    assert ours["psnr"] > 10
    assert theirs["random_fps"] == 20 and theirs["sequential_fps"] == 16


def test_peer_decodes_the_frames_that_are_asked_for(clip):
    decoders = import_module("peer_decoders")
    decoder, frames = decoders.PyAV(clip), torch.from_numpy(media.pattern(8))
    for index in (5, 0, 7, 2):
        errors = (decoder.frame(index).int() - frames.int()).abs().float().mean((1, 2, 3))
        assert errors.argmin() == index
    assert torch.equal(decoder.first(3, (4, 2, 10, 6)), decoder.first(3, None)[:, 2:8, 4:14])


def test_cholesky(clip, tmp_path):
    rows = run("cholesky", clip, tmp_path, num_gaussians=20, part=(16, 16, 4), factors=(0.5, 1.0))["rows"]
    assert [row["shapes"] for row in rows] == ["Cholesky factor", "rotation and scale"]
    assert all(row["psnr"] >= row["worst_psnr"] > 5 and len(row["curve"]) == 3 for row in rows)


def test_rotation_and_scale_start_from_the_same_gaussians():
    info = VideoInfo(64, 48, 8)
    start = draw_from_video(seen_frames(torch.from_numpy(media.pattern(8)), FitConfig()), 30, seed=0)
    other = import_module("rotation_scale").RotationScale(info)
    first, second = (way(way.inverse(*start)) for way in (LogCholesky(info, MIN_TEMPORAL_SIGMA), other))
    for a, b in zip(first, second):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)  # a logarithm and its exponential in float32


def test_rotations_turn_covariances():
    """A quarter turn in the plane of x and y swaps the two widths; in general the covariance is R S^2 R^T."""
    module = import_module("rotation_scale")
    way = module.RotationScale(VideoInfo(8, 8, 8))
    scales = torch.tensor([[2.0, 3.0, 5.0]])
    for quaternion in ([1.0, 1.0, 0.0, 0.0], [0.4, -0.3, 0.8, 0.2]):  # the first turns about t
        row = torch.cat([torch.zeros(1, 3), scales.log(), torch.tensor([quaternion]), torch.ones(1, 3)], 1)
        tt, xt, yt, xx, yx, yy = way(row)[1][0].tolist()
        factor = torch.tensor([[tt, 0, 0], [xt, xx, 0], [yt, yx, yy]])
        w, *axis = torch.nn.functional.normalize(torch.tensor(quaternion), dim=0)
        cross = torch.tensor([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
        turn = torch.eye(3) + 2 * w * cross + 2 * cross @ cross  # Rodrigues
        torch.testing.assert_close(factor @ factor.mT, turn @ scales.square().diag_embed()[0] @ turn.mT)


@pytest.mark.parametrize(
    ("name", "options", "rows"),
    [
        ("decoding_cost", {"bpp": (1.0,)}, 1),
        ("partial_decoding", {"bpp": 1.0, "fractions": (0.25, 1.0)}, 2),
        ("slicing", {"bpp": 1.0}, 6),
        ("rate_distortion", {"bpp": (1.0,), "encoders": ("x264",), "encoder_preset": "ultrafast"}, 2),
    ],
)
def test_the_others(name, options, rows, clip, output):
    result = run(name, clip, output, **options)
    assert len(result["rows"]) == rows
    keys = {key for row in result["rows"] + result["paper"] for key in row}
    assert set(result["columns"]) <= keys


def test_what_cannot_be_read_ends_in_one_line(tmp_path, monkeypatch):
    module = import_module("experiment")
    (tmp_path / "notes.txt").touch()
    monkeypatch.setattr("sys.argv", ["line_scan.py", str(tmp_path), "--output", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="holds no video"):
        module.main(import_module("line_scan").LineScan)
    with pytest.raises(VideoError, match="holds no video"):
        module.find_videos([tmp_path])


def test_every_script_is_tested():
    scripts = {path.stem for path in SCRIPTS.glob("*.py") if "\n    main(" in path.read_text()}
    assert scripts == set(EXPERIMENTS)


def test_page(tmp_path):
    result = {
        "experiment": "scan",
        "title": "A scan (section 1)",
        "about": "How it is done.",
        "command": "python scan.py clip.mp4",
        "machine": {"device": "2 threads", "garv_gsplat": "0.1", "torch": "2"},
        "clips": [{"clip": "clip", "file": "clip.mp4", "width": 64, "height": 48, "frames": 8}],
        "columns": {"ms": ["scan, ms", ".1f"], "mb": ["memory, MB", ".0f"]},
        "rows": [{"clip": "clip", "ms": 1.25, "mb": None}, {"clip": "clip", "by": "PyAV", "device": "CPU", "ms": 2}],
        "paper": [{"by": "GaRV", "clip": "UVG", "device": "RTX A4000", "ms": "7 to 8"}],
    }
    folder = tmp_path / "results" / "paper"
    folder.mkdir(parents=True)
    (folder / "scan.json").write_text(json.dumps(result))
    import_module("page").main(folder, tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert table == [
        "| by | clip | device | scan, ms |",
        "| --- | --- | --- | --- |",
        "| garv-gsplat | clip | 2 threads | 1.2 |",
        "| PyAV | clip | CPU | 2.0 |",
        "| GaRV (paper) | UVG | RTX A4000 | 7 to 8 |",
    ]
    assert "![A scan (section 1)](results/paper/scan.png)" in text
    assert "clip.mp4 (64x48, 8 frames)" in text and "python scan.py clip.mp4" in text


def test_the_page_is_the_generated_one():
    page, root = import_module("page"), EXAMPLES.parent
    results = [json.loads(path.read_text()) for path in sorted((root / "docs/results/paper").glob("*.json"))]
    assert (root / "docs/paper.md").read_text() == page.page(results, "results/paper")
    for figure in (root / "docs/results/paper").glob("*.png"):
        assert figure.stat().st_size < 100_000, figure
