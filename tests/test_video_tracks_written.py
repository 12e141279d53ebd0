"""VideoWriter with tracks: sound and subtitles come back, in step with the pictures."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from garv_gsplat.video import VideoError, VideoWriter, read_info, read_tracks, read_video
from garv_gsplat.volume import VideoInfo
from tests import media
from tests.media_tracks import Sound, Text, look, look_beside_pictures, make_with_tracks

TICK = Fraction(1, 1000)
"""to which Matroska rounds, in which the tracks are kept"""


def copy(source: Path, path: Path, **part: float) -> tuple[str, ...]:
    """Read a video with its tracks and write it again; the writer's notes."""
    video = read_video(source, **part)
    with VideoWriter(path, video.info, read_tracks(source, **part)) as out:
        out.write(video.frames)
    return out.notes


def decode_sound(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    "tracks",
    [
        (Sound(language="deu"), Sound(language="eng", start=0.1), Text("mov_text", "fra")),
        (Sound(seconds=2.0),),
        (Text("mov_text", "fra"),),
        (),
    ],
    ids=["two languages and subtitles", "longer than the pictures", "subtitles alone", "nothing"],
)
def test_mp4(tmp_path, tracks, suffix):
    source, path = make_with_tracks(tmp_path / "in.mp4", *tracks), tmp_path / f"out{suffix}"
    assert copy(source, path) == ()
    assert read_tracks(path) == read_tracks(source)
    video, plain = read_video(path), tmp_path / f"plain{suffix}"
    with VideoWriter(plain, read_info(source)) as out:
        out.write(read_video(source).frames)
    assert video.info == read_info(plain)
    # The pictures are as good as those without tracks; bit by bit x264 does not code the same pictures alike each time.
    frames = read_video(source).frames.float()
    with_tracks, without = ((v.frames.float() - frames).abs().mean() for v in (video, read_video(plain)))
    assert with_tracks < 3 and abs(with_tracks - without) < 0.3
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["in.mp4", path.name, plain.name])


@pytest.mark.parametrize(
    "codec", ["aac", "libopus", "libmp3lame", "ac3", "flac", "alac", "pcm_s16le", "pcm_u8", "wavpack"]
)
def test_sound_of_matroska_is_the_same_sample_by_sample(tmp_path, codec):
    source, path = make_with_tracks(tmp_path / "in.mkv", Sound(codec)), tmp_path / "out.mkv"
    assert copy(source, path) == ()
    np.testing.assert_array_equal(decode_sound(path), decode_sound(source))


@pytest.mark.parametrize("codec", ["aac", "flac", "alac", "pcm_s16le", "ac3", "libopus"])
def test_no_packet_is_lost_on_the_way_to_mp4(tmp_path, codec):
    source, path = make_with_tracks(tmp_path / "in.mkv", Sound(codec)), tmp_path / "out.mp4"
    assert copy(source, path) == ()
    assert look(path)[1].data == look(source)[1].data


def test_sound_in_mp4_has_no_gaps(tmp_path):
    """Matroska in between rounds to milliseconds; AAC's packets are 1024 samples, one after the other."""
    source, path = make_with_tracks(tmp_path / "in.mp4", Sound()), tmp_path / "out.mp4"
    copy(source, path)
    times = look(path)[1].times
    assert {b - a for a, b in zip(times, times[1:])} == {Fraction(1024, 44100)}
    assert times == [time for time in look(source)[1].times if time >= 0]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_part_stays_in_step(tmp_path, suffix):
    """What is heard at 0.3 s is heard at 0.1 s when the part begins at 0.2 s."""
    source, path = make_with_tracks(tmp_path / "in.mkv", Sound("pcm_s16le")), tmp_path / f"out{suffix}"
    copy(source, path, start=0.2)
    whole, part = ({data: time for time, _, data in look(p)[1].packets} for p in (source, path))
    assert len(part) > 10
    assert all(abs(whole[data] - Fraction(1, 5) - time) <= TICK for data, time in part.items())


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_packets_lie_in_the_file_in_the_order_of_their_times(tmp_path, suffix):
    """Over more than the ten seconds that FFmpeg itself holds packets back to sort them."""
    lines = [(t, t + 1.0, f"line {t}") for t in (0.5, 11.0)]
    tracks = (Sound(seconds=13), Sound("ac3", seconds=13), Text("subrip", lines=lines))
    source = make_with_tracks(tmp_path / "in.mkv", *tracks, frames=media.pattern(300, 16, 16))
    path = tmp_path / f"out{suffix}"
    copy(source, path)
    with av.open(str(path)) as container:
        # two bytes: the empty subtitles with which MP4 fills the time after a text, and which lie beside that
        packets = [packet for packet in container.demux() if packet.size > 2 and packet.dts is not None]
        assert {packet.stream.index for packet in packets} == {0, 1, 2, 3}
    times = [packet.dts * packet.time_base for packet in sorted(packets, key=lambda packet: packet.pos)]
    latest = np.maximum.accumulate(np.array(times, float))
    # Matroska has no decoding times: those of pictures are FFmpeg's guess, two frames late at most
    assert np.max(latest - np.array(times, float)) <= (0.08 if suffix == ".mkv" else 0)


def test_subtitles_of_matroska_in_mp4(tmp_path):
    source, path = make_with_tracks(tmp_path / "in.mkv", Text("subrip", "fra"), Text("ass", "spa")), tmp_path / "a.mp4"
    (note,) = copy(source, path)
    assert note == "subtitles (ass, spa) left out: .mp4 files cannot hold this kind; write .mkv"
    (text,) = look_beside_pictures(path)
    assert (text.codec, text.language, text.title) == ("mov_text", "fra", "title of subrip")
    assert text.data[0].startswith(b"\0\x0bHello world"), "without the signs for italics"
    assert b"styl" in text.data[0], "which are kept as a style"
    assert [(begin, duration) for begin, duration, data in text.packets if len(data) > 2] == [
        (0, Fraction(1, 5)),
        (Fraction(1, 4), Fraction(1, 5)),
    ]


def test_everything_fits_into_matroska(tmp_path):
    tracks = (Sound("pcm_u8", "deu"), Text("subrip", "fra"), Text("ass", "spa"))
    source, path = make_with_tracks(tmp_path / "in.mkv", *tracks, fonts=["a.ttf"]), tmp_path / "out.mkv"
    assert copy(source, path) == ()
    assert look_beside_pictures(path) == look_beside_pictures(source)
    (note, other) = copy(source, tmp_path / "out.mp4")
    assert note == "sound (pcm_u8, deu) left out: .mp4 files cannot hold this kind; write .mkv"
    assert "ass" in other, "and nothing is said of its font"


def test_one_frame_and_variable_rate(tmp_path):
    frames = media.pattern(len(media.VARIABLE_TICKS))
    one = make_with_tracks(tmp_path / "one.mp4", Sound(), frames=media.pattern(1))
    uneven = make_with_tracks(tmp_path / "uneven.mp4", Sound(), frames=frames, ticks=media.VARIABLE_TICKS)
    for source in (one, uneven):
        for suffix in (".mp4", ".mkv"):
            path = tmp_path / f"out{suffix}"
            assert copy(source, path) == ()
            assert read_tracks(path) == read_tracks(source)
            assert read_info(path).timestamps == read_info(source).timestamps
            assert read_info(path).frames == read_info(source).frames


def test_a_line_of_subtitles_that_is_no_text(tmp_path):
    source, path = make_with_tracks(tmp_path / "in.mkv", Text("subrip")), tmp_path / "out.mp4"
    data = source.read_bytes().replace(b"two", b"\xff\xfe\xff")
    source.write_bytes(data)
    (note,) = copy(source, path)
    assert note == "subtitles (subrip): 1 of its packets are damaged and left out"
    assert [data for data in look(path)[1].data if len(data) > 2][0].startswith(b"\0\x0bHello world")


def test_packets_that_mp4_looks_into_and_finds_damaged(tmp_path):
    source = make_with_tracks(tmp_path / "in.mkv", Sound("eac3", "deu"))
    data, packets = source.read_bytes(), look(source)[1].data
    for packet in (packets[4], packets[-1]):
        data = data.replace(packet, bytes(len(packet)))
    source.write_bytes(data)
    assert copy(source, tmp_path / "out.mp4") == ("sound (eac3, deu): 2 of its packets are damaged and left out",)
    assert look(tmp_path / "out.mp4")[1].data == [*packets[:4], *packets[5:-1]]
    assert copy(source, tmp_path / "out.mkv") == ()


@pytest.mark.parametrize("tracks", [b"", b"no Matroska", b"\x1a\x45\xdf\xa3" + bytes(100)])
def test_what_is_not_from_read_tracks(tmp_path, tracks):
    path = tmp_path / "out.mp4"
    with pytest.raises(VideoError, match="tracks are no Matroska file") as error:
        VideoWriter(path, VideoInfo(16, 16, 1), tracks)
    media.assert_one_line(error.value, path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_tracks_that_are_cut_short(tmp_path, keep):
    tracks = read_tracks(make_with_tracks(tmp_path / "in.mp4", Sound(seconds=2)))
    path = tmp_path / "out.mp4"
    with VideoWriter(path, VideoInfo(64, 48, 12), tracks[: int(len(tracks) * keep)]) as out:
        out.write(media.pattern())
    assert 0 < len(look(path)[1].data) < 90
    assert read_info(path).frames == 12


def test_an_exception_leaves_nothing(tmp_path):
    tracks = read_tracks(make_with_tracks(tmp_path / "in.mp4", Sound()))
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "out.mp4", VideoInfo(64, 48, 12), tracks) as out:
        out.write(media.pattern()[:6])
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]
