"""docs/format.md is enough to read a file, and files of every version stay readable."""

from __future__ import annotations

import json
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from garv_gsplat.codec import load, read_header, save
from garv_gsplat.volume import VideoInfo
from tests.codec.samples import fitted_like

DATA = Path(__file__).parent.parent / "data"


def read_by_the_document(data: bytes) -> dict:
    """A reader written from docs/format.md, sharing nothing with the package."""
    assert data[:8] == bytes.fromhex("8947415256 0D0A1A")
    version, header_size, width, height, frames = struct.unpack_from("<HHIII", data, 8)
    numerator, denominator, channels, flags, streams, count = struct.unpack_from("<QQBBHI", data, 24)
    assert version == 0
    assert header_size == 48 + 24 * streams + 4
    assert struct.unpack_from("<I", data, header_size - 4)[0] == zlib.crc32(data[: header_size - 4])
    arrays = {1: ["<f4"], 2: ["<u2"] * 3, 3: ["u1"] * 6, 4: ["u1"] * channels, 5: ["<i8"]}
    numbers = {1: 3 * (9 + channels), 2: count, 3: count, 4: count, 5: frames + 1}
    found = {}
    for row in range(streams):
        key, bits, encoding, offset, size, crc = struct.unpack_from("<HBBQQI", data, 48 + 24 * row)
        stored = data[offset : offset + size]
        assert zlib.crc32(stored) == crc
        raw = zlib.decompress(stored) if encoding == 1 else stored
        width_of, n = bits // 8, numbers[key]
        found[key] = []
        for k, kind in enumerate(arrays[key]):
            planes = np.frombuffer(raw, np.uint8, n * width_of, k * n * width_of).reshape(width_of, n)
            found[key].append(np.ascontiguousarray(planes.T).view(kind)[:, 0])
    assert offset + size == len(data)

    low, high, scale = found[1][0].astype(np.float64).reshape(-1, 3).T
    x, y, t = found[2]
    levels = [x, y, np.cumsum(t.astype(np.int64)) % 65536, *found[3], *found[4]]
    steps = [65535] * 3 + [255] * (6 + channels)
    c = [low[k] + q.astype(np.float64) * (high[k] - low[k]) / steps[k] for k, q in enumerate(levels)]
    s = [scale[k] * np.sinh(c[k]) for k in range(9 + channels) if k > 3]
    l_tt, l_xx, l_yy = np.exp(c[3]), np.exp(c[6]), np.exp(c[8])
    p = s[5:]
    colors = [p[0] - p[2] + p[1], p[0] + 2 * p[2], p[0] - p[2] - p[1]] if channels == 3 else p
    result = {
        "size": (width, height, frames, channels),
        "frame_rate": Fraction(numerator, denominator),
        "means": np.stack(c[:3], 1),
        "cholesky": np.stack([l_tt, l_xx * s[0], l_yy * s[1], l_xx, l_yy * s[3], l_yy], 1),
        "colors": np.stack(colors, 1),
        "timestamps": None,
    }
    if flags & 1:
        ticks, *counts = found[5][0].tolist()
        result["timestamps"] = tuple(Fraction(int(total), ticks) for total in np.cumsum(counts))
    return result


@pytest.mark.parametrize(
    "info",
    [
        VideoInfo(320, 180, 48, Fraction(30000, 1001)),
        VideoInfo(64, 48, 3, Fraction(25), (Fraction(0), Fraction(1, 30), Fraction(1, 2))),
        VideoInfo(177, 99, 5, channels=1),
        VideoInfo(177, 99, 5, channels=8),
    ],
)
def test_a_reader_written_from_the_document_agrees(tmp_path, info):
    save(tmp_path / "a.garv", fitted_like(700, info))
    read = read_by_the_document((tmp_path / "a.garv").read_bytes())
    gaussians = load(tmp_path / "a.garv")
    assert read["size"] == (info.width, info.height, info.frames, info.channels)
    assert read["frame_rate"] == info.frame_rate
    assert read["timestamps"] == info.timestamps
    means, cholesky = gaussians.in_pixels()
    for mine, theirs in ((means, "means"), (cholesky, "cholesky"), (gaussians.colors, "colors")):
        # float32 against float64: exp and sinh of a coordinate up to 10 lose 10 ulp
        np.testing.assert_allclose(mine.numpy(), read[theirs], rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("version", [0])
def test_golden_files_stay_readable(version):
    """The golden files are never written again; the values beside them are what they held when they were written."""
    path = DATA / f"golden_v{version}.garv"
    expected = json.loads((DATA / f"golden_v{version}.json").read_text())
    header, gaussians = read_header(path), load(path)
    info = header.info
    assert header.version == version
    assert header.num_gaussians == len(expected["means"])
    assert [info.width, info.height, info.frames, info.channels] == expected["size"]
    assert str(info.frame_rate) == expected["frame_rate"]
    assert [str(time) for time in info.timestamps] == expected["timestamps"]
    for name in ("means", "cholesky", "colors"):
        np.testing.assert_allclose(getattr(gaussians, name).numpy(), np.array(expected[name]), rtol=1e-5, atol=1e-6)
