import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from services.trainer.evaluation import bootstrap
from services.trainer.evaluation.bootstrap import Resampling, difference, gap, mean
from services.trainer.evaluation.verdict import Judgement, by_interval

HOW = Resampling(2000, 0.95, 1)
SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=40)


def judged(base, tuned):
    return by_interval(difference(base, tuned, HOW), lower_is_better=False)


def test_a_clear_gain_is_better_and_its_interval_lies_above_zero():
    base, tuned = [0.0] * 50, [1.0] * 40 + [0.0] * 10
    found = difference(base, tuned, HOW)
    assert judged(base, tuned) is Judgement.BETTER
    assert found.value == pytest.approx(0.8)
    assert 0.6 < found.low < 0.8 < found.high < 0.95


def test_a_clear_loss_is_worse():
    assert judged([1.0] * 40 + [0.0] * 10, [0.0] * 50) is Judgement.WORSE


def test_less_may_be_better():
    found = difference([1.0] * 40, [0.0] * 40, HOW)
    assert by_interval(found, lower_is_better=True) is Judgement.BETTER


def test_few_mixed_rows_cannot_tell():
    base, tuned = [1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0]
    assert judged(base, tuned) is Judgement.CANNOT_TELL


def test_equal_scorings_have_no_width():
    found = difference([1.0, 0.0], [1.0, 0.0], HOW)
    assert (found.low, found.high) == (0.0, 0.0)


def test_rows_are_paired():
    """All gains and losses cancel row by row, though the two lists hold the same scores."""
    base, tuned = [1.0] * 30 + [0.0] * 30, [0.0] * 30 + [1.0] * 30
    assert difference(base, tuned, HOW).value == 0.0


def test_more_confidence_widens_the_interval():
    values = [1.0] * 15 + [0.0] * 25
    narrow, wide = mean(values, Resampling(4000, 0.5, 1)), mean(values, Resampling(4000, 0.99, 1))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_drawing_in_batches_gives_all_resamples(monkeypatch):
    values, how = [1.0] * 15 + [0.0] * 15, Resampling(3000, 0.9, 2)
    whole = mean(values, how)
    monkeypatch.setattr(bootstrap, "CELLS_MAX", 100)
    assert mean(values, how) == whole


def test_intervals_are_those_of_another_implementation():
    values = np.random.default_rng(3).beta(2, 1, 120)
    other = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(4)
    ).confidence_interval
    found = mean(list(values), Resampling(20_000, 0.95, 5))
    assert (found.low, found.high) == pytest.approx((other.low, other.high), abs=0.003)


def test_a_gap_of_other_rows_is_as_wide_as_both_of_them_are_unsure():
    first, second = [1.0] * 45 + [0.0] * 5, [1.0] * 50 + [0.0] * 50
    found = gap(first, second, Resampling(20_000, 0.95, 6))
    spread = (0.9 * 0.1 / 50 + 0.5 * 0.5 / 100) ** 0.5
    assert found.value == pytest.approx(0.4)
    assert found.high - found.low == pytest.approx(2 * 1.96 * spread, rel=0.1)


@given(SCORES)
def test_an_interval_lies_within_the_scores(values):
    found = mean(values, Resampling(100, 0.9, 0))
    edge = 1e-12
    assert min(values) - edge <= found.low <= found.high <= max(values) + edge


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30))
def test_a_comparison_turned_around_is_the_negative(pairs):
    base, tuned = zip(*pairs, strict=True)
    there = difference(base, tuned, Resampling(100, 0.9, 0))
    back = difference(tuned, base, Resampling(100, 0.9, 0))
    assert (back.value, back.low, back.high) == pytest.approx(
        (-there.value, -there.high, -there.low), abs=1e-12
    )
