"""The command line on parts of a video: which frames, which pixels, where to, and what is refused."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from garv_gsplat import VideoDecoder, VideoInfo, read_info, save
from garv_gsplat.cli import main
from tests.codec.samples import fitted_like
from tests.test_cli_errors import assert_refused

INFO = VideoInfo(64, 48, 20, 10)


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("parts") / "v.garv"
    save(path, fitted_like(200, INFO))
    return path


@pytest.fixture(scope="module")
def decoder(file) -> VideoDecoder:
    return VideoDecoder(file, device="cpu", dimension_order="NHWC")


def run(*arguments: object) -> None:
    assert main([str(a) for a in arguments]) == 0


def images(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.iterdir())])


def test_parts_as_images(tmp_path, file, decoder):
    run("decode", file, "--output", tmp_path / "a", "--frames", 3, 7, "--crop", 8, 4, 32, 24, "--device", "cpu")
    assert np.array_equal(images(tmp_path / "a"), decoder.get_frames_in_range(3, 7, crop=(8, 4, 32, 24)).data)
    run("decode", file, "--output", tmp_path / "b", "--time", 0.5, 0.8, "--size", 16, 12, "--device", "cpu")
    assert np.array_equal(images(tmp_path / "b"), decoder.get_frames_in_range(5, 8, size=(16, 12)).data)
    run("decode", file, "--output", tmp_path / "c", "--frames", 4, 6, "--fps", 20, "--device", "cpu")
    assert np.array_equal(images(tmp_path / "c"), decoder.get_frames_at([4, 4.5, 5, 5.5]).data)


def test_a_part_as_a_video(tmp_path, file, capsys):
    run("decode", file, "--output", tmp_path / "v.mp4", "--time", 0.5, 1.5, "--fps", 40, "--device", "cpu")
    info = read_info(tmp_path / "v.mp4")
    assert (info.frames, info.frame_rate) == (40, 40)
    assert capsys.readouterr().out == f"{tmp_path / 'v.mp4'}: 40 frames of 64x48\n"


def test_raw_frames_on_stdout(file, decoder, capfdbinary):
    run("decode", file, "--output", "-", "--raw", "--frames", 2, 5, "--device", "cpu")
    output = capfdbinary.readouterr()
    assert output.out == decoder[2:5].numpy().tobytes()
    assert output.err == b"garv: -: 3 frames of 64x48\n"


def test_y4m_on_stdout(file, decoder, capfdbinary):
    run("decode", file, "--output", "-", "--frames", 2, 5, "--device", "cpu")
    with av.open(io.BytesIO(capfdbinary.readouterr().out), format="yuv4mpegpipe") as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (64, 48, 10)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    # Clipped to what YUV of 16 to 235 holds and rounded three times, each by half a level of up to 2 levels of RGB
    error = np.abs(np.stack(frames).astype(int) - decoder[2:5].numpy())
    assert len(frames) == 3 and error.mean() < 1 and error.max() <= 4


def test_crop(tmp_path, file, decoder, capsys):
    path = tmp_path / "cut.garv"
    run("crop", file, path, "--crop", 16, 8, 32, 24, "--time", 0.5, 1.5)
    cut = VideoDecoder(path, device="cpu", dimension_order="NHWC")
    assert (cut.metadata.width, cut.metadata.height, len(cut), cut.metadata.frame_rate) == (32, 24, 10, 10)
    wanted = decoder.get_frames_in_range(5, 15, crop=(16, 8, 32, 24)).data
    assert (cut[:].float() - wanted.float()).square().mean().sqrt() < 3  # levels: Gaussians are rounded once more
    line = capsys.readouterr().out
    assert line.startswith(f"{path}: {path.stat().st_size:,} of {file.stat().st_size:,} bytes, 10 frames of 32x24, ")


def test_scan(tmp_path, file, decoder, capsys):
    run("scan", file, "--output", tmp_path / "row.png", "--at", 20, "--device", "cpu")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "row.png")), decoder.line_scan("y", 20))
    run("scan", file, "--output", tmp_path / "c.png", "--axis", "x", "--at", 7.5, "--size", 40, 48, "--device", "cpu")
    assert np.asarray(Image.open(tmp_path / "c.png")).shape == (48, 40, 3)
    assert capsys.readouterr().out.splitlines()[-1] == f"{tmp_path / 'c.png'}: x = 7.5 over 20 frames, 40x48"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["decode", "--output", "o.mp4", "--frames", "5", "5"], "--frames must rise within 0 to 20, got 5 5"),
        (["decode", "--output", "o.mp4", "--frames", "5", "21"], "--frames must rise within 0 to 20, got 5 21"),
        (["decode", "--output", "o.mp4", "--time", "1", "3"], "from 1.0 to 3.0 s: the video takes from 0 to 2 s"),
        (["decode", "--output", "o.mp4", "--time", "1", "1"], "--time 1 1 shows no frame"),
        (["decode", "--output", "o.mp4", "--time", "1", "2", "--frames", "1", "2"], "give one of them"),
        (["decode", "--output", "o.mp4", "--fps", "0"], "fps must be a positive number"),
        (["decode", "--output", "o.mp4", "--crop", "0", "0", "0", "5"], "crop must hold a pixel"),
        (["decode", "--output", "o.mp4", "--crop", "60", "0", "5", "5"], "leaves the video: x + w is 0 to 64"),
        (["decode", "--output", "o.mp4", "--size", "0", "5"], "size must be at least 1x1"),
        (["decode", "--output", "o.mp4", "--raw"], "--raw goes with --output - alone"),
        (["crop", "o.mp4", "--frames", "1", "2"], "must end in .garv"),
        (["crop", "o.garv", "--crop", "60", "0", "5", "5"], "leaves the video"),
        (["crop", "o.garv", "--frames", "7", "3"], "--frames must rise"),
        (["crop", "missing/o.garv", "--frames", "1", "2"], "folder"),
        (["scan", "--output", "o.jpg", "--at", "3"], "must end in .png"),
        (["scan", "--output", "missing/o.png", "--at", "3"], "no folder"),
        (["scan", "--output", "o.png", "--at", "48"], "y = 48.0 is not in the video: y is 0 to 47"),
    ],
)
def test_what_is_refused(tmp_path, monkeypatch, capsys, file, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert_refused(capsys, tmp_path, [arguments[0], file, *arguments[1:]], message)


def test_only_rgb_goes_to_another_program(tmp_path, capsys):
    save(tmp_path / "grey.garv", fitted_like(20, VideoInfo(8, 8, 2, channels=1)))
    assert_refused(capsys, tmp_path, ["decode", tmp_path / "grey.garv", "--output", "-"], "the video has 1 channels")


@pytest.mark.parametrize("command", ["decode", "crop", "scan"])
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert f"Example: garv {command} video.garv" in capsys.readouterr().out
