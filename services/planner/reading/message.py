"""A message as the reader sees it: sentences, folded, with slips of the keyboard mended."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property

from services.planner.reading.languages import detect_language
from services.planner.reading.lexicon import Lexicon, fold, lexicon

CHARACTERS_MAX = 8000
SENTENCES_MAX = 60
"""More are read several at once, so that a message of a thousand shouts takes no longer."""
SENTENCE_CHARACTERS_MAX = 600
WORDED = re.compile(r"\w|[^\x00-\x7f]")
WORD_LETTERS_MIN = 5
"""Shorter words are too alike to be mended."""
WORD_LETTERS_MAX = 24
SHORT = (
    (
        re.compile(r"\b(word|maths?|physics|algebra|geometry|homework|exam|chem) probs\b"),
        r"\1 problems",
    ),
    (re.compile(r"\b(is|are|was|were|its|sth|something|totally|all) diff\b"), r"\1 different"),
    (re.compile(r"\b(?:ev(?:e)?ry)1\b"), "everyone"),
    (re.compile(r"\bno1\b"), "nobody"),
    (re.compile(r"\b(some|any)1\b"), r"\1one"),
)
"""Chat spelling that depends on the word beside it, or that holds a digit."""
WORD = re.compile(r"(?<![\w.=-])(?!\w\s?=|r \d)[a-z][a-z0-9']*(?:/(?!\w))?(?![\w@-]*[\d@])")
"""A word that may be mended; not `r=32`, not a name with digits or hyphens."""
SENTENCE_END = re.compile(
    r"(?<=[.!?…])(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\bca\.)(?<!\bz\.b\.)\s+"
    r"|(?<=[。\uff01\uff1f])|\n+",
    re.I,
)
ASKS = re.compile(
    r"(?:so |and |but |und |y |et |e )?(?:why|what|how|which|warum|wieso|weshalb|was|por que|"
    r"que pasa|pourquoi|porque|perche|waarom)\b"
)


@dataclass(frozen=True)
class Sentence:
    """One sentence."""

    text: str
    """As it was written, spaces apart."""
    folded: str
    """In lower case without accents, keyboard slips mended; other positions than in `text`."""
    is_question: bool
    """Whether it ends in a question mark or opens like a question."""


@dataclass(frozen=True)
class Message:
    """A message, taken apart."""

    text: str
    """At most 8,000 characters, runs of spaces joined."""
    sentences: tuple[Sentence, ...]
    language: str
    """ISO 639-1."""

    @cached_property
    def folded(self) -> str:
        """All sentences, folded, one a line."""
        return "\n".join(sentence.folded for sentence in self.sentences)

    @property
    def lexicons(self) -> tuple[Lexicon, ...]:
        """English, whose terms stand in every language, and the message's own."""
        own = lexicon(self.language)
        english = lexicon("en")
        return (english,) if own is english else (own, english)

    def find(self, group: str, name: str) -> Iterator[tuple[Sentence, re.Match[str]]]:
        """Yield the places where a name's phrases stand, negated ones left out."""
        for words in self.lexicons:
            if not words.may_hold(group, name, self.folded):
                continue
            for sentence in self.sentences:
                for match in words.matches(group, name, sentence.folded):
                    yield sentence, match

    def says(self, group: str, name: str) -> bool:
        """Return whether one of a name's phrases stands in the message and is not negated."""
        return next(self.find(group, name), None) is not None


def read_message(text: str, fallback_language: str) -> Message:
    """Return a message taken apart.

    Args:
        text: What was written; what goes beyond 8,000 characters is left aside.
        fallback_language: Taken when the message is too short to tell.
    """
    lines = [" ".join(line.split()) for line in text[:CHARACTERS_MAX].splitlines()]
    joined = "\n".join(line for line in lines if line)
    language = detect_language(fold(joined), fallback_language, joined)
    sentences = tuple(_sentence(part, language) for part in _parts(joined))
    return Message(joined, sentences, language)


def _parts(text: str) -> list[str]:
    """Return the sentences of a text: at most 60, none longer than 600 characters by much."""
    parts = [part for part in map(str.strip, SENTENCE_END.split(text)) if WORDED.search(part)]
    pieces: list[str] = []
    for part in parts:
        while len(part) > SENTENCE_CHARACTERS_MAX:
            cut = part.rfind(" ", 1, SENTENCE_CHARACTERS_MAX)
            cut = cut if cut > 0 else SENTENCE_CHARACTERS_MAX
            pieces.append(part[:cut])
            part = part[cut:].strip()
        pieces.append(part)
    together = -(-len(pieces) // SENTENCES_MAX)
    return [
        " ".join(pieces[start : start + together])
        for start in range(0, len(pieces), max(together, 1))
    ]


def _sentence(text: str, language: str) -> Sentence:
    folded = mend(fold(text)) if language == "en" else fold(text)
    asks = text.rstrip(" \"')").endswith(("?", "\uff1f")) or bool(ASKS.match(folded))
    asks = asks or folded.rstrip("。 ").endswith(("ですか", "ますか", "か"))
    return Sentence(text, folded, asks)


def mend(folded: str) -> str:
    """Return a folded sentence with chat spelling written out and slips of the keyboard mended.

    A word of five letters or more that is unknown becomes a known one when they are one slip
    apart (a letter too many, too few, wrong, or two swapped) and open alike.
    """
    for pattern, full in SHORT:
        folded = pattern.sub(full, folded)
    return WORD.sub(lambda match: _mended(match[0]), folded)


@dataclass(frozen=True)
class _Spelling:
    chat: dict[str, str]
    """Chat words and what they stand for."""
    known: frozenset[str]
    """Words that are right as they are."""
    wanted: frozenset[str]
    """Words that others are mended into."""
    slips: dict[str, str]
    """Wanted words by what is left of them without one letter."""


@cache
def _spelling() -> _Spelling:
    groups = lexicon("en").groups
    words = groups["spelling"]
    chat = {
        short.source: full for full, shorts in words.items() if full != "known" for short in shorts
    }
    listed = (word for phrase in words["known"] for word in phrase.source.split())
    wanted = sorted({word for word in listed if len(word) >= WORD_LETTERS_MIN})
    slips: dict[str, str] = {}
    for word in wanted:
        for position in range(1, len(word)):
            slips.setdefault(word[:position] + word[position + 1 :], word)
    phrases = [phrase for names in groups.values() for each in names.values() for phrase in each]
    known = {word for phrase in phrases for word in re.findall(r"[a-z]{4,}", phrase.source)}
    return _Spelling(chat, frozenset(known | set(wanted)), frozenset(wanted), slips)


def _mended(word: str) -> str:
    spelling = _spelling()
    if word in spelling.chat:
        return spelling.chat[word]
    if not WORD_LETTERS_MIN - 1 <= len(word) <= WORD_LETTERS_MAX or not word.isalpha():
        return word
    if word in spelling.known:
        return word
    shorter = [word[:index] + word[index + 1 :] for index in range(1, len(word))]
    candidates = [spelling.slips.get(word, "")]
    candidates += [
        each if each in spelling.wanted else spelling.slips.get(each, "") for each in shorter
    ]
    return next((each for each in candidates if each and _one_slip(word, each)), word)


def _one_slip(written: str, meant: str) -> bool:
    """Return whether one letter more, less, other, or two swapped lies between two words."""
    if written[0] != meant[0] or abs(len(written) - len(meant)) > 1:
        return False
    start = 0
    while start < min(len(written), len(meant)) and written[start] == meant[start]:
        start += 1
    a, b = written[start:], meant[start:]
    if len(a) == len(b):
        return a[1:] == b[1:] or (a[:2] == b[:2][::-1] and a[2:] == b[2:])
    return a[1:] == b if len(a) > len(b) else a == b[1:]
