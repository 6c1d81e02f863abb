"""Sentences that rules write in English, said in another language."""

from __future__ import annotations

import re
from functools import cache

from services.planner.narration.templates import (
    FALLBACK,
    PLACEHOLDER,
    Value,
    fill,
    has,
    load_templates,
    size,
    spoken,
)

NOUNS = ("phrases.", "reasons.", "choices.")
"""Tables whose texts are found by their English."""
GAPS = {
    "count": r"\d[\d,]*",
    "number": r"\d[\d,]*(?:\.\d+)?",
    "percent": r"\d+(?:\.\d+)?\s?%",
    "": r"(?:(?!\.\s).){1,200}?",
}
"""What may stand in a gap, by the kind of its placeholder; never two sentences."""
NAMES = frozenset({"recipe", "allowed", "licence", "name"})
"""Gaps that hold names, which are the same in every language."""
WORDS_MAX = 3
"""More words than these, untranslated in any other gap, mean that the phrase does not fit."""
SENTENCES_MAX = 20
SENTENCES_OF_A_PHRASE = 2
"""Sentences that one phrase may hold."""
SIZE = re.compile(r"(\d+(?:\.\d+)?)([MB])")
UNITS = {"M": 1e6, "B": 1e9}
"""Sizes of models as rules write them, in parameters."""
AND = ", and "


def said_in(language: str, text: str) -> str:
    """Return an English text of a rule in another language; empty when a sentence is unknown.

    Args:
        language: The language to say it in.
        text: One or several sentences, as a rule wrote them.
    """
    if spoken(language) == FALLBACK or not text:
        return text
    sentences = re.split(r"(?<=[.!?])\s+", text)[:SENTENCES_MAX]
    said: list[str] = []
    place = 0
    while place < len(sentences):
        for width in range(1, SENTENCES_OF_A_PHRASE + 1):
            if found := _one(language, " ".join(sentences[place : place + width])):
                break
        else:
            return ""
        said.append(found)
        place += width
    return ("" if spoken(language) == "ja" else " ").join(said)


def _one(language: str, text: str) -> str:
    for key, pattern in _patterns():
        found = pattern.fullmatch(text)
        if found is None:
            continue
        gaps: dict[str, Value] = {
            name: _gap(language, name, value) for name, value in found.groupdict().items()
        }
        if all(gaps.values()):
            return fill(key, language, gaps)
    return ""


def _gap(language: str, name: str, value: str) -> str:
    """Return what stands in a gap in the language; empty when it would stay English."""
    parts = [_one(language, part) for part in value.split(AND)]
    if all(parts):
        return ("、" if spoken(language) == "ja" else ", ").join(parts)
    if shown := SIZE.fullmatch(value):
        return size(float(shown[1]) * UNITS[shown[2]], language)
    codes = [f"languages.{code}" for code in value.split(", ")]
    if name == "languages" and all(has(code) for code in codes):
        return ", ".join(fill(code, language) for code in codes)
    return value if name in NAMES or len(value.split()) <= WORDS_MAX else ""


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Return each phrase with a pattern of its English text, the most specific first."""
    texts = {
        key: entry[FALLBACK] for key, entry in load_templates().items() if key.startswith(NOUNS)
    }

    def vague(entry: tuple[str, str]) -> tuple[int, int]:
        return len(PLACEHOLDER.findall(entry[1])), -len(entry[1])

    in_order = sorted(texts.items(), key=vague)
    return tuple((key, re.compile(_pattern(text), re.IGNORECASE)) for key, text in in_order)


def _pattern(text: str) -> str:
    parts, end = [], 0
    for gap in PLACEHOLDER.finditer(text):
        parts += [re.escape(text[end : gap.start()]), f"(?P<{gap[1]}>{GAPS[gap[2] or '']})"]
        end = gap.end()
    return "".join(parts) + re.escape(text[end:])
