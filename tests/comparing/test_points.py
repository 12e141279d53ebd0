"""Points: what is counted, and that a video is measured as a .garv is; the plot of them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from garv_gsplat import GarvFile, VideoDecoder, VideoGaussians, VideoInfo, read_video, save
from garv_gsplat.codec import encode
from garv_gsplat.comparing import (
    Clip,
    Panel,
    Point,
    check_size,
    curves,
    measure,
    measure_baseline,
    measured,
    read_clip,
    save_plot,
)
from garv_gsplat.metrics import psnr, temporal_consistency
from garv_gsplat.video import VideoError
from tests import media

CPU = torch.device("cpu")


def make_garv(path: Path, info: VideoInfo, tracks: bytes | None = None) -> Path:
    """A few grey blobs, with sound if given."""
    generator = torch.Generator().manual_seed(0)
    means = torch.rand(50, 3, generator=generator)
    cholesky = torch.tensor([0.5, 0.0, 0.0, 0.2, 0.0, 0.2]).repeat(50, 1)
    save(path, encode(VideoGaussians(means, cholesky, torch.full((50, 3), 0.3), info), tracks=tracks))
    return path


@pytest.fixture
def clip(tmp_path) -> Clip:
    return read_clip(media.make_video(tmp_path / "v.mp4"))


def test_a_garv_is_decoded_and_measured(clip, tmp_path):
    path = make_garv(tmp_path / "v.garv", clip.video.info)
    point = measure(clip, path, CPU)
    decoded = VideoDecoder(path, device="cpu", dimension_order="NHWC")[:]
    assert (point.file, point.curve, point.bytes) == (str(path), "garv", path.stat().st_size)
    assert point.bpp == 8 * point.bytes / (64 * 48 * 12)
    assert point.psnr == pytest.approx(psnr(decoded, clip.video.frames))
    assert point.temporal_consistency == pytest.approx(temporal_consistency(decoded, clip.video.frames))
    assert point.ms_ssim is None  # under 161 pixels
    assert point.decode_fps > 0 and point.peak_mb > 0
    assert (point.decode_device, point.settings) == ("cpu", {})


def test_a_garv_counts_all_but_its_sound(clip, tmp_path):
    path = make_garv(tmp_path / "v.garv", clip.video.info, tracks=bytes(5000))
    point = measure(clip, path, CPU)
    assert point.bytes == path.stat().st_size - 5000
    assert point.bpp == 8 * point.bytes / (64 * 48 * 12) == GarvFile(path.read_bytes()).bits_per_pixel


def test_a_video_counts_its_pictures_alone(clip, tmp_path):
    path = media.make_with_sound(tmp_path / "other.mp4")
    counted: list[int] = []
    point = measure(clip, path, CPU, on_batch=counted.append)
    decoded = read_video(path).frames
    assert (point.curve, point.peak_mb) == ("h264 files", None)
    assert 0 < point.bytes < path.stat().st_size - 1000
    assert point.psnr == pytest.approx(psnr(decoded, clip.video.frames))
    assert point.temporal_consistency == pytest.approx(temporal_consistency(decoded, clip.video.frames))
    assert sum(counted) == 12


def test_the_source_itself_has_no_error(clip):
    point = measure(clip, clip.path, CPU)
    assert (point.psnr, point.temporal_consistency) == (100, 100)


def test_ms_ssim_where_it_is_defined(tmp_path):
    clip = read_clip(media.make_video(tmp_path / "v.mp4", media.pattern(3, 176, 164)))
    assert measure(clip, clip.path, CPU).ms_ssim == pytest.approx(1)


def test_a_baseline(clip, tmp_path):
    folder = tmp_path / "kept"
    folder.mkdir()
    point = measure_baseline(clip, "av1", 0.5, folder, CPU, preset="ultrafast")
    (path,) = folder.iterdir()
    assert point.file == path.name == "v_av1_0.5bpp.mp4"
    assert (point.curve, point.settings["wanted_bpp"], point.settings["preset"]) == ("av1", 0.5, "ultrafast")
    given = measure(clip, path, CPU)  # on a curve of its own, as nothing says how it was made
    assert (given.bytes, given.psnr, given.curve, given.settings) == (point.bytes, point.psnr, "av1 files", {})


@pytest.mark.parametrize(
    ("file", "make"),
    [
        ("w.mp4", lambda path: media.make_video(path, media.pattern(5))),
        ("w.mp4", lambda path: media.make_video(path, media.pattern(12, 32, 24))),
        ("w.garv", lambda path: make_garv(path, VideoInfo(64, 48, 11))),
    ],
)
def test_files_of_another_size(clip, tmp_path, file, make):
    path = make(tmp_path / file)
    for refuse in (lambda: check_size(clip, path), lambda: measure(clip, path, CPU)):
        with pytest.raises(
            VideoError, match=r"holds \d+ frames of \d+x\d+, .*v.mp4 12 frames of 64x48; give"
        ) as raised:
            refuse()
        media.assert_one_line(raised.value, path)


def test_a_video_that_is_damaged_inside(clip, tmp_path):
    path = media.make_video(tmp_path / "w.mp4", options={"crf": "10", "g": "1", "preset": "ultrafast"})
    data = bytearray(path.read_bytes())
    middle = data.index(b"mdat") + 2000
    data[middle : middle + 3000] = b"\xff" * 3000
    path.write_bytes(data)
    with pytest.raises(VideoError, match="w.mp4: .*frames"):
        measure(clip, path, CPU)


def test_images_have_no_rate(clip, tmp_path):
    with pytest.raises(VideoError, match="is made of images"):
        measure(clip, media.make_images(tmp_path / "images"), CPU)


POINT = Point("f", "garv", 1, 0.2, 30.0, None, 28.0, 1.0, "cpu", None)
POINTS = [POINT, replace(POINT, bpp=0.1, psnr=27.0), replace(POINT, curve="x264", bpp=0.15, psnr=29.0)]


def test_curves_rise():
    assert {name: [p.bpp for p in points] for name, points in curves(POINTS).items()} == {
        "garv": [0.1, 0.2],
        "x264": [0.15],
    }


def test_measures_that_all_points_have():
    assert measured(POINTS) == ["psnr", "temporal_consistency"]
    assert measured([replace(POINT, ms_ssim=0.9)]) == ["psnr", "ms_ssim", "temporal_consistency"]


def test_plot(tmp_path):
    panels = [Panel(POINTS, name, name) for name in measured(POINTS)]
    save_plot(tmp_path / "p.png", panels, title="a clip")
    save_plot(tmp_path / "p.svg", panels * 2)
    pixels = np.asarray(Image.open(tmp_path / "p.png").convert("RGB")).reshape(-1, 3)
    for color in ((31, 119, 180), (255, 127, 14)):  # Matplotlib's first two, for the two curves
        assert (pixels == color).all(1).any()
    assert ElementTree.parse(tmp_path / "p.svg").getroot().tag.endswith("svg")


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "garv-gsplat\[compare\]"'):
        save_plot(tmp_path / "p.png", [Panel(POINTS)])
