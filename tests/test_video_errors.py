"""video: damaged files give what they have, wrong ones a clear line."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from garv_gsplat.video import (
    VideoError,
    check_writable,
    read_info,
    read_video,
)
from tests import media


@pytest.mark.parametrize(("suffix", "note"), [(".mp4", "damaged"), (".mkv", "cut short")])
def test_cut_in_the_middle(tmp_path, suffix, note):
    path = media.make_truncated(tmp_path / f"cut{suffix}")
    video = read_video(path)
    assert 5 < video.info.frames < 45
    np.testing.assert_allclose(video.frames.numpy(), media.pattern(50)[: video.info.frames], atol=40)
    assert note in video.notes[0]
    assert video.info == read_info(path)


def test_cut_in_the_middle_with_sound(tmp_path):
    path = media.cut(media.make_with_sound(tmp_path / "cut.mkv"), 0.5)
    video = read_video(path)
    assert 0 < video.info.frames < 12
    assert any("cut short" in note for note in video.notes)


def test_no_note_about_the_end_when_the_end_was_not_asked_for(tmp_path):
    path = media.make_truncated(tmp_path / "cut.mkv")
    assert read_video(path, max_frames=5).notes == ()


@pytest.mark.parametrize(
    ("make", "name", "message"),
    [
        (media.make_text, "notes.mp4", "not a video PyAV can open"),
        (media.make_text, "notes.txt", "only text"),
        (media.make_empty, "empty.mp4", "file is empty"),
        (media.make_audio_only, "song.mp4", "only audio"),
        (lambda path: media.make_audio_only(path, cover=True), "song.mp4", "only audio"),
        (media.make_undecodable, "noise.mp4", "no frame can be decoded"),
        (lambda path: media.cut(media.make_video(path), 0.5), "cut.mp4", "without its index"),
        (lambda path: path, "missing.mp4", "no such file"),
        (media.make_text, "notes.png", "not an image"),
    ],
)
def test_bad_source(tmp_path, make, name, message, capfd):
    path = make(tmp_path / name)
    for read in (read_video, read_info):
        with pytest.raises(VideoError, match=message) as error:
            read(path)
        media.assert_one_line(error.value, path)
    assert capfd.readouterr() == ("", "")


def test_playlist_is_not_followed(tmp_path):
    path = tmp_path / "list.mp4"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:1/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(VideoError):
        read_video(path)


def test_ffmpeg_is_silent_about_damage(tmp_path, capfd):
    read_video(media.make_truncated(tmp_path / "cut.mp4"))
    assert capfd.readouterr() == ("", "")


def test_size_that_changes_midway(tmp_path):
    first, second = (media.make_video(tmp_path / f"{w}.ts", media.pattern(5, w, 48)) for w in (64, 32))
    path = tmp_path / "both.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(VideoError, match="frame 5 is 32x48, those before are 64x48") as error:
        read_video(path)
    media.assert_one_line(error.value, path)
    assert read_video(path, max_frames=5).info.frames == 5


def test_check_writable_leaves_nothing(tmp_path):
    check_writable(tmp_path / "out.garv")
    assert list(tmp_path.iterdir()) == []


def test_check_writable_refuses(tmp_path):
    (tmp_path / "file").touch()
    cases = {
        tmp_path / "missing" / "out.mp4": "there is no folder",
        tmp_path: "is a folder",
        tmp_path / "file" / "out.mp4": "there is no folder",
        tmp_path / ("x" * 300): "cannot be written",
    }
    for path, message in cases.items():
        with pytest.raises(VideoError, match=message) as error:
            check_writable(path)
        media.assert_one_line(error.value, path)


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc/self").exists(), reason="root may write everywhere")
def test_check_writable_refuses_a_read_only_folder(tmp_path):
    folder = Path("/proc") if os.geteuid() == 0 else tmp_path
    folder.chmod(0o555) if folder == tmp_path else None
    with pytest.raises(VideoError, match="cannot be written"):
        check_writable(folder / "out.mp4")
