import random

import pytest

from services.serving.deployments.histogram import CLASS_COUNT, GROWTH, LOWEST_S, Histogram


def of(*seconds):
    made = Histogram()
    for one in seconds:
        made.add(one)
    return made


def test_quantiles_are_within_one_class_of_the_true_ones():
    chance = random.Random(7)
    seconds = sorted(chance.lognormvariate(-2, 1.5) for _ in range(5000))
    made = of(*seconds)
    for share in (0.01, 0.5, 0.95, 0.99):
        true = seconds[int(share * len(seconds)) - 1]
        assert made.quantile(share) == pytest.approx(true, rel=GROWTH - 1)


def test_every_duration_has_a_class():
    made = of(0.0, LOWEST_S, 1e9)
    assert set(made.counts) == {0, CLASS_COUNT - 1}
    assert LOWEST_S * GROWTH ** (CLASS_COUNT - 2) > 590
    assert made.quantile(0.5) <= LOWEST_S


def test_nothing_has_no_quantile():
    assert Histogram().quantile(0.5) is None


def test_counts_of_two_places_add_up_and_are_kept_as_bytes():
    one, two = of(0.1, 0.2), of(0.2, 5.0)
    one.merge(two)
    assert one == of(0.1, 0.2, 0.2, 5.0)
    assert Histogram.from_bytes(one.to_bytes()) == one
