import pytest
from scipy.stats import fisher_exact

from services.serving.deployments.arm_comparison import REQUESTS_MIN, compare, fisher
from services.serving.deployments.arm_figures import ArmFigures


def figures(answered, failed=0, first_token_s=0.1, total_s=1.0):
    made = ArmFigures()
    for _ in range(answered):
        made.add(200, first_token_s, total_s)
    for _ in range(failed):
        made.add(503, None, 0.001)
    return made


@pytest.mark.parametrize(
    ("errors_a", "count_a", "errors_b", "count_b"),
    [(3, 412, 11, 3702), (0, 1, 0, 1), (10, 10, 0, 1000), (5, 60, 0, 60), (200, 9000, 1, 40)],
)
def test_the_chance_is_that_of_fishers_exact_test(errors_a, count_a, errors_b, count_b):
    table = [[errors_a, count_a - errors_a], [errors_b, count_b - errors_b]]
    expected = fisher_exact(table).pvalue
    assert fisher(errors_a, count_a, errors_b, count_b) == pytest.approx(expected, rel=1e-6)


def test_equal_rates_of_many_requests_are_said_to_be_no_difference():
    found = compare(figures(3691, 11), figures(411, 1, first_token_s=0.2))
    assert not found.is_worse
    assert "412 requests, 0.243 % failed against 0.297 % of 3,702: no difference" in found.text
    assert "median first token takes 2.0" in found.text.replace("1.9", "2.0")


def test_a_canary_that_fails_more_often_is_worse_however_few_its_requests():
    found = compare(figures(1000), figures(0, 10))
    assert found.is_worse
    assert "100 % failed against 0 % of 1,000: it fails more often (p = under 0.001)" in found.text


def test_a_canary_that_fails_less_often_is_not_worse():
    found = compare(figures(80, 20), figures(200))
    assert not found.is_worse
    assert "it fails less often" in found.text


def test_few_requests_are_too_few_to_tell_and_their_times_are_not_compared():
    found = compare(figures(1000), figures(REQUESTS_MIN - 2, 1))
    assert not found.is_worse
    assert f"too few to tell; it takes {REQUESTS_MIN} requests of each" in found.text
    assert "median" not in found.text


def test_a_canary_or_a_version_that_nobody_asked_is_compared_with_nothing():
    assert "no request yet" in compare(figures(10), figures(0)).text
    assert "nothing to compare with" in compare(figures(0), figures(10)).text


def test_a_callers_mistake_is_not_counted_and_a_quick_error_is_no_quick_answer():
    made = figures(1, 1)
    for status in (400, 404, 429, 499):
        made.add(status, None, 0.1)
    assert (made.request_count, made.error_count, made.total.total) == (2, 1, 1)
