"""VideoDecoder: indexing, batches, devices, memory of a launch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from garv_gsplat import views
from garv_gsplat.codec import GarvFormatError, load, save
from garv_gsplat.decoder import VideoDecoder
from garv_gsplat.gaussians import VideoGaussians
from garv_gsplat.rendering import rasterization
from garv_gsplat.volume import VideoInfo
from tests.codec.samples import fitted_like

INFO = VideoInfo(41, 23, 9, Fraction(30))
# Grey levels: half a level of rounding, a quarter for half-precision records (2^-11 of colours up to 1) and for
# interpolation (a few times that); on CUDA another quarter for weights and coarse levels in half precision.
ROUNDED = {"cpu": 0.5 + 0.25, "cuda": 0.5 + 0.5}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("decoder") / "clip.garv"
    save(path, fitted_like(150, INFO))
    return path


@pytest.fixture(scope="module")
def decoder(path):
    return VideoDecoder(path, device="cpu")


@pytest.fixture(scope="module")
def frames(path):
    """All frames [9, 3, 23, 41], by rasterization, as floats of 255."""
    return 255 * rasterization(load(path), INFO.frame_centers(), tau=0).clamp(0, 1).permute(0, 3, 1, 2)


def test_metadata_and_length(decoder, path):
    assert decoder.metadata == INFO
    assert len(decoder) == 9
    assert decoder.num_gaussians == len(load(path))


def test_frames_are_the_rendered_ones_rounded(path, frames):
    decoded = VideoDecoder(path, device="cpu", tau=0)[:]
    assert decoded.dtype == torch.uint8
    assert decoded.shape == (9, 3, 23, 41)
    assert (decoded.float() - frames).abs().max() <= ROUNDED["cpu"]


def test_the_default_threshold_changes_little(decoder, frames):
    error = (decoder[:].float() - frames.round()).abs()
    assert error.mean() < 0.1
    assert error.max() <= 2


def test_indices_slices_and_batches_agree(decoder):
    whole = decoder[:]
    for i in range(9):
        assert torch.equal(decoder[i], whole[i])
        assert torch.equal(decoder[i - 9], whole[i])
    assert torch.equal(decoder[np.int64(3)], whole[3])
    assert torch.equal(decoder[2:8:3], whole[2:8:3])
    assert torch.equal(decoder[-3:], whole[-3:])
    assert torch.equal(decoder[::-1], whole.flip(0))
    assert torch.equal(decoder[5:5], whole[5:5])
    assert torch.equal(decoder.get_frames_at([8, 0, -1, 0]).data, whole[[8, 0, 8, 0]])
    assert torch.equal(decoder.get_frames_at(torch.tensor([4, 2])).data, whole[[4, 2]])
    assert decoder.get_frames_at([]).data.shape == (0, 3, 23, 41)
    assert torch.equal(torch.stack(list(decoder)), whole)
    assert torch.equal(torch.cat(list(decoder.frames(batch=4))), whole)
    assert [len(b) for b in decoder.frames(batch=4)] == [4, 4, 1]
    assert torch.equal(torch.cat(list(decoder.frames())), whole)
    assert torch.equal(torch.cat(list(decoder.frames([7, -8, 3], batch=2))), whole[[7, 1, 3]])
    assert torch.equal(decoder.get_frames_in_range(2, 8, 3).data, whole[2:8:3])
    assert len(decoder.get_frames_in_range(9, 9)) == 0


def test_the_order_of_dimensions(path, decoder):
    other = VideoDecoder(path, device="cpu", dimension_order="NHWC")
    assert torch.equal(other[:].permute(0, 3, 1, 2), decoder[:])
    assert torch.equal(other[4].permute(2, 0, 1), decoder.get_frame_at(4).data)
    with pytest.raises(ValueError, match='dimension_order must be "NCHW" or "NHWC", got \'HWC\''):
        VideoDecoder(path, dimension_order="HWC")


def test_a_launch_takes_no_more_frames_than_its_memory_allows(path, decoder, monkeypatch):
    whole = decoder[:]
    monkeypatch.setattr(views, "_PIXELS_AT_ONCE", 2 * 41 * 23 + 1)
    assert decoder.frames_per_launch == 2
    assert torch.equal(decoder[:], whole)
    monkeypatch.setattr(views, "_PIXELS_AT_ONCE", 1)
    assert decoder.frames_per_launch == 1
    assert torch.equal(decoder[3:5], whole[3:5])


@pytest.mark.parametrize("index", [9, -10, 1000])
def test_an_index_outside_names_the_valid_ones(decoder, index):
    with pytest.raises(
        IndexError, match=f"frame {index} does not exist: the video has 9 frames, 0 to 8, or -9 to -1 from"
    ):
        decoder[index]
    with pytest.raises(IndexError, match=f"frame {index}"):
        decoder.get_frames_at([0, index])
    with pytest.raises(IndexError, match="start and stop rise within 0 to 9"):
        decoder.get_frames_in_range(0, index + 1)


def test_what_is_no_index_is_a_type_error(decoder):
    with pytest.raises(TypeError):
        decoder["0"]
    with pytest.raises(TypeError, match="an index is a whole number, got 1.0; get_frame_at renders between"):
        decoder[1.0]
    with pytest.raises(TypeError, match="of a mask give the indices"):
        decoder.get_frames_at(torch.tensor([True, False]))
    with pytest.raises(ValueError, match="batch must be at least 1 frame, got 0"):
        next(decoder.frames(batch=0))


def test_decoded_frames_may_be_written_into(decoder):
    frame = decoder[0]
    frame[:] = 7
    assert not frame.is_inference()


def test_bytes_decode_like_their_file(path, decoder):
    assert torch.equal(VideoDecoder(path.read_bytes(), device="cpu")[4], decoder[4])


@pytest.mark.parametrize("info", [VideoInfo(1, 1, 1), VideoInfo(5, 3, 2, channels=1), VideoInfo(5, 3, 2, channels=8)])
def test_other_sizes_and_channels(tmp_path, info):
    save(tmp_path / "a.garv", fitted_like(20, info))
    assert VideoDecoder(tmp_path / "a.garv", device="cpu")[:].shape == (
        info.frames,
        info.channels,
        info.height,
        info.width,
    )


@pytest.mark.parametrize("channels", [5, 8])
def test_more_than_four_channels_are_decoded_four_at_a_time(channels, device):
    info = VideoInfo(41, 23, 9, channels=channels)
    gaussians = fitted_like(150, info)
    whole = VideoDecoder(gaussians, device=device, tau=0, dimension_order="NHWC")[:]
    assert whole.shape == (9, 23, 41, channels)
    wanted = 255 * rasterization(gaussians, info.frame_centers(), tau=0).clamp(0, 1)
    assert (whole.cpu().float() - wanted).abs().max() <= ROUNDED[device.type]
    for first in range(0, channels, 4):
        some = gaussians.colors[:, first : first + 4]
        part = VideoGaussians(gaussians.means, gaussians.cholesky, some, replace(info, channels=some.shape[1]))
        alone = VideoDecoder(part, device=device, tau=0, dimension_order="NHWC")[:]
        # the order of a sum, which differs from launch to launch on CUDA, decides between two levels
        assert (whole[..., first : first + 4].int() - alone.int()).abs().max() <= (0 if device.type == "cpu" else 1)


def test_no_gaussians_are_a_black_video(tmp_path):
    save(tmp_path / "a.garv", fitted_like(0, INFO))
    assert VideoDecoder(tmp_path / "a.garv", device="cpu")[:].max() == 0


def test_damage_is_found_when_the_file_is_opened(tmp_path, path):
    (tmp_path / "cut.garv").write_bytes(path.read_bytes()[:-1])
    with pytest.raises(GarvFormatError, match=r"cut.garv: end \(byte \d+\): .*it is cut off"):
        VideoDecoder(tmp_path / "cut.garv")


@pytest.mark.cuda
def test_the_gpu_decodes_like_the_cpu(path, decoder):
    on_gpu = VideoDecoder(path, device="cuda")
    whole = on_gpu[:]
    assert whole.device.type == "cuda"
    # weights and coarse levels in half precision, and the order of a sum, which changes its last bits: they decide
    # between two levels
    assert (whole.cpu().int() - decoder[:].int()).abs().max() <= 1
    assert (on_gpu.get_frames_at([8, 0, -1]).data.int() - whole[[8, 0, 8]].int()).abs().max() <= 1


@pytest.mark.cuda
def test_single_frames_on_the_gpu_are_those_of_a_batch(path):
    """Also those that threads ask for on streams of their own."""
    on_gpu, order = VideoDecoder(path, device="cuda"), (4, 0, 8, 4)

    def draw(_: int) -> list[torch.Tensor]:
        with torch.cuda.stream(torch.cuda.Stream()):
            frames = [on_gpu[i] for _ in range(20) for i in order]
            torch.cuda.current_stream().synchronize()
        return frames

    with ThreadPoolExecutor(2) as pool:
        frames = [frame for drawn in pool.map(draw, range(2)) for frame in drawn]
    whole = on_gpu[:].int()
    for k, frame in enumerate(frames):
        assert (frame.int() - whole[order[k % 4]]).abs().max() <= 1  # by the order of a sum


@pytest.mark.cuda
def test_the_gpu_is_not_waited_for(path):
    on_gpu = VideoDecoder(path, device="cuda")
    crop, size = (5, 3, 20, 10), (10, 5)
    on_gpu[0], on_gpu.get_frame_at(0, crop=crop, size=size)  # measures its lists and waits for their length
    torch.cuda.set_sync_debug_mode("error")
    try:
        for i in (5, 0, 8):
            on_gpu[i]
        on_gpu.get_frames_at([3, 1])
        on_gpu.get_frames_at([3.5], crop=(1, 2, 30, 9), dtype=torch.float16)
        on_gpu.get_frames_at([3.5, 1], crop=(7, 3, 20, 10), size=size)
    finally:
        torch.cuda.set_sync_debug_mode("default")
