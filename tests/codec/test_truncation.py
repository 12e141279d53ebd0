"""Smaller files of larger ones: as large as asked for, the most important first, sound kept."""

from __future__ import annotations

from unittest import mock

import pytest
import torch

from garv_gsplat.cli import main
from garv_gsplat.codec import GarvFile, encode, load, partition, save, truncate
from garv_gsplat.rendering import rasterization
from garv_gsplat.volume import VideoInfo
from tests.codec.samples import fitted_like, moved

INFO = VideoInfo(160, 96, 64)


@pytest.fixture(scope="module")
def data() -> bytes:
    with mock.patch.object(partition, "SMALLEST", 300):
        return encode(fitted_like(3000, INFO))


def test_it_is_as_large_as_asked_for(data):
    for part in (0.3, 0.5, 0.8):
        smaller = truncate(GarvFile(data), int(part * len(data)))
        assert 0.97 * part * len(data) < len(smaller) <= part * len(data)
    assert truncate(GarvFile(data), len(data)) == data


def test_what_it_holds_is_in_the_whole_file(data):
    whole, part = GarvFile(data), GarvFile(truncate(GarvFile(data), len(data) // 2))
    assert part.info == whole.info and 0 < part.num_gaussians < whole.num_gaussians
    rows = {tuple(row) for row in whole.read().means.tolist()}
    assert {tuple(row) for row in part.read().means.tolist()} <= rows
    for chunk in part.chunks:
        assert any(
            chunk.reach == other.reach and chunk.streams[0].crc == other.streams[0].crc for other in whole.chunks
        )


def test_a_plane_goes_on_moving():
    file = GarvFile(encode(fitted_like(3000, moved(INFO)), tracks=b"sound"))
    part = GarvFile(truncate(file, file.picture_bytes // 2))
    assert part.info == file.info and part.info.motion is not None
    assert part.version == 2 and part.picture_bytes <= file.picture_bytes // 2


def test_the_more_bits_the_nearer(data):
    times = [0.2, 0.5, 0.9]
    whole = rasterization(load(data), times)
    errors = []
    for part in (0.25, 0.5, 0.75, 1.0):
        image = rasterization(load(truncate(GarvFile(data), int(part * len(data)))), times)
        errors.append(float((image - whole).square().mean()))
    assert errors == sorted(errors, reverse=True) and errors[-1] == 0
    assert errors[1] < 0.25 * float(whole.square().mean())


def test_sound_stays_and_does_not_count(data):
    tracks = bytes(50_000)
    full = encode(fitted_like(3000, INFO), tracks=tracks)
    smaller = GarvFile(truncate(GarvFile(full), 8_000))
    assert smaller.tracks() == tracks
    assert smaller.size - len(tracks) <= 8_000 + 24


def test_what_cannot_be_is_refused(data):
    with pytest.raises(ValueError, match=r"100 bytes are too few, its smallest part takes \d+"):
        truncate(GarvFile(data), 100)
    with pytest.raises(ValueError, match="has no layers to leave out"):
        truncate(GarvFile(encode(fitted_like(0, INFO))), 1000)


def test_the_command(data, tmp_path, capsys):
    path, smaller = tmp_path / "a.garv", tmp_path / "b.garv"
    save(path, data)
    assert main(["truncate", str(path), str(smaller), "--bpp", "0.1"]) == 0
    line = capsys.readouterr().out
    assert line.startswith(f"{smaller}: {smaller.stat().st_size:,} bytes of {len(data):,}, 0.")
    assert 0.097 < 8 * smaller.stat().st_size / INFO.pixels <= 0.1
    assert main(["truncate", str(path), str(smaller), "--size", "10.5 kB"]) == 0
    assert 10_185 < smaller.stat().st_size <= 10_500
    assert torch.isfinite(load(smaller).means).all()


def test_the_command_counts_no_sound_as_rate(tmp_path, capsys):
    path, smaller = tmp_path / "a.garv", tmp_path / "b.garv"
    save(path, encode(fitted_like(3000, INFO), tracks=bytes(50_000)))
    assert main(["truncate", str(path), str(smaller), "--bpp", "0.1"]) == 0
    rate = 8 * (smaller.stat().st_size - 50_000) / INFO.pixels
    assert f" {rate:.4f} bpp, " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either as --bpp or as --size"),
        (["--bpp", "1", "--size", "1MB"], "either as --bpp or as --size"),
        (["--bpp", "-1"], "--bpp must be a positive number"),
        (["--size", "2 parsecs"], "--size 2 parsecs: give a number of bytes"),
        (["--size", "0"], "--size 0: give a number of bytes"),
        (["--size", "10"], "10 bytes are too few"),
    ],
)
def test_bad_arguments_are_one_line(data, tmp_path, capsys, arguments, message):
    save(tmp_path / "a.garv", data)
    assert main(["truncate", str(tmp_path / "a.garv"), str(tmp_path / "b.garv"), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "b.garv").exists()
