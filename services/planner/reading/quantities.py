"""Shares, durations and numbers as people write them."""

from __future__ import annotations

import re

UNITS = dict(
    zip(
        re.findall(
            r"\w+",
            "one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
            "fifteen sixteen seventeen eighteen nineteen",
        ),
        range(1, 20),
        strict=True,
    )
)
TENS = dict(
    zip(
        re.findall(r"\w+", "twenty thirty forty fifty sixty seventy eighty ninety"),
        range(20, 100, 10),
        strict=True,
    )
)
WORD = rf"(?:(?:{'|'.join(TENS)})(?:[ -](?:{'|'.join(list(UNITS)[:9])}))?|{'|'.join(UNITS)}|an?)"
NUMBER = r"(?:(?<!\d)\d{1,9}(?:\.\d{1,9})?(?:e[-+]?\d{1,2})?|(?<!\d)\.\d{1,9})"
"""Digits are bounded, so that a message of digits alone is read in linear time."""
SHARE = (
    rf"(?:(?:{NUMBER}|{WORD})\s*(?:%|per ?cent\b)|(?<!\d)(?:0?\.\d{{1,9}}|1\.0{{1,9}})(?!\d)"
    rf"|(?:(?<!\d)\d{{1,3}}|{WORD})\s+(?:out )?of\s+(?:every\s+)?"
    r"(?:100|10|ten|a hundred|one hundred)\b)"
)
DURATION = rf"(?:{NUMBER}|{WORD})\s*(?:minutes?|mins?|hours?|hrs?|h|days?)\b"
SECONDS = {"m": 60, "h": 3600, "d": 86400}


def number(text: str) -> float | None:
    """Return a number written in digits or words up to ninety-nine, or None."""
    text = text.strip().lower()
    if re.fullmatch(NUMBER, text):
        return float(text)
    if text in ("a", "an"):
        return 1.0
    first, _, second = text.replace("-", " ").partition(" ")
    if second:
        return float(TENS[first] + UNITS[second]) if first in TENS and second in UNITS else None
    value = UNITS.get(first, TENS.get(first))
    return None if value is None else float(value)


def share(text: str) -> float | None:
    """Return a share such as `85 %`, `0.85` or `nine out of ten` as a number, or None."""
    text = text.strip().lower()
    if of := re.fullmatch(r"(.+?)\s+(?:out )?of\s+(?:every\s+)?(100|10|ten|an?.*|one.*)", text):
        part = number(of[1])
        whole = 10 if of[2] in ("10", "ten") else 100
        return None if part is None else part / whole
    if percent := re.fullmatch(r"(.+?)\s*(?:%|per ?cent)", text):
        value = number(percent[1])
        return None if value is None else round(value / 100, 6)
    value = number(text)
    return value if value is not None and value <= 1 else None


def duration_s(text: str) -> int | None:
    """Return a duration such as `two hours` in seconds, or None."""
    match = re.fullmatch(r"(.+?)\s*(minutes?|mins?|hours?|hrs?|h|days?)", text.strip().lower())
    value = number(match[1]) if match else None
    if match is None or value is None:
        return None
    return round(value * SECONDS[match[2][0]])
