"""docs/format.md is enough to read a file, and files of every version stay readable."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from garv_gsplat.codec import CODECS, GarvFile, encode, load
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.rendering import rasterization
from garv_gsplat.volume import ColorInfo, VideoInfo
from tests.codec import reader
from tests.codec.samples import fitted_like, moved

DATA = Path(__file__).parent.parent / "data"
TIMES = (Fraction(0), Fraction(1, 30), Fraction(1, 2))


def sorted_rows(gaussians: VideoGaussians) -> np.ndarray:
    """Means, Cholesky factors and colours in pixels and frames [N, 9 + C], in an order that follows from the values."""
    rows = np.concatenate([v.double().numpy() for v in (*gaussians.in_pixels(), gaussians.colors)], 1)
    return rows[np.lexsort(rows.round(4).T)]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    "info",
    [
        VideoInfo(320, 180, 48, Fraction(30000, 1001), color=ColorInfo(1, 13, 1, True), rotation=5),
        VideoInfo(64, 48, 3, Fraction(25), TIMES, color=ColorInfo(full_range=False)),
        VideoInfo(177, 99, 5, channels=1),
        VideoInfo(17, 9, 200, channels=8),
        moved(VideoInfo(320, 180, 48, Fraction(25))),
    ],
)
def test_a_reader_written_from_the_document_agrees(info, codec):
    data = encode(fitted_like(700, info), codec, tracks=b"Matroska")
    read, gaussians = reader.read(data), load(data)
    color = info.color
    assert read["size"] == (info.width, info.height, info.frames, info.channels)
    assert (read["frame_rate"], read["timestamps"]) == (info.frame_rate, info.timestamps)
    assert read["color"] == (color.primaries, color.transfer, color.matrix, color.full_range)
    assert read["motion"] == (info.motion and [list(row) for row in gaussians.info.motion])
    assert (read["rotation"], read["tracks"]) == (info.rotation, b"Matroska")
    theirs = read["gaussians"][np.lexsort(read["gaussians"].round(4).T)]
    # float32 in the unit cube against float64 in pixels
    np.testing.assert_allclose(sorted_rows(gaussians), theirs, rtol=1e-5, atol=2e-4)


@pytest.mark.parametrize("codec", CODECS)
def test_it_agrees_over_many_chunks_and_layers(monkeypatch, codec):
    monkeypatch.setattr("garv_gsplat.codec.partition.SMALLEST", 40)
    data = encode(fitted_like(900, VideoInfo(320, 180, 128)), codec)
    read, gaussians = reader.read(data), load(data)
    assert len(read["reaches"]) > 4
    theirs = read["gaussians"][np.lexsort(read["gaussians"].round(4).T)]
    np.testing.assert_allclose(sorted_rows(gaussians), theirs, rtol=1e-5, atol=2e-4)


@pytest.mark.parametrize("t", [0.0, 0.5, 7.5, 8.2, 19.9])
def test_frames_of_a_moving_plane_are_those_of_the_document(t):
    data = encode(fitted_like(300, moved(VideoInfo(32, 24, 20))))
    gaussians, file = load(data), reader.read(data)
    frame = rasterization(gaussians, torch.tensor([t / 20]))[0]
    for i, j in ((0, 0), (31, 23), (15, 4), (3, 20)):
        wanted = reader.values_at(file, i, j, t)
        # Gaussians are cut off where they add little, and are float32
        np.testing.assert_allclose(frame[j, i].numpy(), wanted, atol=2e-3)


@pytest.mark.parametrize(
    ("name", "version", "codec"),
    [
        ("v0", 0, "version 0"),
        ("v1", 1, "rans"),
        ("v2", 2, "rans"),
        ("v1_sog", 1, "sog"),
        ("v1_paper16-8-8", 1, "paper16-8-8"),
    ],
)
def test_golden_files_stay_readable(name, version, codec):
    """The golden files are never written again; the values beside them are what they held when they were written."""
    file = GarvFile(DATA / f"golden_{name}.garv")
    expected = json.loads((DATA / f"golden_{name}.json").read_text())
    info, gaussians = file.info, file.read()
    assert (file.version, file.codec) == (version, codec)
    assert file.num_gaussians == len(expected["means"])
    assert [info.width, info.height, info.frames, info.channels] == expected["size"]
    assert str(info.frame_rate) == expected["frame_rate"]
    assert [str(time) for time in info.timestamps] == expected["timestamps"]
    assert file.tracks() == (None if version == 0 else b"sound")
    motion = expected.get("motion")
    assert info.motion == (motion and tuple(tuple(map(float, row)) for row in motion))
    assert info == replace(info, color=ColorInfo(*expected.get("color", ())), rotation=expected.get("rotation", 0))
    for name in ("means", "cholesky", "colors"):
        np.testing.assert_allclose(getattr(gaussians, name).numpy(), np.array(expected[name]), rtol=1e-5, atol=1e-6)
