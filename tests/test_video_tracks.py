"""read_tracks: packets are the source's, times are counted from the first frame, odd sources give what they have."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest

from garv_gsplat.video import VideoError, read_info, read_tracks, read_video
from tests import media
from tests.media_tracks import LINES, Sound, Text, look, look_beside_pictures, make_with_tracks

TICK = Fraction(1, 1000)
"""to which Matroska rounds"""
FRAME = Fraction(1, 25)


def assert_same_times(got, expected):
    assert len(got) == len(expected)
    assert all(abs(a - b) <= TICK for a, b in zip(got, expected)), (got, expected)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi", "clip.h264"])
def test_without_sound(tmp_path, name):
    path = media.make_video(tmp_path / name, codec="mpeg4" if name == "clip.avi" else "libx264")
    assert read_tracks(path) is None


def test_images_have_none(tmp_path):
    folder = media.make_images(tmp_path / "frames")
    assert read_tracks(folder) is None
    assert read_tracks(folder / "frame1.png") is None


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_two_languages(tmp_path, suffix):
    path = make_with_tracks(tmp_path / f"clip{suffix}", Sound(language="deu"), Sound(language="eng", start=0.1))
    tracks, source = look(read_tracks(path)), look_beside_pictures(path)
    assert [(s.kind, s.codec, s.language) for s in tracks] == [("audio", "aac", "deu"), ("audio", "aac", "eng")]
    assert [s.disposition for s in tracks] == [s.disposition for s in source]
    for got, expected in zip(tracks, source):
        # the packet before time 0, on which AAC's decoder runs up, has no place in Matroska when it comes from MP4
        kept = [packet for packet in expected.packets if packet[0] >= 0 or suffix == ".mkv"]
        assert got.data == [data for _, _, data in kept]
        assert_same_times(got.times, [time for time, _, _ in kept])
    assert tracks[1].times[0] >= 0.07


def test_text_of_mp4_becomes_subrip(tmp_path):
    path = make_with_tracks(tmp_path / "clip.mp4", Text("mov_text", "fra"))
    (text,) = look(read_tracks(path))
    assert (text.codec, text.language, text.title) == ("subrip", "fra", "title of mov_text")
    assert text.disposition & av.stream.Disposition.forced.value
    assert text.data == [b"Hello <i>world</i>", b"two"]
    assert_same_times(text.times, [0, Fraction(1, 4)])
    assert [duration for _, duration, _ in text.packets] == [Fraction(1, 5)] * 2


def test_subtitles_of_matroska_and_their_fonts(tmp_path):
    path = make_with_tracks(tmp_path / "clip.mkv", Text("subrip", "fra"), Text("ass", "spa"), fonts=["a.ttf", "b.ttf"])
    tracks = look(read_tracks(path))
    assert tracks == look_beside_pictures(path)
    assert [s.codec for s in tracks] == ["subrip", "ass", "a.ttf", "b.ttf"]
    assert b"{\\i1}world" in tracks[1].data[0]


def test_fonts_without_subtitles_are_left(tmp_path):
    path = make_with_tracks(tmp_path / "clip.mkv", Sound(), fonts=["a.ttf"])
    assert [s.kind for s in look(read_tracks(path))] == ["audio"]


@pytest.mark.parametrize("codec", ["libopus", "libmp3lame", "ac3"])
def test_packets_that_a_decoder_runs_up_on(tmp_path, codec):
    """They lie before time 0; without them Matroska's decoders would take real sound for the run-up."""
    path = make_with_tracks(tmp_path / "clip.mkv", Sound(codec))
    (tracks,), (source,) = look(read_tracks(path)), look_beside_pictures(path)
    assert source.times[0] < 0
    assert tracks.packets == source.packets


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts"])
@pytest.mark.parametrize(("start", "duration"), [(0.1, None), (None, 0.2), (0.1, 0.2), (0.4, 0.06)])
def test_part(tmp_path, suffix, start, duration):
    """What remains are the packets of the part, at their times less that of the first frame that is taken."""
    path = make_with_tracks(tmp_path / f"clip{suffix}", Sound("mp2"))
    tracks = look(read_tracks(path, start, duration))
    (source,) = look_beside_pictures(path)
    file_start = min(time for time, _, _ in look(path)[0].packets)
    first = file_start + len(media.pattern()) * FRAME - read_info(path, start=start).frames * FRAME
    end = file_start + Fraction(start or 0).limit_denominator(1000) + Fraction(duration or 9).limit_denominator(1000)
    kept = [(time, data) for time, _, data in source.packets if first - TICK / 2 <= time < end - TICK / 2]
    got = [(time, data) for stream in tracks for time, _, data in stream.packets if time >= 0]
    assert kept
    assert [data for _, data in got] == [data for _, data in kept]
    assert_same_times([time for time, _ in got], [time - first for time, _ in kept])


def test_subtitles_across_the_ends_of_the_part_are_shortened(tmp_path):
    path = make_with_tracks(tmp_path / "clip.mkv", Text("subrip"))
    (text,) = look(read_tracks(path, start=0.12, duration=0.2))
    times = [(begin, begin + duration) for begin, duration, _ in text.packets]
    assert times == [(0, Fraction(8, 100)), (Fraction(13, 100), Fraction(20, 100))]
    (text,) = look(read_tracks(path, start=0.24))
    assert text.data == [b"two"], "the first was over"


def test_sound_that_begins_before_the_pictures(tmp_path):
    ticks = [200 + 40 * k for k in range(12)]
    path = make_with_tracks(tmp_path / "clip.mkv", Sound(seconds=0.7), Text("subrip"), ticks=ticks)
    sound, text = look(read_tracks(path))
    source = look_beside_pictures(path)[0]
    expected = [time - Fraction(1, 5) for time in source.times if time >= Fraction(1, 5)]
    assert_same_times([time for time in sound.times if time >= 0], expected)
    assert sound.times[0] > -0.05, "no more than the decoder's run-up"
    assert text.times == [Fraction(5, 100)]


def test_sound_that_is_longer_than_the_pictures(tmp_path):
    path = make_with_tracks(tmp_path / "clip.mkv", Sound(seconds=2), frames=media.pattern(3))
    assert look(read_tracks(path))[0].times[-1] > 1.9
    assert 0.4 < look(read_tracks(path, duration=0.5))[0].times[-1] < 0.5


def test_streams_without_anything_in_the_part(tmp_path):
    path = make_with_tracks(tmp_path / "clip.mkv", Sound(language="deu", seconds=0.1), Sound(language="eng"))
    assert [s.language for s in look(read_tracks(path, start=0.3))] == ["eng"]
    path = make_with_tracks(tmp_path / "short.mkv", Sound(seconds=0.1), Text("subrip", lines=LINES[:1]))
    assert read_tracks(path, start=0.3) is None


def test_one_frame(tmp_path):
    path = make_with_tracks(tmp_path / "clip.mp4", Sound(), frames=media.pattern(1))
    (sound,) = look(read_tracks(path))
    assert sound.times[0] == 0
    assert sound.times[-1] > 0.4


def test_variable_frame_rate(tmp_path):
    frames = media.pattern(len(media.VARIABLE_TICKS))
    path = make_with_tracks(tmp_path / "clip.mkv", Sound("mp2"), frames=frames, ticks=media.VARIABLE_TICKS)
    (sound,), (source,) = look(read_tracks(path, start=0.1)), look_beside_pictures(path)
    first = Fraction(140, 1000)  # of VARIABLE_TICKS, the next frame after 100 ms
    got = [time for time in sound.times if time >= 0]
    assert_same_times(got, [time - first for time in source.times if time >= first])


def test_the_same_file_gives_the_same_bytes(tmp_path):
    path = make_with_tracks(tmp_path / "clip.mp4", Sound(), Text("mov_text"))
    assert read_tracks(path) == read_tracks(path)


def test_a_codec_that_matroska_does_not_have(tmp_path):
    path = make_with_tracks(tmp_path / "clip.avi", Sound("adpcm_ms"))
    notes = []
    assert read_tracks(path, on_note=notes.append) is None
    (note,) = notes
    assert "sound (adpcm_ms) left out" in note
    assert read_tracks(path) is None


def test_sound_that_is_noise(tmp_path):
    """Packets are copied, whatever is in them; transport streams look into them."""
    for suffix in (".mp4", ".ts"):
        path = make_with_tracks(tmp_path / f"clip{suffix}", Sound())
        data = bytearray(path.read_bytes())
        with av.open(str(path)) as container:
            places = [packet.pos for packet in container.demux(audio=0) if packet.size]
        for place in places[3:12]:
            data[place + 20 : place + 100] = b"\xff" * 80
        path.write_bytes(data)
        assert look(read_tracks(path))[0].packets
        assert read_video(path).info.frames == 12


@pytest.mark.parametrize("keep", [0.5, 0.7, 0.9])
def test_file_that_is_cut_short(tmp_path, keep):
    path = make_with_tracks(tmp_path / "clip.mkv", Sound("pcm_s16le"))
    whole = look(read_tracks(path))[0].data
    media.cut(path, keep)
    data = look(read_tracks(path))[0].data
    assert 0 < len(data) < len(whole)
    assert data == whole[: len(data)]
    assert read_video(path).info.frames > 0


def test_a_packet_without_its_end_is_said(tmp_path):
    path = media.cut(make_with_tracks(tmp_path / "clip.avi", Sound("pcm_s16le", "deu")), 0.8)
    notes = []
    read_tracks(path, on_note=notes.append)
    assert notes == ["sound (pcm_s16le): 1 of its packets are damaged and left out"], "AVI has no languages"


@pytest.mark.parametrize("arguments", [{"start": 5}, {"start": -1}, {"duration": 0}])
def test_refuses_what_read_video_refuses(tmp_path, arguments):
    path = make_with_tracks(tmp_path / "clip.mp4", Sound())
    with pytest.raises(VideoError) as error:
        read_tracks(path, **arguments)
    media.assert_one_line(error.value, path)
    with pytest.raises(VideoError, match="no such file"):
        read_tracks(tmp_path / "missing.mp4")
