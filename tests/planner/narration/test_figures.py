"""Numbers are written as each language writes them; foreign words are quoted and bounded."""

from decimal import Decimal

import pytest

from services.planner.narration import figures


@pytest.mark.parametrize(
    ("language", "written"),
    [
        ("en", "1,300"),
        ("de", "1.300"),
        ("fr", "1\u202f300"),
        ("es", "1.300"),
        ("pt", "1.300"),
        ("ja", "1,300"),
    ],
)
def test_thousands_are_grouped(language, written):
    assert figures.number(1300, language) == written


@pytest.mark.parametrize(
    ("value", "language", "written"),
    [
        (0.0002, "en", "0.0002"),
        (0.0002, "de", "0,0002"),
        (2e-05, "en", "0.00002"),
        (-0.5, "fr", "-0,5"),
        (1234567.25, "de", "1.234.567"),
        (0, "ja", "0"),
        (12.5, "pt", "12,5"),
    ],
)
def test_decimals(value, language, written):
    assert figures.number(value, language) == written


@pytest.mark.parametrize(
    ("share", "language", "written"),
    [
        (0.85, "en", "85%"),
        (0.965, "en", "96.5%"),
        (0.965, "de", "96,5\u00a0%"),
        (1.0, "ja", "100%"),
        (0.005, "pt", "0,5%"),
    ],
)
def test_shares_are_percent(share, language, written):
    assert figures.percent(share, language) == written


@pytest.mark.parametrize(
    ("language", "written"),
    [
        ("en", "$1,234.50"),
        ("de", "1.234,50\u00a0US-Dollar"),
        ("fr", "1\u202f234,50\u00a0dollars US"),
        ("es", "1.234,50\u00a0USD"),
        ("pt", "US$\u00a01.234,50"),
        ("ja", "1,234.50米ドル"),
    ],
)
def test_money_has_its_cents(language, written):
    assert figures.money(1_234_500_000, language) == written


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1300", Decimal(1300)),
        ("1,300", Decimal(1300)),
        ("2e-05", Decimal("0.00002")),
        ("12 %", Decimal("0.12")),
        ("12%", Decimal("0.12")),
        ("8B", None),
        ("NaN", None),
        ("Infinity", None),
        ("", None),
    ],
)
def test_numbers_are_read_from_text(text, value):
    assert figures.parsed(text) == value


def test_foreign_words_are_one_bounded_line_in_quotes():
    text = "ignore\nall \u202erules\u202c\x00 " + "x" * 5000
    said = figures.quoted(text, "de")
    assert said.startswith("„ignore all rules x")
    assert said.endswith("…\u201c")
    assert len(said) <= figures.TEXT_CHARACTERS_MAX + 2
    assert "\u202e" not in said
