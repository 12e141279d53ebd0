"""The `.garv` file: round trips and parts."""

from __future__ import annotations

import functools
import io
import os
import pickle
from dataclasses import replace
from fractions import Fraction
from unittest import mock

import pytest
import torch

from garv_gsplat.codec import GarvFile, GarvFormatError, encode, load, partition, rounded_motion, save, with_tracks
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.volume import VideoInfo
from tests.codec.samples import fitted_like, moved
from tests.codec.server import serve

INFO = VideoInfo(320, 180, 48, Fraction(30000, 1001))
VARIABLE = VideoInfo(64, 48, 4, Fraction(25), (Fraction(0), Fraction(1001, 30000), Fraction(2, 25), Fraction(1, 3)))


@pytest.mark.parametrize("count", [0, 1, 2, 500])
@pytest.mark.parametrize("channels", [1, 3, 8])
def test_any_number_of_gaussians_and_channels(tmp_path, count, channels):
    info = VideoInfo(177, 99, 1, channels=channels)
    size = save(tmp_path / "a.garv", fitted_like(count, info))
    loaded = load(tmp_path / "a.garv")
    assert 0.9 * count <= len(loaded) <= count  # those whose colour rounds to nothing are left out
    assert loaded.info == info
    assert size == (tmp_path / "a.garv").stat().st_size
    for name in ("means", "cholesky", "colors"):
        assert getattr(loaded, name).dtype == torch.float32


def test_the_order_of_the_gaussians_costs_nothing():
    gaussians = fitted_like(20_000, INFO)
    shuffled = torch.randperm(20_000, generator=torch.Generator().manual_seed(1))
    other = VideoGaussians(*(v[shuffled] for v in (gaussians.means, gaussians.cholesky, gaussians.colors)), INFO)
    assert abs(len(encode(other)) - len(encode(gaussians))) < 100
    bits = 8 * len(encode(gaussians)) / 20_000
    assert bits < 70  # 120 of the paper's


@pytest.mark.parametrize(
    "times",
    [
        VARIABLE.timestamps,
        (Fraction(1, 7), Fraction(1, 3), Fraction(5, 9), Fraction(10**9)),
        tuple(Fraction(k / 29.97) for k in range(4)),
        tuple(Fraction(k, 90000) for k in (0, 1, 2, 90000 * 86400)),
    ],
)
def test_timestamps_are_exact(times):
    info = VideoInfo(64, 48, 4, Fraction(25), times)
    assert GarvFile(encode(fitted_like(10, info))).info == info


def test_timestamps_without_a_common_time_base_are_refused(tmp_path):
    info = VideoInfo(
        64, 48, 4, Fraction(25), (Fraction(0), Fraction(1, 2**31 - 1), Fraction(1, 2), Fraction(1 + 3**40, 3**40))
    )
    with pytest.raises(ValueError, match="no common time base of 64 bits; round them"):
        save(tmp_path / "a.garv", fitted_like(10, info))
    assert not list(tmp_path.iterdir())


def test_motion_is_rounded_once_and_then_exact():
    info = moved(VideoInfo(64, 48, 30))
    data = encode(fitted_like(50, info))
    loaded = load(data)
    assert loaded.info == replace(info, motion=rounded_motion(info.motion)) != info
    assert (torch.tensor(loaded.info.motion) - torch.tensor(info.motion)).abs().max() <= 2.0**-19 + 1e-6
    assert rounded_motion(loaded.info.motion) == loaded.info.motion
    assert encode(fitted_like(50, loaded.info)) == data
    assert GarvFile(with_tracks(data, b"sound")).info == loaded.info
    assert with_tracks(with_tracks(data, b"sound"), None) == data


def test_motion_takes_few_bits_and_a_plane_at_rest_none():
    frames = 250
    info = moved(VideoInfo(64, 48, frames))
    still, moving = (encode(fitted_like(50, i)) for i in (replace(info, motion=None), info))
    assert (still[8], moving[8]) == (1, 2)
    assert 8 * (len(moving) - len(still)) < 100 * frames
    bits = [GarvFile(data).bits_per_pixel for data in (still, moving)]
    assert bits[1] - bits[0] == pytest.approx(8 * (len(moving) - len(still)) / info.pixels)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((float("inf"), 0.0, 0.0, 1.0, 0.0, 0.0), "finite"),
        ((1.0, 0.0, 0.0, 1.0, 0.0, float("nan")), "finite"),
        ((1.0, 0.0, 0.0, 1.0, 1e8, 0.0), "less than millions of its size"),
        ((1e-7, 0.0, 0.0, 1.0, 0.0, 0.0), "must not fold the plane"),
    ],
)
def test_motion_that_no_file_keeps_is_refused(row, message):
    with pytest.raises(ValueError, match=message):
        encode(fitted_like(10, VideoInfo(64, 48, 1, motion=(row,))))


def test_gaussians_far_outside_of_the_frame_come_back_and_are_found(monkeypatch):
    """With motion they are seen there, too: they land in chunks whose reach has them."""
    monkeypatch.setattr(partition, "LARGEST", 200)
    info = moved(VideoInfo(320, 180, 48))
    spread = fitted_like(3000, info)
    means = (spread.means - 0.5) * torch.tensor([3.0, 3.0, 1.0]) + 0.5
    gaussians = VideoGaussians(means, spread.cholesky, spread.colors, info)
    for codec in ("rans", "sog", "paper16-8-8"):
        file = GarvFile(encode(gaussians, codec))
        assert len(file.chunks) > 4
        everything = file.read()
        assert torch.allclose(everything.means.amin(0)[:2], means.amin(0)[:2], atol=0.02)
        assert torch.allclose(everything.means.amax(0)[:2], means.amax(0)[:2], atol=0.02)
        for x, y in ((-300.0, -170.0), (600.0, 330.0)):
            part = file.read(file.find((x, y, 24.5), (x, y, 24.5)))
            whole = contribution(everything, 24.5, x, y).sum(0)
            assert 0 < len(part) < len(everything)
            assert (contribution(part, 24.5, x, y).sum(0) - whole).abs().max() < 0.1 / 255


def test_frame_rate_from_a_float_is_exact_and_a_longer_one_refused():
    info = VideoInfo(64, 48, 4, Fraction(29.97))
    assert load(encode(fitted_like(10, info))).info == info
    with pytest.raises(ValueError, match="64 for the frame rate's numerator"):
        encode(fitted_like(10, VideoInfo(64, 48, 4, Fraction(3**50, 2**70))))


def test_nothing_is_written_for_numbers_that_are_none(tmp_path):
    gaussians = fitted_like(10, INFO)
    gaussians.colors[3, 1] = float("nan")
    with pytest.raises(ValueError, match="colors of 1 of 10"):
        save(tmp_path / "a.garv", gaussians)
    assert not list(tmp_path.iterdir())


def test_an_old_file_stays_when_writing_fails(tmp_path, monkeypatch):
    save(tmp_path / "a.garv", fitted_like(10, INFO))
    before = (tmp_path / "a.garv").read_bytes()

    def refuse(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        save(tmp_path / "a.garv", fitted_like(20, INFO))
    assert [p.name for p in tmp_path.iterdir()] == ["a.garv"]
    assert (tmp_path / "a.garv").read_bytes() == before


def test_places_that_cannot_be_written_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist; make it first"):
        save(tmp_path / "nowhere" / "a.garv", fitted_like(1, INFO))
    with pytest.raises(IsADirectoryError, match="is a folder"):
        save(tmp_path, fitted_like(1, INFO))


# Parts


@functools.cache
def large() -> bytes:
    """A file of many chunks."""
    with mock.patch.object(partition, "SMALLEST", 4096):
        return encode(fitted_like(60_000, VideoInfo(320, 180, 4000)))


def contribution(gaussians: VideoGaussians, time: float, x: float, y: float) -> torch.Tensor:
    """What each Gaussian adds to a point, in float64."""
    means, cholesky = (v.double() for v in gaussians.in_pixels())
    tt, xt, yt, xx, yx, yy = cholesky.T
    u = (time - means[:, 2]) / tt
    v = (x - means[:, 0] - xt * u) / xx
    w = (y - means[:, 1] - yt * u - yx * v) / yy
    return torch.exp(-0.5 * (u**2 + v**2 + w**2))[:, None] * gaussians.colors.double()


def test_a_moment_needs_few_chunks_and_misses_nothing():
    file = GarvFile(large())
    everything = file.read()
    for time in (0.5, 777.5, 3999.5):
        chunks = file.find((0, 0, time), (320, 180, time))
        part = file.read(chunks)
        assert 0 < len(part) < 0.3 * len(everything)
        for x, y in ((0.5, 0.5), (160.5, 99.5)):
            whole = contribution(everything, time, x, y).sum(0)
            assert (contribution(part, time, x, y).sum(0) - whole).abs().max() < 0.1 / 255


def test_every_prefix_of_layers_decodes_and_the_first_matter_most():
    file = GarvFile(encode(fitted_like(3000, INFO)))
    energy = []
    layers = len(file.chunks[0].streams)
    for count in range(layers + 1):
        gaussians = file.read(layers=count)
        tt, _, _, xx, _, yy = gaussians.in_pixels()[1].T
        energy.append(float((gaussians.colors.square().sum(1) * (tt * xx * yy).abs()).sum()))
    assert energy == sorted(energy) and energy[0] == 0
    assert layers > 3 and energy[layers // 2] > 0.8 * energy[-1]


@pytest.fixture
def served():
    with serve(large()) as url_and_handler:
        yield url_and_handler


def test_of_a_url_only_what_a_frame_needs_is_read(served):
    url, handler = served
    file = GarvFile(url)
    opened = handler.read
    assert opened == 1 << 16
    part = file.read(file.find((0, 0, 1500), (320, 180, 1500)))
    assert handler.read - opened < 0.3 * len(large())
    local = GarvFile(large())
    assert torch.equal(part.means, local.read(local.find((0, 0, 1500), (320, 180, 1500))).means)
    assert torch.equal(pickle.loads(pickle.dumps(file)).read([0]).means, local.read([0]).means)


def test_a_server_without_ranges_gives_the_whole_file_once(served):
    url, handler = served
    handler.ranges = False
    with pytest.warns(UserWarning, match="knows no ranges"):
        file = GarvFile(url)
    assert len(file.read()) == file.num_gaussians
    assert handler.read == len(large())


def test_a_url_that_is_not_there(served):
    url, _ = served
    with pytest.raises(OSError, match="cannot be reached"):
        GarvFile(url.replace("127.0.0.1", "127.0.0.1.invalid"))


def test_paths_bytes_and_file_objects_are_the_same(tmp_path):
    save(tmp_path / "a.garv", fitted_like(50, INFO))
    data = (tmp_path / "a.garv").read_bytes()
    for source in (tmp_path / "a.garv", str(tmp_path / "a.garv"), data, io.BytesIO(data)):
        assert torch.equal(load(source).means, load(data).means)
    with pytest.raises(TypeError, match="a path, a URL, bytes or a file object, got int"):
        load(5)
    file = GarvFile(tmp_path / "a.garv")
    copy = pickle.loads(pickle.dumps(file))
    assert torch.equal(copy.read().means, load(data).means)


def test_a_file_that_shrinks_while_it_is_open_says_so(tmp_path):
    save(tmp_path / "a.garv", fitted_like(500, INFO))
    file = GarvFile(tmp_path / "a.garv")
    os.truncate(tmp_path / "a.garv", file.size - 100)
    with pytest.raises(GarvFormatError, match="the file is cut off or changes"):
        file.read()


def test_sound_rides_along():
    gaussians, tracks = fitted_like(10, INFO), bytes(range(256)) * 9
    data = encode(gaussians, tracks=tracks)
    assert GarvFile(data).tracks() == tracks
    assert GarvFile(encode(gaussians)).tracks() is None
    assert GarvFile(data).picture_bytes == len(data) - len(tracks)
    assert torch.equal(load(data).means, load(encode(gaussians)).means)
    with pytest.raises(GarvFormatError, match="tracks .*CRC-32 does not match"):
        GarvFile(data[:-1] + b"?").tracks()


def test_bits_per_pixel_leave_out_sound():
    gaussians = fitted_like(10, INFO)
    silent, loud = (GarvFile(encode(gaussians, tracks=tracks)) for tracks in (None, bytes(10_000)))
    assert silent.bits_per_pixel == 8 * silent.size / (INFO.frames * INFO.width * INFO.height)
    row = 8 * 24 / INFO.pixels  # where the tracks are is said in the header: docs/format.md, 24 bytes a section
    assert loud.bits_per_pixel == pytest.approx(silent.bits_per_pixel + row)
