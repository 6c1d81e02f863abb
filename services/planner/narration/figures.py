"""Numbers, shares, money and quoted words, written the way each language writes them."""

from __future__ import annotations

import unicodedata
from decimal import Decimal, InvalidOperation

TEXT_CHARACTERS_MAX = 200
"""Longest text of a person, a file or a model that a reply repeats."""
DIGITS_MAX = 6
"""Significant digits of a number with decimals."""

SEPARATORS = {
    "en": (",", "."),
    "de": (".", ","),
    "fr": ("\u202f", ","),
    "es": (".", ","),
    "pt": (".", ","),
    "ja": (",", "."),
}
"""By language: between thousands, and before decimals."""
PERCENT_SIGNS = {
    "en": "%",
    "de": "\u00a0%",
    "fr": "\u202f%",
    "es": "\u00a0%",
    "pt": "%",
    "ja": "%",
}
MONEY = {
    "en": "${}",
    "de": "{}\u00a0US-Dollar",
    "fr": "{}\u00a0dollars US",
    "es": "{}\u00a0USD",
    "pt": "US$\u00a0{}",
    "ja": "{}米ドル",
}
QUOTES = {
    "en": "\u201c{}\u201d",
    "de": "„{}\u201c",
    "fr": "«\u00a0{}\u00a0»",
    "es": "«{}»",
    "pt": "\u201c{}\u201d",
    "ja": "「{}」",
}


def parsed(text: str) -> Decimal | None:
    """Return the number that a text is, such as `1300`, `1,300`, `2e-05` or `12 %`; else None."""
    bare = text.strip().replace(",", "")
    is_share = bare.endswith("%")
    try:
        number = Decimal(bare.removesuffix("%").strip())
    except InvalidOperation:
        return None
    if not number.is_finite():
        return None
    return number / 100 if is_share else number


def number(value: float | Decimal, language: str) -> str:
    """Return a number with the separators of a language: `1,300`, `1.300`, `0,0002`.

    Args:
        value: Finite; rounded to six significant digits, to a whole number from 1,000 on.
        language: One of the six.
    """
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    if exact != exact.to_integral_value():
        is_large = abs(exact) >= 1000
        exact = Decimal(round(exact)) if is_large else Decimal(f"{exact:.{DIGITS_MAX}g}")
    return _separated(_plain(exact), language)


def percent(share: float | Decimal, language: str) -> str:
    """Return a share in [0, 1] as percent, with a decimal only where there is one: `96.5%`."""
    exact = share if isinstance(share, Decimal) else Decimal(repr(share))
    rounded = _plain((exact * 100).quantize(Decimal("0.1")))
    return _separated(rounded, language) + PERCENT_SIGNS[language]


def money(micro_usd: float | Decimal, language: str) -> str:
    """Return millionths of a US dollar as dollars and cents."""
    dollars = Decimal(str(micro_usd)) / 1_000_000
    return MONEY[language].format(_separated(f"{dollars:.2f}", language))


def shortened(text: str, characters_max: int = TEXT_CHARACTERS_MAX) -> str:
    """Return foreign text as one bounded line without control or direction characters."""
    visible = "".join(
        " " if unicodedata.category(each) == "Cc" else each
        for each in text[: characters_max * 8]
        if unicodedata.category(each) not in ("Cf", "Cs", "Co")
    )
    line = " ".join(visible.split())
    if len(line) < characters_max:
        return line
    cut = line[: characters_max - 1]
    start, space, _ = cut.rpartition(" ")
    return (start if space and len(start) > characters_max // 2 else cut) + "…"


def quoted(text: str, language: str) -> str:
    """Return foreign text between the quotation marks of a language, bounded."""
    return QUOTES[language].format(shortened(text))


def _plain(exact: Decimal) -> str:
    text = f"{exact:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _separated(text: str, language: str) -> str:
    thousands, decimals = SEPARATORS[language]
    whole, _, rest = text.partition(".")
    grouped = f"{int(whole):,}".replace(",", thousands)
    if whole.startswith("-") and not grouped.startswith("-"):
        grouped = "-" + grouped  # int() drops the sign of -0.5.
    return grouped + (decimals + rest if rest else "")
