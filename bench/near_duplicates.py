"""Time and memory of the search for near duplicates, and how many planted ones it finds.

Usage: python -m bench.near_duplicates [--rows 200000] [--words 100]

Rows of random words; every twentieth is an earlier one with one word changed. One core.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import string
import time

os.environ["OMP_NUM_THREADS"] = "1"

from bench import report
from services.planner.dataset import language, near_duplicates
from services.planner.dataset.rows import RowView

SEED = 11
PLANTED_EVERY = 20
VOCABULARY = 30_000
DISTANCE = 7
"""A planted row stands so many rows behind the one that it repeats."""


def make_rows(count: int, words: int) -> tuple[list[RowView], set[int]]:
    """Return rows, and the lines of those that nearly equal an earlier one."""
    source = random.Random(SEED)
    vocabulary = [
        "".join(source.choices(string.ascii_lowercase, k=source.randint(2, 9)))
        for _ in range(VOCABULARY)
    ]
    prompts = [" ".join(source.choices(vocabulary, k=words)) for _ in range(count)]
    planted = set()
    for index in range(0, count - DISTANCE, PLANTED_EVERY):
        changed = prompts[index].split()
        changed[words // 2] = "changed"
        prompts[index + DISTANCE] = " ".join(changed)
        planted.add(index + DISTANCE + 1)
    rows = [
        RowView(line, "chat", prompt, "yes", "", "", (), "messages[0].content", "")
        for line, prompt in enumerate(prompts, 1)
    ]
    return rows, planted


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--words", type=int, default=100)
    options = parser.parse_args()
    rows, planted = make_rows(options.rows, options.words)
    before_mb = _memory_mb()
    start = time.perf_counter()
    found = {finding.line for finding in near_duplicates.find(rows)}
    search_s = time.perf_counter() - start
    after_mb = _memory_mb()
    start = time.perf_counter()
    language.shares(rows)
    language_s = time.perf_counter() - start
    figures = {
        "rows": options.rows,
        "words": options.words,
        "search_s": search_s,
        "language_s": language_s,
        "memory_mb": after_mb - before_mb,
        "planted": len(planted),
        "found": len(found & planted),
        "wrong": len(found - planted),
    }
    report.show(
        "Near duplicates", ["figure", "value"], [[name, value] for name, value in figures.items()]
    )
    report.write("near_duplicates", figures)


def _memory_mb() -> float:
    """Return the most that the process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    main()
