"""Whether the purpose of a message is to harm: told from what it is made of, not from one word.

Deceit alone is a play, money alone is a shop; who wants to be taken for somebody else in order to
get money, passwords or votes wants to harm. Work against such a purpose has the same words and
says so: it detects, labels, warns, teaches.
"""

from __future__ import annotations

import re
from functools import cache

from services.planner.reading.lexicon import FOLDER, Lexicon, read_lexicon
from services.planner.reading.message import Message

Places = tuple[tuple[int, int], ...]

COMBINATIONS = (
    ("disguise", "gain"),
    ("concealed", "gain", "third"),
    ("concealed", "gain", "disguise"),
    ("concealed", "gain", "forged"),
    ("third", "gain", "forged"),
    ("disguise", "public", "making"),
    ("concealed", "gain", "frail"),
    ("disguise", "many", "public"),
    ("undetected", "malware"),
    ("undetected", "gain", "making"),
    ("forged", "making"),
    ("directed",),
    ("pressure", "person", "making"),
    ("pressure", "gain", "person"),
    ("selfharm",),
    ("weapon", "recipe", "making"),
)
"""Parts that are harm where they all stand close to each other."""
REACH = 240
"""Characters within which the parts of one purpose stand: two or three sentences."""
DEFENCES_LEAST = 1
"""Places of words of defence, outside the parts themselves, that clear a message."""
EVADED = re.compile(
    r"\b(?:stop(?:s|ped)?|fail(?:s|ed)? to|avoids?|no longer|escapes?|past|around|until|before)"
    r" (?:[\w']+ ){0,3}$"
)
"""Behind these a word of defence names what is evaded."""
EVADED_CHARACTERS = 40
PLACES_MAX = 24
"""Places of one part that are looked at."""


@cache
def _words() -> Lexicon:
    return read_lexicon("en", FOLDER / "lexicon_harm.yaml")


def combines_to_harm(message: Message) -> bool:
    """Return whether parts of a message combine to a purpose that harms people."""
    folded = message.folded
    places: dict[str, Places] = {}

    def of(name: str) -> Places:
        if name not in places:
            places[name] = _places(name, folded)
        return places[name]

    for parts in COMBINATIONS:
        if not all(map(of, parts)):
            continue
        taken = _closest([of(part) for part in parts])
        if taken and _defences(message, taken) < DEFENCES_LEAST:
            return True
    return False


def _places(name: str, folded: str) -> Places:
    found: set[tuple[int, int]] = set()
    for match in _words().places("harm", name, folded):
        found.add(match.span())
        if len(found) >= PLACES_MAX:
            break
    return tuple(sorted(found))


def _closest(parts: list[Places]) -> Places:
    """Return one place of each part, all within reach of the first; empty when there are none."""
    for anchor in parts[0]:
        chosen = [anchor]
        for others in parts[1:]:
            near = [
                place
                for place in others
                if abs(place[0] - anchor[0]) <= REACH and place not in chosen
            ]
            if not near:
                break
            chosen.append(min(near, key=lambda place: abs(place[0] - anchor[0])))
        else:
            return tuple(chosen)
    return ()


def _defences(message: Message, taken: Places) -> int:
    """Return how many words of defence stand outside some places, and are not negated."""
    folded = message.folded
    negated = [words.negated for words in message.lexicons]
    return sum(
        1
        for start, end in _places("defence", folded)
        if not any(first <= start < last for first, last in taken)
        and not any(is_negated(folded, start, end) for is_negated in negated)
        and not EVADED.search(folded[max(0, start - EVADED_CHARACTERS) : start])
    )
