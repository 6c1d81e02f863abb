"""What a share measured on some rows is worth."""

import pytest

from services.planner.plan.share import half_width, lower_bound, reaches


def test_a_perfect_score_on_ten_rows_does_not_prove_ninety_percent():
    assert not reaches(1.0, 0.9, 10)
    assert reaches(1.0, 0.9, 100)
    assert reaches(1.0, 0.9, None)


def test_a_share_below_the_target_never_reaches_it():
    assert not reaches(0.89, 0.9, 1_000_000)


def test_the_bound_is_that_of_wilson():
    # Against statsmodels' proportion_confint(965, 1000, alpha=0.1, method="wilson").
    assert lower_bound(0.965, 1000) == pytest.approx(0.95406, abs=1e-4)


def test_fifty_rows_read_with_fourteen_points():
    assert half_width(50) == pytest.approx(13.9, abs=0.05)
