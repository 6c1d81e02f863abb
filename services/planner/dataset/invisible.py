"""Characters that nobody sees but a tokenizer does."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from services.planner.dataset.findings import Finding, found
from services.planner.dataset.rows import RowView

NAMED_MAX = 3
"""Different characters that one message names."""

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_JOINERS = "\u200c\u200d"
# Scripts whose letters join or not by these marks (Unicode, chapters 9, 12, 13 and 16).
_JOINING = re.compile(
    "[\u0600-\u07bf\u0840-\u08ff\u0900-\u0dff\u0e80-\u109f\u1780-\u18af\ua840-\ua87f"
    "\ufb50-\ufdff\ufe70-\ufefc]"
)
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_DIRECTION = set("\u061c\u200e\u200f\u202a\u202b\u202c\u2066\u2067\u2068\u2069")
_EMOJI_STYLE = "\ufe0f"
_BLACK_FLAG = "\U0001f3f4"


def find(rows: Sequence[RowView]) -> list[Finding]:
    """Return a finding for each text that holds characters which cannot be seen.

    Those are left alone that a text needs: joiners within emoji and within scripts that join their
    letters, marks of direction beside right-to-left letters, variants after the sign they vary.
    """
    findings = []
    for row in rows:
        for field, text in row.texts:
            strays = stray_characters(text)
            if strays:
                names = [_name(each) for each in dict.fromkeys(strays)]
                message = f"Holds {len(strays)} that cannot be seen: {', '.join(names[:NAMED_MAX])}"
                more = len(names) - NAMED_MAX
                message += f" and {more} other kinds." if more > 0 else "."
                findings.append(found("invisible_character", row.line, message, field))
    return findings


def stray_characters(text: str) -> list[str]:
    """Return the characters of a text that cannot be seen and that it does not need, in order."""
    if text.isascii():
        return []
    return [match[0] for match in _INVISIBLE.finditer(text) if not _is_needed(text, match.start())]


def _is_needed(text: str, at: int) -> bool:
    character = text[at]
    before = text[at - 1] if at else ""
    after = text[at + 1] if at + 1 < len(text) else ""
    if character in _JOINERS:
        if _JOINING.match(before) and (character == "\u200c" or _JOINING.match(after) or not after):
            return True
        return character == "\u200d" and _is_emoji(before) and _is_emoji(after)
    if "\ufe00" <= character <= _EMOJI_STYLE:
        # Signs begin at U+2000; the few before that are listed with emoji variants in Unicode.
        return before >= "\u2000" or (bool(before) and before in "0123456789#*\u00a9\u00ae")
    if character in _DIRECTION:
        return _RIGHT_TO_LEFT.search(text) is not None
    if "\U000e0100" <= character <= "\U000e01ef":
        return "\u3400" <= before <= "\u9fff" or before >= "\U00020000"
    if "\U000e0020" <= character <= "\U000e007f":
        # The flags of England, Scotland and Wales are a black flag and tags.
        return (
            re.search(f"{_BLACK_FLAG}[\U000e0020-\U000e007f]*$", text[max(0, at - 8) : at])
            is not None
        )
    if "\u180b" <= character <= "\u180f":
        return "\u1800" <= before <= "\u18af"
    return False


def _is_emoji(character: str) -> bool:
    return (
        character == _EMOJI_STYLE
        or (
            bool(character)
            and (character >= "\U0001f000" or unicodedata.category(character) == "So")
        )
        or character in "\u2640\u2642\u2764\u2695\u2696\u2708"
    )


def _name(character: str) -> str:
    return f"U+{ord(character):04X} {unicodedata.name(character, 'unnamed').lower()}"
