"""Texts that are nearly equal, found without comparing each with each: MinHash with banding.

The signature method is Broder's (On the resemblance and containment of documents, 1997); two
texts meet when all values of one band agree, and every pair that is returned was then compared
exactly. The same texts give the same pairs.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

BAND_COUNT = 16
BAND_ROWS = 4
"""With 16 bands of 4, two texts of likeness 0.8 meet with probability 0.9998, of 0.5 with 0.64."""
SEED = 20261
WORDS_MAX = 2000
"""Words of a text that are looked at: its first ones."""
CHARACTERS_MAX = 32_000
"""Of a text, which bounds what is spent on finding those words."""
PARTNERS_MAX = 4
"""Texts of a bucket, then texts in all, that a text is compared with: a bound for rows that are
all from one mould."""
MARGIN = 0.15
"""Three standard deviations of the likeness that 64 values estimate."""
COMMON_SHARE = 0.5
"""Word pairs in more than this share of the texts are a template's and tell nothing."""
COMMON_SAMPLE = 1000
COMMON_LEAST = 20
"""Texts below which nothing can be said about a template."""
CHUNK_TEXTS = 4096
PARTS_MAX = 2000
"""Texts whose pairs of words are kept between two comparisons."""

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
# Signs that change what is asked are words too; other punctuation is not.
_WORD = re.compile(
    rf"[^\W{_UNSPACED}]+|[{_UNSPACED}]|[+<=>^*/%$€£&@#~|\\]|(?<!\S)[-\u2212](?=[\s\d])"
)
_WORD_ASCII = re.compile(r"\w+|[+<=>^*/%$&@#~|\\]|(?<!\S)-(?=[\s\d])", re.ASCII)
_START = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xC2B2AE3D27D4EB4F)


def words(text: str) -> list[str]:
    """Return the words of a text without case, spacing and punctuation, at most 2,000.

    A character of a script without spaces is a word, and so is a sign of arithmetic.
    """
    text = text[:CHARACTERS_MAX]
    if text.isascii():
        return _WORD_ASCII.findall(text.lower())[:WORDS_MAX]
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())[:WORDS_MAX]


def pairs(
    texts: Sequence[str],
    least: float,
    groups: Sequence[Hashable] | None = None,
    border: int = 0,
) -> list[tuple[int, int]]:
    """Return positions of texts that are nearly equal, the earlier one first, sorted.

    Likeness is the share of pairs of neighbouring words that two texts have in common (Jaccard),
    those left out that most texts share. Texts with other numbers are never alike: another number
    is another question. Of many texts that are all alike, each is paired with the likest few; of
    texts with the same words, only the first is paired with others, and the rest with it.

    Args:
        texts: Any number; memory is about 1 KB for each.
        least: Likeness from which texts are nearly equal, in (0, 1].
        groups: Of each text, when only texts of one group are to be compared.
        border: Position that parts the texts: those that are not equal are compared across it
            only; 0 to compare all.
    """
    search = _Search(texts, groups)
    return sorted([*search.equal, *search.alike(least, border)])


def clusters(texts: Sequence[str], least: float) -> list[int]:
    """Return for each text the position of the first text that it is joined to by near equals."""
    parents = list(range(len(texts)))

    def root(position: int) -> int:
        while parents[position] != position:
            parents[position] = parents[parents[position]]
            position = parents[position]
        return position

    for earlier, later in pairs(texts, least):
        first, second = sorted((root(earlier), root(later)))
        parents[second] = first
    return [root(position) for position in range(len(texts))]


class _Search:
    """Texts as signatures, those of equal words standing for one another."""

    def __init__(self, texts: Sequence[str], groups: Sequence[Hashable] | None) -> None:
        self.equal: list[tuple[int, int]] = []
        """Pairs with the same words."""
        self._texts = texts
        self._distinct: list[int] = []
        group_numbers: dict[Hashable, int] = {}
        self._groups: list[int] = []
        first: dict[tuple[int, bytes], int] = {}
        for position, text in enumerate(texts):
            group = groups[position] if groups is not None else None
            number = group_numbers.setdefault(group, len(group_numbers))
            found = words(text)
            # A digest, for the words of all texts would fill the memory.
            joined = " ".join(found) or text.strip()
            key = blake2b(joined.encode(errors="surrogatepass"), digest_size=16).digest()
            earlier = first.setdefault((number, key), position)
            if earlier != position:
                self.equal.append((earlier, position))
            elif found:
                self._distinct.append(position)
                self._groups.append(number)
        self._common = self._template()
        self._parts = lru_cache(maxsize=PARTS_MAX)(self._read_parts)

    def alike(self, least: float, border: int) -> Iterator[tuple[int, int]]:
        """Yield pairs that differ in words, but little."""
        if len(self._distinct) < 2:
            return
        signatures = self._signatures()
        groups = np.array(self._groups, dtype=np.uint64)
        parted = int(np.searchsorted(np.array(self._distinct), border))
        earlier, later = _candidates(signatures, groups, parted)
        for left, right in zip(*_likest(signatures, earlier, later, least - MARGIN), strict=True):
            one, other = self._distinct[left], self._distinct[right]
            if self._likeness(one, other) >= least:
                yield one, other

    def _likeness(self, one: int, other: int) -> float:
        (numbers, left), (others, right) = self._parts(one), self._parts(other)
        if numbers != others:
            return 0.0
        shared = len(left & right)
        return shared / (len(left) + len(right) - shared) if left and right else 0.0

    def _read_parts(self, position: int) -> tuple[list[str], frozenset[int]]:
        """Return the numbers of a text, and the pairs of words that tell."""
        found = words(self._texts[position])
        numbers = [word for word in found if not word.isalpha() and any(map(str.isdigit, word))]
        return numbers, frozenset(self._kept(_shingles([found])[0]).tolist())

    def _template(self) -> NDArray[np.uint64]:
        count = len(self._distinct)
        if count < COMMON_LEAST:
            return np.empty(0, dtype=np.uint64)
        step = max(1, count // COMMON_SAMPLE)
        sample = self._distinct[::step]
        each = [np.unique(_shingles([words(self._texts[one])])[0]) for one in sample]
        values, counts = np.unique(np.concatenate(each), return_counts=True)
        common: NDArray[np.uint64] = values[counts > COMMON_SHARE * len(sample)]
        return common

    def _kept(self, shingles: NDArray[np.uint64]) -> NDArray[np.uint64]:
        return shingles[~np.isin(shingles, self._common)] if len(self._common) else shingles

    def _signatures(self) -> NDArray[np.uint32]:
        """Return the signatures of the distinct texts, [N, 64]."""
        random = np.random.default_rng(SEED)
        count = BAND_COUNT * BAND_ROWS
        factors = random.integers(1, 2**63, count, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        offsets = random.integers(0, 2**63, count, dtype=np.uint64)
        result = np.empty((len(self._distinct), count), dtype=np.uint32)
        for start in range(0, len(self._distinct), CHUNK_TEXTS):
            part = self._distinct[start : start + CHUNK_TEXTS]
            shingles, starts = _shingles([words(self._texts[one]) for one in part])
            if len(self._common):
                shared = np.isin(shingles, self._common)
                # What is left out must not be a text's smallest value; a text of which nothing is
                # left keeps its first pair, so that reduceat has something to reduce.
                shared[starts] &= ~np.logical_and.reduceat(shared, starts)
            else:
                shared = None
            for index in range(count):
                hashes = shingles * factors[index] + offsets[index]
                hashes >>= np.uint64(32)
                if shared is not None:
                    hashes[shared] = np.uint64(0xFFFFFFFF)
                result[start : start + len(part), index] = np.minimum.reduceat(hashes, starts)
        return result


def _shingles(texts: Sequence[Sequence[str]]) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
    """Return a hash for each pair of neighbouring words, and where each text's begin.

    The start of a text counts as a word, so a text has as many pairs as words, at least one.
    """
    lengths = np.fromiter(map(len, texts), dtype=np.intp, count=len(texts))
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.intp)
    total = int(lengths.sum())
    hashes = np.fromiter(
        (crc32(word.encode()) for text in texts for word in text), dtype=np.uint64, count=total
    )
    hashes *= _START
    hashes ^= hashes >> np.uint64(29)
    before = np.empty_like(hashes)
    before[1:] = hashes[:-1]
    before[starts] = _START
    mixed = (before * _MIX) ^ hashes
    mixed ^= mixed >> np.uint64(32)
    return mixed * _START, starts


def _candidates(
    signatures: NDArray[np.uint32], groups: NDArray[np.uint64], border: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return positions of texts that share a band, each pair once, ordered by the later one."""
    count = len(signatures)
    coded: list[NDArray[np.int64]] = []
    for band in range(BAND_COUNT):
        keys = groups * _MIX
        for column in range(band * BAND_ROWS, (band + 1) * BAND_ROWS):
            keys = (keys ^ signatures[:, column].astype(np.uint64)) * _START
            keys ^= keys >> np.uint64(31)
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        opens = np.concatenate(([True], ordered[1:] != ordered[:-1]))
        first = np.maximum.accumulate(np.where(opens, np.arange(count), 0))
        rank = np.arange(count) - first
        for partner in range(PARTNERS_MAX):
            members = np.flatnonzero(rank > partner)
            earlier, later = order[first[members] + partner], order[members]
            if border:
                across = (earlier < border) & (later >= border)
                earlier, later = earlier[across], later[across]
            coded.append(later * np.int64(count) + earlier)
    unique = np.unique(np.concatenate(coded))
    return unique % count, unique // count


def _likest(
    signatures: NDArray[np.uint32],
    earlier: NDArray[np.int64],
    later: NDArray[np.int64],
    least: float,
) -> tuple[list[int], list[int]]:
    """Return of each later text the few pairs that are likest, as far as signatures tell."""
    shares = np.empty(len(earlier), dtype=np.float32)
    for start in range(0, len(earlier), CHUNK_TEXTS):
        part = slice(start, start + CHUNK_TEXTS)
        shares[part] = np.mean(signatures[earlier[part]] == signatures[later[part]], axis=1)
    kept = np.flatnonzero(shares >= least)
    order = kept[np.lexsort((-shares[kept], later[kept]))]
    ordered = later[order]
    opens = np.concatenate(([True], ordered[1:] != ordered[:-1]))[: len(ordered)]
    first = np.maximum.accumulate(np.where(opens, np.arange(len(ordered)), 0))
    order = order[np.arange(len(ordered)) - first < PARTNERS_MAX]
    return earlier[order].tolist(), later[order].tolist()
