"""What the decoder reads of a file and when, and what it takes: threads, processes, closing."""

from __future__ import annotations

import io
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from garv_gsplat.codec import GarvFile, encode, partition
from garv_gsplat.decoder import VideoDecoder
from garv_gsplat.volume import VideoInfo
from tests.codec.samples import fitted_like
from tests.codec.server import serve

INFO = VideoInfo(64, 48, 2000)
FIRST_READ = 1 << 16  # bytes that opening a URL takes


@pytest.fixture(scope="module")
def data() -> bytes:
    """A file of many chunks in time, and a few in space."""
    with mock.patch.object(partition, "SMALLEST", 1024), mock.patch.object(partition, "LARGEST", 2048):
        return encode(fitted_like(30_000, INFO))


@pytest.fixture(scope="module")
def path(data, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("lazy") / "clip.garv"
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def eager(data) -> VideoDecoder:
    """A decoder that has read everything."""
    decoder = VideoDecoder(data, device="cpu")
    next(decoder.frames(batch=1))
    return decoder


def assert_same(a: torch.Tensor, b: torch.Tensor) -> None:
    """But for roundings: sums have another order, and which grid a wide Gaussian is drawn on depends on the others."""
    difference = (a.int() - b.int()).abs()
    assert difference.max() <= 1 and difference.float().mean() < 0.02


def test_a_frame_reads_what_it_needs(data, eager):
    with serve(data) as (url, handler):
        decoder = VideoDecoder(url, device="cpu")
        assert len(decoder) == 2000 and decoder.num_gaussians == eager.num_gaussians
        assert handler.read == FIRST_READ, "opening reads header and table of contents"
        assert_same(decoder[1000], eager[1000])
        assert FIRST_READ < handler.read < FIRST_READ + 0.3 * len(data)
        once = handler.read
        assert_same(decoder[1000], eager[1000])
        assert_same(decoder.get_frame_at(1000, crop=(8, 8, 16, 16)).data, eager[1000][:, 8:24, 8:24])
        assert handler.read == once, "what was read is kept"


def test_a_crop_reads_less():
    with mock.patch.object(partition, "LARGEST", 2048):
        data = encode(fitted_like(30_000, VideoInfo(1920, 1080, 16)))
    eager = VideoDecoder(data, device="cpu")
    whole, crop = eager.get_frame_at(9).data, (1700, 100, 200, 100)
    with serve(data) as (url, handler):
        decoder = VideoDecoder(url, device="cpu")
        assert_same(decoder.get_frame_at(9, crop=crop).data, whole[:, 100:200, 1700:1900])
        assert_same(
            decoder.get_frame_at(9, crop=crop, size=(50, 25)).data,
            eager.get_frame_at(9, crop=crop, size=(50, 25)).data,
        )
        assert handler.read < FIRST_READ + 0.6 * len(data)


@pytest.fixture
def reads(monkeypatch) -> list[int]:
    """How many chunks each reading took."""
    counts: list[int] = []
    read = GarvFile.read
    monkeypatch.setattr(GarvFile, "read", lambda self, chunks: counts.append(len(chunks)) or read(self, chunks))
    return counts


def test_parts_are_read_once_and_when_they_are_needed(data, reads, eager):
    decoder = VideoDecoder(data, device="cpu")
    count = len(GarvFile(data).chunks)
    for frame in range(0, 700, 50):
        assert_same(decoder[frame], eager[frame])
    assert len(reads) > 1 and sum(reads) < 0.7 * count, "nothing of the other frames alone"
    for frame in range(700, 2000, 50):
        assert_same(decoder[frame], eager[frame])
    assert sum(reads) == count, "every chunk once"


def test_once_half_is_there_the_rest_is_read_at_once(data, reads, eager):
    decoder = VideoDecoder(data, device="cpu")
    decoder.get_frames_at(range(0, 1300, 10))
    assert_same(decoder[1900], eager[1900])
    assert len(reads) == 2 and sum(reads) == len(GarvFile(data).chunks)


def test_playing_reads_everything_before_its_first_frame(data, reads):
    decoder = VideoDecoder(data, device="cpu")
    next(decoder.frames(batch=1))
    assert reads == [len(GarvFile(data).chunks)]
    next(VideoDecoder(data, device="cpu").frames(range(100, 200), batch=1))
    assert len(reads) == 2 and reads[1] < 0.5 * reads[0], "of a part what the part needs"


def test_one_call_reads_once(data, reads, eager):
    decoder = VideoDecoder(data, device="cpu")
    frames = [5, 700, 1300.5, 1999]
    assert_same(decoder.get_frames_at(frames).data, eager.get_frames_at(frames).data)
    assert len(reads) == 1 and reads[0] < len(GarvFile(data).chunks)


def test_nothing_may_be_left_out(data, reads):
    """Where no threshold allows a chunk to be left out, all are read."""
    VideoDecoder(data, device="cpu", tau=0)[5]
    assert reads == [len(GarvFile(data).chunks)]


def test_files_of_version_0():
    path = Path(__file__).parent / "data" / "golden_v0.garv"
    decoder = VideoDecoder(path, device="cpu")
    assert decoder.get_frames_at([]).data.shape[0] == 0
    again = VideoDecoder(path, device="cpu")
    assert torch.equal(decoder[0], again[0])


def test_threads_share_a_decoder(data, eager):
    decoder = VideoDecoder(data, device="cpu")
    calls = [(frame, (frame % 7, 3, 20, 11), (10 + frame % 3, 9)) for frame in range(0, 2000, 61)]

    def draw(call) -> torch.Tensor:
        frame, crop, size = call
        return decoder.get_frame_at(frame, crop=crop, size=size).data

    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(draw, calls))
    for (frame, crop, size), image in zip(calls, drawn):
        assert_same(image, eager.get_frame_at(frame, crop=crop, size=size).data)


class Frames(Dataset):
    """Single frames for a DataLoader."""

    def __init__(self, decoder: VideoDecoder) -> None:
        self.decoder = decoder

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.decoder[300 * index]


def test_workers_of_a_data_loader_open_the_file_again(path, eager):
    decoder = VideoDecoder(path, device="cpu")
    loader = DataLoader(Frames(decoder), batch_size=3, num_workers=1, multiprocessing_context="spawn")
    assert_same(torch.cat(list(loader)), eager[:1501:300])


def test_pickled_decoders(path, data):
    decoder = VideoDecoder(path, device="cpu", dimension_order="NHWC", tau=0.05)
    copy = pickle.loads(pickle.dumps(decoder))
    assert torch.equal(copy[7], decoder[7]) and copy.dimension_order == "NHWC"
    gaussians = fitted_like(50, INFO)
    at_hand = pickle.loads(pickle.dumps(VideoDecoder(gaussians, device="cpu")))
    assert torch.equal(at_hand[7], VideoDecoder(gaussians, device="cpu")[7])
    with pytest.raises(TypeError, match="a file object cannot be pickled; open the file by its path, URL or bytes"):
        pickle.dumps(VideoDecoder(io.BytesIO(data), device="cpu"))


def test_a_closed_decoder_says_so(path):
    with VideoDecoder(path, device="cpu") as decoder:
        decoder[3]
    for call in (lambda: decoder[3], lambda: decoder.get_frame_played_at(0), lambda: next(decoder.frames())):
        with pytest.raises(ValueError, match="the decoder is closed; open the file again"):
            call()
    decoder.close()
    assert len(decoder) == 2000


def test_a_decoder_on_a_gpu_does_not_survive_a_fork(path, monkeypatch):
    decoder = VideoDecoder(path, device="cpu")
    monkeypatch.setattr(decoder, "device", torch.device("cuda"))  # what a GPU's decoder is, to the check
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with pytest.raises(RuntimeError, match="opened on a GPU before this process was forked.*multiprocessing_context"):
        decoder[0]


def test_damage_is_found_where_it_is_read(data):
    broken = bytearray(data)
    broken[-40] ^= 255  # in the streams of the last chunk
    decoder = VideoDecoder(bytes(broken), device="cpu")
    with pytest.raises(ValueError, match="the CRC-32 does not match: bytes have changed"):
        next(decoder.frames())
