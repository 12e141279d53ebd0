"""`encode` from Python: what it takes, what it gives back, what it refuses before it writes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import garv_gsplat as garv
from garv_gsplat import measuring
from tests import media
from tests.media_tracks import Sound, Text, make_with_tracks

CONFIG = garv.FitConfig(num_gaussians=40)
FRAMES = media.pattern(4)


def encode(source, path, **arguments) -> garv.EncodeResult:
    return garv.encode(source, path, CONFIG, steps=3, device="cpu", **arguments)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_arrays(tmp_path, kind, channels):
    frames = np.ascontiguousarray(np.concatenate([FRAMES, FRAMES], 3)[..., :channels])
    result = encode(kind(frames), tmp_path / "v.garv", frame_rate=12)
    info = garv.load(tmp_path / "v.garv").info
    assert (info.width, info.height, info.frames, info.channels) == (64, 48, 4, channels)
    assert info.frame_rate == 12
    assert (result.steps, result.interrupted, result.notes) == (3, False, ())
    assert 30 < result.num_gaussians <= 40
    assert result.bytes == (tmp_path / "v.garv").stat().st_size


def test_notes_on_the_source_come_back(tmp_path):
    result = encode(media.make_truncated(tmp_path / "v.mp4"), tmp_path / "v.garv")
    assert any("damaged" in note for note in result.notes)


def test_frames_that_are_held_out_are_told_apart(tmp_path):
    result = garv.encode(
        FRAMES, tmp_path / "v.garv", garv.FitConfig(num_gaussians=40, hold_out=3), steps=3, device="cpu"
    )
    psnr = measuring.compare(tmp_path / "v.garv", torch.from_numpy(FRAMES), "cpu").psnr
    assert result.psnr_held_out == pytest.approx(psnr[2].item())
    assert result.psnr_seen == pytest.approx(psnr[[0, 1, 3]].mean().item())
    assert f"{result.psnr_seen:.2f} dB of the frames seen, {psnr[2]:.2f} dB of those held out" in str(result)


@pytest.mark.parametrize("config", [CONFIG, garv.FitConfig(num_gaussians=40, hold_out=4)])
def test_where_none_is_held_out_there_is_no_more_to_tell(tmp_path, config):
    result = garv.encode(FRAMES, tmp_path / "v.garv", config, steps=3, device="cpu")
    assert (result.psnr_seen, result.psnr_held_out) == (result.psnr, None) and "held out" not in str(result)


def test_the_video_itself_is_not_overwritten(tmp_path):
    source = media.make_video(tmp_path / "v.mp4", media.pattern(2))
    before = source.read_bytes()
    (tmp_path / "link").symlink_to(source)
    for path in (source, tmp_path / "link"):
        with pytest.raises(garv.VideoError, match="is the video itself"):
            encode(source, path)
    assert source.read_bytes() == before


@pytest.mark.parametrize(
    ("source", "arguments", "message"),
    [
        (FRAMES, {"start": 1.0}, "start and duration choose a part of a file"),
        (FRAMES.astype(np.float32), {}, "array holds float32; give uint8"),
        (FRAMES[0], {}, r"array has shape \(48, 64, 3\)"),
        ([1, 2], {}, "must be a NumPy array or a torch tensor, got list"),
        (FRAMES, {"frame_rate": 0}, "give frames per second above 0"),
        (garv.video_from_array(FRAMES), {"frame_rate": 5}, "a Video has a frame rate of its own"),
    ],
)
def test_what_is_refused(tmp_path, source, arguments, message):
    with pytest.raises(ValueError, match=message):
        encode(source, tmp_path / "v.garv", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_video_agrees_with_its_info():
    frames = torch.from_numpy(FRAMES)
    with pytest.raises(garv.VideoError, match=r"must be \[4, 48, 63, 3\] uint8 as its info says, got \[4, 48, 64, 3\]"):
        garv.Video(frames, garv.VideoInfo(63, 48, 4))
    with pytest.raises(garv.VideoError, match="got .* torch.float32"):
        garv.Video(frames.float(), garv.VideoInfo(64, 48, 4))


def test_the_speed_of_a_short_video_is_measured_for_long_enough(tmp_path, monkeypatch):
    decoded = []
    count = garv.VideoDecoder.frames
    monkeypatch.setattr(garv.VideoDecoder, "frames", lambda self: decoded.append(1) or count(self))
    encode(FRAMES, tmp_path / "v.garv")
    decoded.clear()
    speed = measuring.decoding_speed(tmp_path / "v.garv", "cpu")
    assert speed * measuring._LEAST_SECONDS <= 4 * len(decoded)


def test_sound_rides_along_and_comes_back(tmp_path):
    source = make_with_tracks(tmp_path / "v.mp4", Sound(language="deu"), Text("mov_text", "fra"))
    plain = encode(source, tmp_path / "plain.garv", audio=False)
    full = encode(source, tmp_path / "full.garv")
    tracks = garv.read_tracks(source)
    assert garv.GarvFile(full.path).tracks() == tracks and len(tracks) > 1000
    assert full.bytes == plain.bytes + len(tracks) + 24  # an entry in the table of sections
    assert torch.equal(garv.load(full.path).colors, garv.load(plain.path).colors)
    assert garv.GarvFile(plain.path).tracks() is None


def test_a_part_has_the_sound_of_that_part(tmp_path):
    source = make_with_tracks(tmp_path / "v.mkv", Sound(codec="flac"), frames=media.pattern(12))
    encode(source, tmp_path / "v.garv", start=0.2, duration=0.16)
    assert garv.GarvFile(tmp_path / "v.garv").tracks() == garv.read_tracks(source, 0.2, 0.16)
