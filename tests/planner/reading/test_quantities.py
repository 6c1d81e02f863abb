"""Numbers, shares and durations in several languages."""

import pytest

from services.planner.reading.quantities import duration_after, quantities


def values(text: str, language: str = "en") -> list[float]:
    return [pytest.approx(each.value, abs=1e-4) for each in quantities(text, language)]


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "7,200 letters", [7200]),
        ("de", "7.200 briefe", [7200]),
        ("fr", "7 200 lettres", [7200]),
        ("es", "7 mil cartas", [7000]),
        ("en", "3 mil rows", [3_000_000]),
        ("en", "14k rows", [14_000]),
        ("ja", "3万件", [30_000]),
        ("en", "2.5 million calls", [2_500_000]),
        ("de", "zweiundvierzig akten", [42]),
        ("fr", "une vingtaine de notes", [20]),
        ("en", "sixty-five notes", [65]),
        ("en", "three hundred notes", [300]),
        ("en", "a rate of 3e-4", [3e-4]),
        ("en", "0.125 of it", [0.125]),
    ],
)
def test_numbers_are_read_as_the_language_writes_them(language, text, expected):
    assert values(text, language) == expected


@pytest.mark.parametrize(
    ("language", "text", "share"),
    [
        ("en", "62 %", 0.62),
        ("de", "62,5 prozent", 0.625),
        ("en", "two tickets in five", 0.4),
        ("en", "seven out of every ten", 0.7),
        ("de", "drei von vier", 0.75),
        ("fr", "une lettre sur cinq", 0.2),
        ("es", "una de cada cuatro", 0.25),
        ("it", "uno su dieci", 0.1),
        ("pt", "um em cada cinco", 0.2),
        ("nl", "een op de tien", 0.1),
        ("ja", "20件に1件", 0.05),
        ("ja", "7割", 0.7),
        ("en", "two thirds", 0.6667),
        ("de", "jeder zehnte", 0.1),
    ],
)
def test_shares_are_read(language, text, share):
    (found,) = quantities(text, language)
    assert found.is_share
    assert found.value == pytest.approx(share, abs=1e-4)


@pytest.mark.parametrize(
    ("language", "text", "seconds"),
    [("en", "3 hours", 10800), ("de", "zwei tage", 172800), ("fr", "45 minutes", 2700)],
)
def test_durations_are_read(language, text, seconds):
    found = duration_after(text, quantities(text, language)[0])
    assert found is not None
    assert found[0] == seconds
