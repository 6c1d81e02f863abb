r"""The phrases by which people say things, by language, and how a sentence is searched for them.

Phrases stand one a line or with semicolons between. Words may hold these marks: `a*` any ending,
`as?` with or without the letter before, `(a|b)` either, `(a|b)?` either or none, `(a|b)+` one or
more of them, `*` alone any word, `?a` with or without a
space before, `..` up to 40 characters, `#` a number, `\` before a mark takes it
as it is. A phrase that opens with `!` holds even after a negation. Spaces stand for spaces,
hyphens and slashes. Everything is compared folded: see `fold`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import yaml

FOLDER = Path(__file__).parent
LANGUAGES = ("en", "de", "fr", "es", "pt", "it", "nl", "ja", "zh", "pl", "tr", "sv", "ko")
"""Languages that have a file of phrases."""
PLAIN = {
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc\u0060\u00b4", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb", '"'),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
}
"""Quotation marks and dashes, and what they are compared as."""
LATIN = "a-z0-9\u00df-\u024f"
"""What a Latin word ends before; letters of other scripts follow it without a space."""
GAP = ".{0,40}?"
SPACE = r"[\s\-/]+"
LOOSE = r"[\s\-/]*"
SPELLED = (
    "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|forty|fifty|"
    "zwei|drei|vier|funf|sechs|sieben|acht|neun|zehn|zwolf|deux|trois|quatre|cinq|sept|huit|dix|"
    "dos|tres|cuatro|cinco|seis|siete|ocho|diez|duas|dois|quatro|sete|oito|dez|due|tre|quattro|"
    "sei|sette|otto|dieci|twee|drie|vijf|zes|zeven|acht|negen|tien"
)
"""Numbers in words, as they count groups, fields and answers."""
MARKS = {
    "*": r"\w*",
    "#": rf"(?:\d[\d.,]*|(?:{SPELLED})(?![^\W_]))",
    "(": "(?:",
    ")": ")",
    "|": "|",
    "?": "?",
    " ": SPACE,
}
NEGATION_CHARACTERS = 28
"""A negation counts when it stands so close before a phrase."""


@cache
def _folded(character: str) -> str:
    if character in PLAIN:
        return PLAIN[character]
    if character.isspace():
        return " "
    form = unicodedata.normalize("NFKD" if character < "\u0250" else "NFKC", character)
    plain = form[0] if character < "\u0250" or len(form) == 1 else character
    lowered = plain.lower()
    return lowered if len(lowered) == 1 else plain


def fold(text: str) -> str:
    """Return a text in lower case, without accents and wide forms, as long as it was."""
    return "".join(map(_folded, text))


@dataclass(frozen=True)
class Phrase:
    """One phrase, compiled when it is first needed."""

    source: str
    """As it stands in the file."""
    holds_negated: bool = False
    """Whether a negation before it changes nothing."""

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Texts of which a sentence must hold one, or it cannot match; empty when none is known."""
        best: tuple[str, ...] = ()
        for token in _tokens(self.source):
            if token.endswith(")?") or token in ("..", "*"):
                continue
            found = _literals(token)
            if found and min(map(len, found)) > (min(map(len, best)) if best else 0):
                best = found
        return best

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What a folded sentence is searched for."""
        return re.compile(_expression(self.source))

    def find(self, folded: str) -> Iterator[re.Match[str]]:
        """Yield its places in a folded sentence."""
        if not self.keys or any(key in folded for key in self.keys):
            yield from self.pattern.finditer(folded)


@dataclass(frozen=True)
class Lexicon:
    """All phrases of one language by group and name, such as `signals`, `nothing_tried`."""

    language: str
    groups: Mapping[str, Mapping[str, tuple[Phrase, ...]]] = field(default_factory=dict)
    negation: re.Pattern[str] | None = None
    """What, close before a phrase, turns it round."""
    negation_after: re.Pattern[str] | None = None
    """What, close behind a phrase, turns it round."""

    def negated(self, folded: str, start: int, end: int) -> bool:
        """Return whether a negation governs a place in a folded sentence."""
        before = folded[max(0, start - NEGATION_CHARACTERS) : start]
        # A clause of its own is not governed: "no, the labels are wrong".
        before = re.split(r"[,;:()]|\bbut\b|\baber\b|\bpero\b|\bmais\b|\bmas\b|\bma\b", before)[-1]
        if self.negation and self.negation.search(before):
            return True
        after = folded[end : end + NEGATION_CHARACTERS]
        return bool(self.negation_after and self.negation_after.match(after))

    def matches(self, group: str, name: str, folded: str) -> Iterator[re.Match[str]]:
        """Yield the places of a name's phrases that no negation governs."""
        for phrase in self.groups.get(group, {}).get(name, ()):
            for match in phrase.find(folded):
                if phrase.holds_negated or not self.negated(folded, match.start(), match.end()):
                    yield match

    def places(self, group: str, name: str, folded: str) -> Iterator[re.Match[str]]:
        """Yield the places of a name's phrases, negated or not."""
        for phrase in self.groups.get(group, {}).get(name, ()):
            yield from phrase.find(folded)

    def may_hold(self, group: str, name: str, folded: str) -> bool:
        """Return whether a text holds a word of which each of a name's phrases needs one."""
        return any(
            not phrase.keys or any(key in folded for key in phrase.keys)
            for phrase in self.groups.get(group, {}).get(name, ())
        )

    def names(self, group: str) -> Iterable[str]:
        """Return the names in a group."""
        return self.groups.get(group, {}).keys()


@cache
def lexicon(language: str) -> Lexicon:
    """Return the phrases of a language; English for one that has no file."""
    if language not in LANGUAGES:
        return lexicon("en")
    return read_lexicon(language, FOLDER / f"lexicon_{language}.yaml")


def read_lexicon(language: str, path: Path) -> Lexicon:
    """Return the phrases of a file.

    Raises:
        ValueError: If a phrase has an open bracket.
    """
    content = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    groups = {
        group: {str(name): tuple(map(_phrase, _listed(text))) for name, text in names.items()}
        for group, names in content["groups"].items()
    }
    before = "|".join(map(_expression, _listed(content.get("negation", ""))))
    after = "|".join(map(_expression, _listed(content.get("negation_after", ""))))
    return Lexicon(
        language,
        groups,
        re.compile(before) if before else None,
        re.compile(f".{{0,12}}?(?:{after})") if after else None,
    )


def _listed(text: str) -> list[str]:
    """Return the phrases of a text: one a line, or several with semicolons between."""
    return [phrase.strip() for phrase in re.split(r"[;\n]", str(text)) if phrase.strip()]


def _phrase(source: str) -> Phrase:
    folded = fold(str(source))
    return Phrase(folded.removeprefix("!").strip(), folded.startswith("!"))


def _tokens(source: str) -> list[str]:
    """Return the words and brackets of a phrase, each with its marks."""
    tokens, depth, current, escaped = [], 0, "", False
    for character in source:
        if not escaped:
            depth += (character == "(") - (character == ")")
        escaped = character == "\\" and not escaped
        if character == " " and depth == 0:
            tokens.append(current)
            current = ""
        else:
            current += character
    if depth:
        raise ValueError(f"'{source}' has a bracket too many or too few.")
    return [token for token in (*tokens, current) if token]


def _literals(token: str) -> tuple[str, ...]:
    """Return texts of which one is in whatever the token matches; empty when that is unknown."""
    bracket = re.fullmatch(r"\(([^()]*)\)[+*]?", token)
    found = [_opening(each) for each in (bracket[1].split("|") if bracket else [token])]
    return tuple(found) if all(found) else ()


def _opening(word: str) -> str:
    """Return the letters that a word of a phrase opens with for certain."""
    plain = re.split(r"[*#(?+\\ |]", word, maxsplit=1)[0]
    return plain[:-1] if word[len(plain) : len(plain) + 1] == "?" else plain


def _expression(source: str) -> str:
    """Return the regular expression of a folded phrase."""
    source = fold(source)
    parts: list[str] = []
    is_gap = False
    for token in _tokens(source):
        if token in ("..", "(..)?"):
            is_gap = bool(parts)
            continue
        joined = token.startswith("?") and len(token) > 1
        token = token.lstrip("?") if joined else token
        space = LOOSE if joined else SPACE
        optional = re.fullmatch(r"\((?:[^()]|\([^()]*\))*\)\?", token) is not None
        body = _token_expression(token[:-1] if optional else token)
        if is_gap and not optional:
            open_left, open_right = _edges(token)
            parts.append(f"{open_right}{GAP}{open_left}{body}")
            is_gap = False
        elif not optional:
            parts.append(f"{space}{body}" if parts else body)
        elif not is_gap:
            parts.append(f"(?:{space}{body})?" if parts else f"(?:{body}{SPACE})?\x00")
    expression = "".join(parts).replace("\x00" + SPACE, "").replace("\x00", "")
    open_left, open_right = _edges(source)
    return f"{open_left}(?:{expression}){open_right}"


def _edges(source: str) -> tuple[str, str]:
    """Return what must hold before and behind a text: Latin words begin and end there."""
    letters = [character for character in source if character.isalnum() or character == "#"]
    is_latin = bool(letters) and letters[0] < "\u0250" and letters[-1] < "\u0250"
    left = f"(?<![{LATIN}])" if is_latin and source.lstrip("(\\")[:1] in letters else ""
    right = f"(?![{LATIN}])" if is_latin and source.rstrip(")?+*")[-1:] in letters else ""
    return left, right


def _token_expression(token: str) -> str:
    """Return the regular expression of one word or bracket."""
    if token == "*":
        return "\\w+"
    if token.endswith(")+") and token.startswith("("):
        body = _token_expression(token[:-1])
        return f"{body}(?:{SPACE}{body})*"
    found, escaped = [], False
    for character in token:
        if escaped:
            found.append("\\" + character)
        elif character == "\\":
            pass
        elif character in MARKS:
            found.append(MARKS[character])
        else:
            found.append(re.escape(character))
        escaped = character == "\\" and not escaped
    return "".join(found)
