import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from services.trainer.evaluation.mcnemar import changes, is_binary, p_value


@given(st.integers(0, 400), st.integers(0, 400))
def test_the_p_value_is_that_of_the_exact_binomial_test(gained, lost):
    expected = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert p_value(gained, lost) == pytest.approx(expected, rel=1e-7)


def test_thousands_of_changes_are_not_too_many():
    assert p_value(6000, 5000) == pytest.approx(stats.binomtest(6000, 11_000).pvalue, rel=1e-6)


def test_only_rows_that_changed_count():
    found = changes([0, 0, 1, 1, 0], [1, 1, 0, 1, 0])
    assert (found.gained_count, found.lost_count) == (2, 1)
    assert found.p_value == 1.0


def test_scores_between_right_and_wrong_are_not_binary():
    assert is_binary([0.0, 1.0], [1.0])
    assert not is_binary([0.0, 0.5])
