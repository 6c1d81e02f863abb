"""Which rows are held out: by seed, near equals on one side, every label in its share; pure."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Hashable, Sequence

from services.common.near_text import clusters, words

LIKENESS_LEAST = 0.8
"""Texts that are as like as this stay together: one word changed in about twenty."""
NEAR_ROWS_MAX = 200_000
"""Rows up to which near equals are looked for, which then takes about half a minute; of more only
equals are kept together, case, spacing and punctuation aside."""
SHORTFALL = 0.1
"""Part of the wanted rows, or one, that may be missing before less is kept together."""
ORDERS_MAX = 16
"""Orders of the rows that are tried until they add up: large groups of near equals may not."""
LABEL_CHARACTERS_MAX = 60


def choose(
    texts: Sequence[str], answers: Sequence[str], count: int, seed: str
) -> tuple[set[int], bool]:
    """Return the positions of the rows to hold out, and whether no near equal is left behind.

    Rows that are nearly equal are taken together or not at all, unless too few could then be
    taken: rows from one mould may all be near equals. Every answer that is short and repeats has
    the same share on both sides, as far as whole rows allow.

    Args:
        texts: What each row asks.
        answers: What each row answers, in the same order.
        count: Rows to take, at least 1; as many or slightly fewer are taken.
        seed: Equal seeds choose equally.
    """
    wanted = min(count, len(texts))
    for joined, apart in _groupings(texts):
        orders = (f"{seed}-{number}" for number in range(ORDERS_MAX))
        held: set[int] = set()
        for order in orders:
            held = max(held, _take(joined, _strata(answers), wanted, order), key=len)
            if len(held) == wanted:
                break
        if held and len(held) >= wanted - max(1.0, wanted * SHORTFALL):
            return held, apart
    return set(), False


def _groupings(texts: Sequence[str]) -> list[tuple[Sequence[Hashable], bool]]:
    """Return what rows are kept together by, the strictest first."""
    equals = [" ".join(words(text)) or text for text in texts]
    groupings: list[tuple[Sequence[Hashable], bool]] = [(equals, False), (range(len(texts)), False)]
    if len(texts) <= NEAR_ROWS_MAX:
        groupings.insert(0, (clusters(texts, LIKENESS_LEAST), True))
    return groupings


def _strata(answers: Sequence[str]) -> list[str]:
    """Return for each answer the label that it is, or nothing."""
    counts = Counter(answers)
    return [
        answer if counts[answer] > 1 and len(answer) <= LABEL_CHARACTERS_MAX else ""
        for answer in answers
    ]


def _take(groups: Sequence[Hashable], strata: Sequence[str], wanted: int, seed: str) -> set[int]:
    members: dict[Hashable, list[int]] = {}
    for position, group in enumerate(groups):
        members.setdefault(group, []).append(position)
    units = list(members.values())
    random.Random(seed).shuffle(units)
    total = len(groups)
    open_by_stratum = Counter(
        {stratum: wanted * size / total for stratum, size in Counter(strata).items()}
    )
    held: set[int] = set()
    # First what the shares ask for, then whatever fits, so that rounding leaves no gap.
    for strict in (True, False):
        for unit in units:
            if unit[0] in held or len(held) + len(unit) > wanted:
                continue
            needs = Counter(strata[position] for position in unit)
            if strict and any(open_by_stratum[each] < need for each, need in needs.items()):
                continue
            open_by_stratum.subtract(needs)
            held.update(unit)
    return held
