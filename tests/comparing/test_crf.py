"""The search for a crf, on sizes that follow a formula."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from garv_gsplat.comparing.crf import MOST_TRIALS, STEP, TOLERANCE, CrfScale, closest, next_crf

SCALE = CrfScale(first=28.0, last=51.0, per_octave=6.0)


def search(size: Callable[[float], int], wanted: float) -> tuple[float, dict[float, int]]:
    """The crf that is found, and all that were tried."""
    sizes: dict[float, int] = {}
    while (crf := next_crf(sizes, wanted, SCALE)) is not None:
        assert crf not in sizes
        assert 1 <= crf <= SCALE.last and crf % STEP == 0
        sizes[crf] = size(crf)
    return closest(sizes, wanted), sizes


@pytest.mark.parametrize("per_octave", [4, 6, 9])
@pytest.mark.parametrize("wanted", [30_000, 100_000, 400_000])
def test_rates_are_met_in_a_few_trials(wanted, per_octave):
    crf, sizes = search(lambda crf: round(100_000 * 2 ** ((28 - crf) / per_octave)), wanted)
    assert abs(sizes[crf] / wanted - 1) <= 0.04  # half a step of 2^(1 / 16) to either side, and what is near enough
    assert len(sizes) <= 6


def test_a_bent_curve():
    crf, sizes = search(lambda crf: round(3e6 / crf**2), 2000)
    assert abs(sizes[crf] / 2000 - 1) <= TOLERANCE


@pytest.mark.parametrize(("wanted", "end"), [(1, 51), (10**9, 1)])
def test_rates_out_of_reach(wanted, end):
    crf, sizes = search(lambda crf: round(1000 * 2 ** ((28 - crf) / 6)), wanted)
    assert crf == end
    assert len(sizes) <= 4


def test_steps_that_jump_over_the_rate():
    crf, sizes = search(lambda crf: 3000 if crf < 30.3 else 1000, 2900)
    assert sizes[crf] == 3000
    assert len(sizes) <= MOST_TRIALS


def test_sizes_that_do_not_fall_steadily():
    crf, sizes = search(lambda crf: round(1000 * 2 ** ((28 - crf) / 6) * (1.1 if round(crf) % 2 else 1)), 500)
    assert len(sizes) <= MOST_TRIALS
    assert abs(sizes[crf] / 500 - 1) < 0.1
