"""bd_rate: values worked out by hand, and the reasons for none."""

from __future__ import annotations

import sys

import pytest

from garv_gsplat.comparing import NoBdRate, Point, bd_rate, bd_rates

CURVE = [(0.05, 30.0), (0.1, 33.0), (0.2, 36.0), (0.4, 39.0)]


def scaled(factor: float) -> list[tuple[float, float]]:
    return [(rate * factor, quality) for rate, quality in CURVE]


def point(curve: str, bpp: float, psnr: float, ms_ssim: float | None = None) -> Point:
    return Point("f", curve, 1, bpp, psnr, ms_ssim, None, 1.0, "cpu", None)


def test_identical_curves():
    assert bd_rate(CURVE, CURVE) == 0


@pytest.mark.parametrize(("factor", "percent"), [(2, 100), (0.5, -50), (1.1, 10)])
def test_a_curve_of_a_multiple_of_the_rate(factor, percent):
    assert bd_rate(CURVE, scaled(factor)) == pytest.approx(percent)
    bent = [(rate, quality + 5 * rate) for rate, quality in CURVE]  # the multiple is the same whatever the shape
    assert bd_rate(bent, [(rate * factor, quality) for rate, quality in bent]) == pytest.approx(percent)


def test_curves_that_overlap_in_part():
    """Both are straight lines in the logarithm, on which 3 dB are a factor of 2, and 1 dB one of 2^(1/3)."""
    better = [(rate, quality + 1) for rate, quality in CURVE]
    assert bd_rate(CURVE, better) == pytest.approx(100 * (2 ** (-1 / 3) - 1))


def test_the_other_way_round_is_the_inverse():
    other = [(0.04, 30.5), (0.11, 33.2), (0.19, 35.1), (0.5, 40.0)]
    assert (1 + bd_rate(CURVE, other) / 100) * (1 + bd_rate(other, CURVE) / 100) == pytest.approx(1)


def test_neither_unit_nor_order_counts():
    other = scaled(1.3)[::-1]
    assert bd_rate(CURVE[::-1], other) == pytest.approx(bd_rate(CURVE, scaled(1.3)))
    assert bd_rate([(8e3 * r, q) for r, q in CURVE], [(8e3 * r, q) for r, q in other]) == pytest.approx(30)


@pytest.mark.parametrize(
    ("reference", "curve", "reason"),
    [
        (CURVE, CURVE[:3], "it has 3 of at least 4 points"),
        (CURVE[1:], CURVE, "the reference has 3 of at least 4 points"),
        (CURVE, [(rate, quality + 10) for rate, quality in CURVE], "there is no quality that both reach"),
        (CURVE, [*CURVE[:3], (0.4, 35.0)], "of it a larger file is not a better one"),
        (CURVE, [*CURVE, (0.4, 39.0)], "of it a larger file is not a better one"),
    ],
)
def test_reasons_for_none(reference, curve, reason):
    with pytest.raises(NoBdRate, match=reason):
        bd_rate(reference, curve)


def test_every_curve_against_the_first():
    points = [point("garv", *p, 1 - 0.1 / p[1]) for p in CURVE]
    points += [point("x264", *p, 1 - 0.1 / p[1]) for p in scaled(2)]
    points += [point("av1", 0.1, 35.0, 0.9)]
    first, second, third, fourth = bd_rates(points)
    assert (first.curve, first.reference, first.measure, second.measure) == ("x264", "garv", "psnr", "ms_ssim")
    assert (first.percent, second.percent) == pytest.approx((100, 100))
    assert first.reason is None
    assert (third.curve, third.percent, third.reason) == ("av1", None, "it has 1 of at least 4 points")
    assert fourth.measure == "ms_ssim"


def test_no_ms_ssim_where_frames_are_too_small():
    points = [point(curve, *p) for curve in ("garv", "x264") for p in CURVE]
    assert [rate.measure for rate in bd_rates(points)] == ["psnr"]
    assert bd_rates(points[:4]) == []


def test_identical_frames_have_an_ms_ssim_in_decibels():
    points = [point(curve, rate, psnr, s) for curve in "ab" for (rate, psnr), s in zip(CURVE, (0.9, 0.95, 0.99, 1.0))]
    assert bd_rates(points)[1].percent == 0


def test_without_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.interpolate", None)
    with pytest.raises(ImportError, match=r'pip install "garv-gsplat\[compare\]"'):
        bd_rate(CURVE, CURVE)
