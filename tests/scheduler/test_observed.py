"""What observed peaks teach: nothing at first, more with evidence, never beyond the bounds."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.memory import Range
from services.scheduler.observed import (
    HIGHEST,
    LOWEST,
    NONE,
    Key,
    Observation,
    corrected,
    correction,
    length_bucket,
)

KEY = Key("meta-llama/Llama-3.1-8B", "SFT", "LORA", 3, "a100-80gb")
GB = 10**9
ESTIMATE = Range(18 * GB, 20 * GB, 23 * GB)


def seen(ratio, key=KEY, count=1):
    return [Observation(key, 20 * GB, round(20 * GB * ratio))] * count


def test_nothing_observed_leaves_the_formula():
    assert correction(KEY, []) == NONE
    assert corrected(ESTIMATE, NONE) == ESTIMATE


def test_evidence_moves_the_factor_by_its_weight():
    """One run at 1.2: ln 1.2 x 1 / (1 + 3); three: x 3 / 6; many: nearly all of it."""
    assert correction(KEY, seen(1.2)).factor == pytest.approx(1.2**0.25)
    assert correction(KEY, seen(1.2, count=3)).factor == pytest.approx(1.2**0.5)
    assert correction(KEY, seen(1.2, count=200)).factor == pytest.approx(1.2, rel=0.01)


@given(st.lists(st.floats(0.01, 100), max_size=40))
def test_factor_stays_within_its_bounds(ratios):
    learnt = correction(KEY, [each for ratio in ratios for each in seen(ratio)])
    assert LOWEST <= learnt.factor <= HIGHEST
    after = corrected(ESTIMATE, learnt)
    assert after.low_bytes <= after.expected_bytes <= after.high_bytes


def test_one_wrong_run_among_many_changes_little():
    right, wrong = seen(1.05, count=9), seen(1.9)
    assert correction(KEY, right + wrong).factor == pytest.approx(
        correction(KEY, seen(1.05, count=10)).factor, rel=0.001
    )


def test_a_run_that_was_another_than_estimated_is_left_out():
    assert correction(KEY, seen(2.5) + seen(0.1)) == NONE
    assert correction(KEY, [Observation(KEY, 0, 5), Observation(KEY, 5, 0)]) == NONE


def test_neighbours_speak_at_less_weight_and_strangers_not_at_all():
    near = seen(1.2, KEY._replace(length_bucket=5, device="h100-80gb"))
    assert 1 < correction(KEY, near).factor < correction(KEY, seen(1.2)).factor
    for stranger in ({"architecture": "other"}, {"technique": "DPO"}, {"method": "QLORA"}):
        assert correction(KEY, seen(1.2, KEY._replace(**stranger))) == NONE


def test_spread_widens_the_bounds():
    noisy = [each for ratio in (0.8, 0.9, 1.0, 1.2, 1.4) for each in seen(ratio)]
    after = corrected(ESTIMATE, correction(KEY, noisy))
    assert after.high_bytes / after.expected_bytes > 23 / 20
    assert after.low_bytes / after.expected_bytes < 18 / 20


@pytest.mark.parametrize("truth", [0.7, 0.9, 1.0, 1.1, 1.4])
def test_learning_never_hurts_on_average(truth):
    """Feed runs that scatter by 3 % around a constant error; estimates are at most a tenth worse.

    That is where the formula is right already, and noise is all there is to learn.
    """
    source = random.Random(5)
    observed, plain, learnt = [], 0.0, 0.0
    for _ in range(60):
        ratio = truth * math.exp(source.gauss(0, 0.03))
        factor = correction(KEY, observed).factor
        plain += abs(1 / ratio - 1)
        learnt += abs(factor / ratio - 1)
        observed = [*seen(ratio), *observed]
    assert learnt <= plain * 1.1


def test_length_buckets_double():
    lengths = (1, 256, 257, 512, 513, 1024, 32_768)
    assert [length_bucket(length) for length in lengths] == [0, 0, 1, 1, 2, 2, 7]
