"""The estimate by hand, its refusals, and its calibration on clusters whose edges are all known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from netpol_gen.coverage import chao2, estimate, good_turing
from netpol_gen.coverage.bins import SeenHours, make_window
from netpol_gen.coverage.estimate import looks_periodic
from tests.bench.coverage import calibrate, simulate


def counts(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


class TestByHand:
    def test_chao2(self):
        # Nine tenths of four squared over four.
        unseen, low, high = chao2(20, 10, 4, 2, 80)
        assert unseen == pytest.approx(3.6)
        # variance = 2 * (0.45*4 + 0.81*8 + 0.2025*16) = 23.04; k = exp(1.96 * sqrt(ln(1 + 23.04/12.96)))
        k = math.exp(1.959964 * math.sqrt(math.log(1 + 23.04 / 12.96)))
        assert (low, high) == (pytest.approx(3.6 / k), pytest.approx(3.6 * k))

    def test_chao2_with_none_seen_twice(self):
        assert chao2(20, 10, 2, 0, 80)[0] == pytest.approx(0.9)

    def test_chao2_with_none_seen_once(self):
        unseen, low, high = chao2(20, 10, 0, 3, 160)
        assert (unseen, low) == (0, 0)
        assert high < 1

    def test_good_turing(self):
        assert good_turing(10, 4, 2, 80) == pytest.approx(1 - 4 / 80 * 36 / 40)

    def test_expected_new_edges_in_the_next_bin(self):
        assert estimate(counts(1, 1, 2, 2, *[9] * 20), 10).next_bin == pytest.approx(0.2)


class TestRefusals:
    @pytest.mark.parametrize(
        ("seen", "bins", "why"),
        [
            ((), 10, "nothing was observed"),
            ((1, 2, 3, 3, 3), 4, "only 4 time bins, at least 5 are needed"),
            ((2, 2, 3, 4), 10, "only 4 edges, at least 5 are needed"),
            ((1, 1, 1, 5, 5, 5), 10, "3 edges were seen in one time bin only and none in two"),
            ((1, 1, 1, 1, 1, 1, 1, 1, 2), 10, "the interval would reach from 4 to 191 unseen"),
        ],
    )
    def test_not_estimable(self, seen, bins, why):
        found = estimate(counts(*seen), bins)
        assert found.unseen is None
        assert found.why_not.startswith(why)

    def test_too_much_loss(self):
        assert estimate(counts(1, 2, 3, 4, 5), 10, lossy="events were lost").why_not == "events were lost"

    def test_enough_is_estimable(self):
        assert estimate(counts(1, 2, 2, 5, 5), 5).estimable


class TestSensitivity:
    base = counts(1, 2, 2, *[9] * 20)

    def test_other_bins_that_agree(self):
        found = estimate(self.base, 14, [(48, 7, counts(1, 1, 2, *[6] * 20))])
        assert [r.bins for r in found.rebinned] == [7]
        assert not found.moved

    def test_other_bins_that_do_not(self):
        assert estimate(self.base, 14, [(48, 7, counts(*[1] * 8, 2, *[6] * 14))]).moved

    def test_too_few_other_bins_are_no_check(self):
        assert estimate(self.base, 14, [(96, 4, counts(*[1] * 23))]).rebinned == ()


class TestPeriodic:
    @pytest.mark.parametrize(
        ("hours", "periodic"),
        [
            ((3, 27, 51), True),
            ((3, 4, 27, 28), True),  # two hours each night
            ((3, 171), True),  # weekly
            ((3,), False),
            ((3, 28), False),
            ((3, 27, 30), False),
            (tuple(range(72)), False),
            (tuple(h for d in range(5) for h in range(24 * d, 24 * d + 12)), False),  # business hours are no job
        ],
    )
    def test_looks_periodic(self, hours, periodic):
        assert looks_periodic(hours) is periodic


class TestBins:
    @pytest.mark.parametrize(
        ("hours", "length", "units"),
        [
            (1, 1, 1),
            (71, 1, 71),
            (72, 12, 6),
            (119, 12, 10),
            (120, 24, 5),
            (24 * 14, 24, 14),
            (24 * 14 + 11, 24, 14),  # joins the last
            (24 * 14 + 12, 24, 15),
        ],
    )
    def test_length(self, hours, length, units):
        window = make_window(range(1000, 1000 + hours), 0, 0)
        assert window.bin_hours == length
        assert window.cut(length).units == units

    def test_bins_without_any_record_are_no_sampling_units(self):
        window = make_window([*range(10), *range(20, 30)], 0, 0)
        assert window.silent == tuple(range(10, 20))
        assert window.cut(1).units == 20
        assert window.cut(1).counts(SeenHours.of([(0, 1, 29), (20,)])).tolist() == [3, 1]
        assert window.cut(1).unit([9, 20]).tolist() == [9, 10]

    def test_an_edge_counts_once_per_bin(self):
        assert make_window(range(240), 0, 0).cut(24).counts(SeenHours.of([(0, 5, 23, 24)])).tolist() == [2]


class TestCalibration:
    """Seeded, so that a change of the estimator shows; the bounds are wide enough for a change of the seeds."""

    @pytest.mark.parametrize("days", [7, 14])
    def test_with_known_jobs_the_interval_holds_the_truth(self, days):
        found = calibrate(days, 12, known_jobs=True)
        assert found.held >= 0.75
        assert abs(found.error) < 0.05
        assert found.not_estimable == 0

    def test_three_days_with_unknown_periods(self):
        found = calibrate(3, 12, known_jobs=False)
        assert found.held >= 0.7
        assert abs(found.error) < 0.08
        # Flow counts would say that a tenth of all edges is not missing.
        assert found.chao1_error < found.error - 0.02

    def test_one_day_with_unknown_periods_is_not_estimable(self):
        # Daily edges were seen once: they cannot be told from rare ones.
        assert calibrate(1, 10, known_jobs=False).not_estimable >= 0.6

    def test_monthly_edges_of_two_weeks_are_not_in_the_estimate(self):
        simulated = simulate(1, 14)
        assert simulated.unseen("monthly") > 0
        assert simulated.unseen("daily", "weekly") == 0
