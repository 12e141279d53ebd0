"""VideoInfo and Box: what they compute, and what they refuse."""

from fractions import Fraction

import pytest

from garv_gsplat.volume import UNSPECIFIED, Box, ColorInfo, VideoInfo


def test_constant_rate():
    info = VideoInfo(4, 3, 5, Fraction(10))
    assert info.pixels == 60
    assert info.duration == Fraction(1, 2)
    assert info.seconds(2) == Fraction(1, 5)
    assert info.frame_centers() == [0.1, 0.3, 0.5, 0.7, 0.9]


def test_timestamps():
    info = VideoInfo(4, 3, 3, Fraction(10), (Fraction(0), Fraction(1, 3), Fraction(1, 2)))
    assert info.seconds(1) == Fraction(1, 3)
    assert info.duration == Fraction(1, 2) + Fraction(1, 10)


@pytest.mark.parametrize("timestamps", [None, (Fraction(0), Fraction(1, 3), Fraction(1, 2))])
def test_names_of_torchcodec(timestamps):
    info = VideoInfo(4, 3, 3, Fraction(10), timestamps)
    seconds = 0.3 if timestamps is None else 0.6
    assert info.num_frames == 3
    assert (info.begin_stream_seconds, info.end_stream_seconds, info.duration_seconds) == (0, seconds, seconds)
    assert info.average_fps == (10 if timestamps is None else 5)
    assert {type(getattr(info, name)) for name in ("average_fps", "duration_seconds", "end_stream_seconds")} == {float}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"frames": -2}, "frames must be at least 1, got -2"),
        ({"channels": 9}, "channels must be 1 to 8, got 9"),
        ({"frame_rate": float("nan")}, "frame_rate must be a number of frames per second, got nan"),
        ({"rotation": 8}, "rotation must be 0 to 7, got 8"),
        ({"frame_rate": Fraction(0)}, "frame_rate must be positive"),
        ({"timestamps": (Fraction(0),)}, "one entry a frame"),
        ({"timestamps": (Fraction(0), Fraction(0))}, "must increase"),
    ],
)
def test_info_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        VideoInfo(**{"width": 2, "height": 2, "frames": 2, **arguments})


def test_colours_are_unspecified_and_upright_by_default():
    info = VideoInfo(4, 3, 5)
    assert info.color == ColorInfo(UNSPECIFIED, UNSPECIFIED, UNSPECIFIED, None)
    assert info.rotation == 0


@pytest.mark.parametrize("name", ["primaries", "transfer", "matrix"])
def test_color_info_refuses(name):
    with pytest.raises(ValueError, match=f"{name} must be a code point of H.273, 0 to 255, got 256"):
        ColorInfo(**{name: 256})


def test_frame_rates_of_any_kind_become_fractions():
    for rate in (25, 12.5, Fraction(30000, 1001)):
        info = VideoInfo(2, 2, 2, rate)
        assert isinstance(info.frame_rate, Fraction) and info.frame_rate == rate
    with pytest.raises(TypeError):
        VideoInfo(2.5, 2, 2)


def test_box_from_pixels():
    box = Box.from_pixels(VideoInfo(100, 50, 10), 10, 20, 30, 10)
    assert (box.range("x"), box.range("y"), box.range("t")) == ((0.1, 0.4), (0.4, 0.6), (0.0, 1.0))


def test_empty_box_is_refused():
    with pytest.raises(ValueError, match="Box is empty along y: y0=0.5 must be below y1=0.5"):
        Box(y0=0.5, y1=0.5)
