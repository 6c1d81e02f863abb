"""In which language a text is written: by its script, else by frequent words and pieces of them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import cache

from services.common.language_lexicon import pieces_by_language, words_by_language

UNKNOWN = "und"
"""ISO 639-2 for a language that cannot be told."""
CHARACTERS_MAX = 800
"""Of a text that are looked at: its first ones."""
SCORE_LEAST = 0.7
"""A word that one language has is 1, one that two have 1/2, and so on."""
LEAD_LEAST = 1.15
"""How much better the best language must be than the second."""
CLEAR_SCORE = 4.0
CLEAR_LEAD = 1.5
"""Words alone decide from here on, which saves looking for pieces of words."""
PIECE_WEIGHT = 0.3
PIECE_WORDS_MAX = 40
"""Different words of a text in which pieces are looked for: its first ones."""
SCRIPT_SHARE = 0.3
"""Share of letters from which a script decides; Latin names are frequent in any text."""

# Ranges of code points -> language, or a group that is looked at more closely.
_SCRIPTS = (
    ("kana", "\u3040-\u30ff\uff66-\uff9f"),
    ("ko", "\uac00-\ud7af\u1100-\u11ff\u3131-\u318e"),
    ("han", "\u3400-\u9fff\uf900-\ufaff"),
    ("cyrillic", "\u0400-\u052f"),
    ("arabic", "\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc"),
    ("he", "\u0590-\u05ff"),
    ("el", "\u0370-\u03ff\u1f00-\u1fff"),
    ("hi", "\u0900-\u097f"),
    ("bn", "\u0980-\u09ff"),
    ("pa", "\u0a00-\u0a7f"),
    ("gu", "\u0a80-\u0aff"),
    ("ta", "\u0b80-\u0bff"),
    ("te", "\u0c00-\u0c7f"),
    ("kn", "\u0c80-\u0cff"),
    ("ml", "\u0d00-\u0d7f"),
    ("th", "\u0e00-\u0e7f"),
    ("my", "\u1000-\u109f"),
    ("ka", "\u10a0-\u10ff"),
    ("am", "\u1200-\u137f"),
    ("km", "\u1780-\u17ff"),
    ("hy", "\u0530-\u058f"),
)
_SCRIPT_RE = [(name, re.compile(f"[{ranges}]")) for name, ranges in _SCRIPTS]
_LATIN = re.compile("[a-z\u00c0-\u024f\u1e00-\u1eff]", re.IGNORECASE)
_WORD = re.compile(r"(?<!\w)[^\W\d_]+(?:['\u2019][^\W\d_]+)?(?!\w)")
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`|https?://\S+|\S+@\S+|<[^>\n]{1,200}>", re.DOTALL)
# Letters that one language of a script has and the frequent one has not.
_CYRILLIC = (
    ("uk", "\u0456\u0457\u0454\u0491"),
    ("be", "\u045e"),
    ("sr", "\u0458\u0459\u045a\u045b\u0452"),
)
_BULGARIAN = re.compile(
    r"\b(?:\u0441\u044a\u043c|\u0435|\u0449\u0435|\u043a\u0430\u043a\u0432\u043e|\u0437\u0430|\u0441\u044a\u0441)\b"
)
_ARABIC = (("ur", "\u0679\u0688\u0691\u06ba\u06d2"), ("fa", "\u067e\u0686\u0698\u06af\u06cc\u06a9"))


def detect(text: str) -> str:
    """Return the language of a text: ISO 639-1, or `und` where it cannot be told.

    Code, addresses and mark-up in it are passed over. Short texts without a telling word are
    `und`, never a guess.
    """
    plain = _CODE.sub(" ", text[:CHARACTERS_MAX])
    scripts = (
        {name: len(pattern.findall(plain)) for name, pattern in _SCRIPT_RE}
        if (not plain.isascii())
        else {}
    )
    other = sum(scripts.values())
    latin = len(_LATIN.findall(plain))
    # A character of these scripts says as much as two or three Latin letters.
    if other and 2 * other >= SCRIPT_SHARE * (2 * other + latin):
        return _by_script(plain, scripts)
    return _by_words(plain) if latin else UNKNOWN


def _by_script(text: str, scripts: dict[str, int]) -> str:
    # Japanese mixes kana with Han characters; Chinese has none of the former.
    if scripts["kana"] and scripts["kana"] * 10 >= scripts["han"]:
        return "ja"
    name = max(scripts, key=lambda each: scripts[each])
    if name == "han":
        return "zh"
    if name == "cyrillic":
        lowered = text.lower()
        if "\u044a" in lowered and _BULGARIAN.search(lowered) and "\u044b" not in lowered:
            return "bg"
        return _by_letters(lowered, _CYRILLIC, "ru")
    if name == "arabic":
        return _by_letters(text, _ARABIC, "ar")
    return {"kana": "ja"}.get(name, name)


def _by_letters(text: str, telling: Sequence[tuple[str, str]], otherwise: str) -> str:
    for language, letters in telling:
        if any(letter in text for letter in letters):
            return language
    return otherwise


def _by_words(text: str) -> str:
    lowered = unicodedata.normalize("NFC", text).lower().replace("\u2019", "'")
    found = Counter(_WORD.findall(lowered))
    table, weights = _table()
    scores: defaultdict[str, float] = defaultdict(float)
    for word, count in found.items():
        for language in table.get(word, ()):
            scores[language] += weights[word] * min(count, 3)
    if sure := _best(scores, CLEAR_SCORE, CLEAR_LEAD):
        return sure
    looked_at = list(found)[:PIECE_WORDS_MAX]
    framed = " ".join(f"-{word}-" for word in looked_at)
    for language, pieces in pieces_by_language().items():
        hits = sum(framed.count(piece) for piece in pieces)
        scores[language] += PIECE_WEIGHT * min(hits, len(looked_at)) / (1 + len(looked_at) / 10)
    return _best(scores, SCORE_LEAST, LEAD_LEAST) or UNKNOWN


def _best(scores: Mapping[str, float], least: float, lead: float) -> str:
    """Return the language with the highest score; empty when it is too low or too close."""
    ranked = sorted(scores, key=lambda each: (-scores[each], each))[:2]
    second = scores[ranked[1]] if len(ranked) > 1 else 0.0
    if not ranked or scores[ranked[0]] < max(least, lead * second):
        return ""
    return ranked[0]


@cache
def _table() -> tuple[dict[str, tuple[str, ...]], dict[str, float]]:
    """Return the languages of each word, and its weight: the fewer languages, the more."""
    languages: dict[str, list[str]] = {}
    for language, words in words_by_language().items():
        for word in words:
            languages.setdefault(word, []).append(language)
    table = {word: tuple(found) for word, found in languages.items()}
    # A single letter is as often a name of something as a word.
    weights = {
        word: (0.5 if len(word) == 1 else 1.0) / len(found) for word, found in languages.items()
    }
    return table, weights
