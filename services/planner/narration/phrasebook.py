"""Sentences that rules write in English, said in another language."""

from __future__ import annotations

import re
from functools import cache

from services.planner.narration.templates import (
    FALLBACK,
    PLACEHOLDER,
    Value,
    fill,
    load_templates,
    spoken,
)

NOUNS = ("phrases.", "reasons.")
GAPS = {
    "count": r"\d[\d,]*",
    "number": r"\d[\d,]*(?:\.\d+)?",
    "percent": r"\d+(?:\.\d+)?\s?%",
    "": r".{1,200}?",
}
"""What may stand in a gap, by the kind of its placeholder."""
SENTENCES_MAX = 20


def said_in(language: str, text: str) -> str:
    """Return an English text of a rule in another language; empty when a sentence is unknown.

    Args:
        language: The language to say it in.
        text: One or several sentences, as a rule wrote them.
    """
    if spoken(language) == FALLBACK or not text:
        return text
    whole = _one(language, text)
    if whole:
        return whole
    sentences = re.split(r"(?<=[.!?])\s+", text)[:SENTENCES_MAX]
    said = [_one(language, sentence) for sentence in sentences]
    joint = "" if spoken(language) == "ja" else " "
    return joint.join(said) if len(sentences) > 1 and all(said) else ""


def _one(language: str, text: str) -> str:
    for key, pattern in _patterns():
        if found := pattern.fullmatch(text):
            gaps: dict[str, Value] = {
                name: _one(language, value) or value for name, value in found.groupdict().items()
            }
            return fill(key, language, gaps)
    return ""


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Return each phrase with a pattern of its English text, those without gaps first."""
    texts = {
        key: entry[FALLBACK] for key, entry in load_templates().items() if key.startswith(NOUNS)
    }
    in_order = sorted(texts.items(), key=lambda each: len(PLACEHOLDER.findall(each[1])))
    return tuple((key, re.compile(_pattern(text), re.IGNORECASE)) for key, text in in_order)


def _pattern(text: str) -> str:
    parts, end = [], 0
    for gap in PLACEHOLDER.finditer(text):
        parts += [re.escape(text[end : gap.start()]), f"(?P<{gap[1]}>{GAPS[gap[2] or '']})"]
        end = gap.end()
    return "".join(parts) + re.escape(text[end:])
