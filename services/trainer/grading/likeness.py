"""How alike two texts are, in [0, 1], by the common measures; pure."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from itertools import pairwise

WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|\w+")
"""A word; in scripts without spaces, a character."""
ORDER_MAX = 4
"""Longest runs of words that BLEU and GLEU count (Papineni et al. 2002, Wu et al. 2016)."""
METEOR_ALPHA = 0.9
"""Weight of recall against precision (Banerjee and Lavie 2005)."""
METEOR_BETA = 3.0
"""How fast the penalty grows with the share of broken runs (same)."""
METEOR_GAMMA = 0.5
"""Largest penalty for word order (same)."""


def fuzzy_match(found: str, expected: str) -> float:
    """Return 1 less the insertions and deletions between the texts, by their joint length."""
    total = len(found) + len(expected)
    return 2 * common_length(found, expected) / total if total else 1.0


def common_length(left: Sequence[Hashable], right: Sequence[Hashable]) -> int:
    """Return the length of the longest common subsequence.

    All of `left` is worked through at once, as the bits of one number (Hyyrö 2004).
    """
    places: dict[Hashable, int] = {}
    for index, each in enumerate(left):
        places[each] = places.get(each, 0) | 1 << index
    full = (1 << len(left)) - 1
    row = full
    for each in right:
        hits = row & places.get(each, 0)
        row = ((row + hits) | (row - hits)) & full
    return len(left) - row.bit_count()


def bleu(found: str, expected: str) -> float:
    """Return sentence BLEU; counts of runs of two and more words are raised by one.

    Without that, one missing run of four would make every short text 0 (Lin and Och 2004).
    """
    left, right = words(found), words(expected)
    if not left or not right:
        return float(left == right)
    total = 0.0
    for order in range(1, ORDER_MAX + 1):
        hits, runs, _ = _overlap(left, right, order)
        if order == 1 and not hits:
            return 0.0
        extra = int(order > 1)
        total += math.log((hits + extra) / (runs + extra)) if runs + extra else 0.0
    brevity = min(1.0, math.exp(1 - len(right) / len(left)))
    return brevity * math.exp(total / ORDER_MAX)


def gleu(found: str, expected: str) -> float:
    """Return Google's BLEU: the lesser of precision and recall over runs of one to four words."""
    left, right = words(found), words(expected)
    if not left or not right:
        return float(left == right)
    overlaps = [_overlap(left, right, order) for order in range(1, ORDER_MAX + 1)]
    hits, runs, wanted = (sum(each[part] for each in overlaps) for part in range(3))
    return hits / max(runs, wanted)


def meteor(found: str, expected: str) -> float:
    """Return METEOR with equal words only: no stems and no synonyms, which need a dictionary."""
    left, right = words(found), words(expected)
    places = _aligned(left, right)
    if not places:
        return float(left == right)
    precision, recall = len(places) / len(left), len(places) / len(right)
    mean = precision * recall / (METEOR_ALPHA * precision + (1 - METEOR_ALPHA) * recall)
    breaks = sum(
        (after[0] - before[0], after[1] - before[1]) != (1, 1) for before, after in pairwise(places)
    )
    if len(places) == len(left) == len(right) and not breaks:
        return 1.0
    penalty: float = METEOR_GAMMA * ((breaks + 1) / len(places)) ** METEOR_BETA
    return mean * (1 - penalty)


def rouge(order: int, found: str, expected: str) -> float:
    """Return the F1 of shared runs of `order` words; of texts too short for one, 0 or 1."""
    left, right = words(found), words(expected)
    if len(left) < order or len(right) < order:
        return float(left == right)
    return _harmonic(*_overlap(left, right, order))


def rouge_l(found: str, expected: str) -> float:
    """Return the F1 of the longest common subsequence of words."""
    left, right = words(found), words(expected)
    if not left or not right:
        return float(left == right)
    return _harmonic(common_length(left, right), len(left), len(right))


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation."""
    return WORD.findall(text.lower())


def _overlap(left: Sequence[str], right: Sequence[str], order: int) -> tuple[int, int, int]:
    """Return how many runs of words both have, and how many each."""
    ours, theirs = _runs(left, order), _runs(right, order)
    return (ours & theirs).total(), ours.total(), theirs.total()


def _runs(found: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(found[start:] for start in range(order)), strict=False))


def _harmonic(hits: int, ours: int, theirs: int) -> float:
    return 2 * hits / (ours + theirs)


def _aligned(left: Sequence[str], right: Sequence[str]) -> list[tuple[int, int]]:
    """Return pairs of places of equal words, each used once; a place after the last one first."""
    free: dict[str, list[int]] = {}
    for index in reversed(range(len(right))):
        free.setdefault(right[index], []).append(index)
    used: set[int] = set()
    pairs: list[tuple[int, int]] = []
    for index, word in enumerate(left):
        following = pairs[-1][1] + 1 if pairs else 0
        if following < len(right) and right[following] == word and following not in used:
            place = following
        else:
            rest = free.get(word, [])
            while rest and rest[-1] in used:
                rest.pop()
            if not rest:
                continue
            place = rest.pop()
        used.add(place)
        pairs.append((index, place))
    return pairs


LIKENESS: Mapping[str, Callable[[str, str], float]] = {
    "fuzzy_match": fuzzy_match,
    "bleu": bleu,
    "gleu": gleu,
    "meteor": meteor,
    **{f"rouge_{order}": partial(rouge, order) for order in range(1, 6)},
    "rouge_l": rouge_l,
}
"""Measures by their names in attune.spec.v1.TextSimilarityGrader."""
