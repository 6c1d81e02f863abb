"""Numbers, times and sizes as people read them."""

import pytest

from cli.views import figures


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "0.2 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (5400, "1 h 30 min"),
        (30 * 86400, "30 days"),
    ],
)
def test_a_time_is_coarser_the_longer_it_is(seconds, text):
    assert figures.span(seconds) == text


def test_numbers_have_no_noise():
    assert [figures.number(n) for n in (600, 2e-4, 0.1, 1_344_000, 3.0)] == [
        "600",
        "0.0002",
        "0.1",
        "1,344,000",
        "3",
    ]


def test_sizes_choose_their_unit():
    assert [figures.size(n) for n in (12, 2048, 5 * 1024**2, 3 * 1024**3)] == [
        "12 B",
        "2.0 KiB",
        "5.0 MiB",
        "3.0 GiB",
    ]


def test_a_bar_is_never_nothing_for_something():
    assert figures.bar(1, 10_000) == "█"
    assert figures.bar(5, 10) == "█" * 12
    assert figures.bar(0, 10) == figures.bar(1, 0) == ""


def test_own_hardware_costs_nothing():
    assert figures.money(0).startswith("nothing")
    assert figures.money(1_500_000) == "$1.50"
