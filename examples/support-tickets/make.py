"""Write `train.jsonl` and `holdout.jsonl`: customer messages and their routing records.

Run `python make.py`; equal files every time. Every sentence was written for this example. The
hold-out uses sentences, pairs of team and product and order numbers that the training rows do not
have, and no hold-out message resembles a training message, so memory alone cannot score on it.
"""

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from phrases import (
    CUES,
    DISTRACTORS,
    HELD_OUT_PAIRS,
    ORDER_MENTIONS,
    PROBLEMS,
    PRODUCTS,
    Phrases,
)

SEED = 7
TRAIN_COUNT, HOLDOUT_COUNT = 600, 150
ORDER_LETTERS = "ABCDEFGHJKLMNPRSTVWXYZ"
MAX_RESEMBLANCE_TO_TRAIN = 0.6
"""Shared word triples (Jaccard) from which a hold-out message counts as a near duplicate."""
MAX_RESEMBLANCE_WITHIN = 0.7
"""The same within one file."""
MAX_DRAWS = 100_000
"""A bound on rejected messages, so that a bad change of the phrases ends."""

DISTRACTOR_SHARE = 0.1
"""Messages that also name a product which is not the matter."""
TYPED_IN_A_HURRY_SHARE = 0.2
"""Messages without capitals, with letters swapped, or with marks left out."""
INSTRUCTION = "Route this message."


class Ticket(NamedTuple):
    """One customer message and how it has to be routed."""

    message: str
    team: str
    product: str
    priority: str
    order: str | None

    def row(self) -> dict[str, list[dict[str, str]]]:
        """Return the chat row that trainers read."""
        record = {
            "team": self.team,
            "product": self.product,
            "priority": self.priority,
            "order": self.order,
        }
        answer = json.dumps(record, separators=(",", ":"))
        return {
            "messages": [
                {"role": "system", "content": INSTRUCTION},
                {"role": "user", "content": self.message},
                {"role": "assistant", "content": answer},
            ]
        }


class Author:
    """Writes tickets of one part; training and hold-out never share an order number."""

    def __init__(self, seed: int, *, is_holdout: bool, used_orders: set[str]) -> None:
        """Start a sequence of tickets; `used_orders` is shared by both parts and extended."""
        self._rng = random.Random(seed)
        self._is_holdout = is_holdout
        self._used_orders = used_orders

    def write(self) -> Ticket:
        """Write one ticket."""
        rng = self._rng
        team, product = self._pair()
        priority = rng.choices(("high", "normal", "low"), (0.36, 0.34, 0.30))[0]
        order = self._order() if rng.random() < 0.75 else None
        problem = self._pick(PROBLEMS[team], 0.12).format(p=rng.choice(PRODUCTS[product]))
        remark = self._pick(ORDER_MENTIONS, 0.3).format(order=order) if order else ""
        body = [problem, self._pick(CUES[priority], 0.1), remark]
        if rng.random() < DISTRACTOR_SHARE:
            other = rng.choice([name for name in PRODUCTS if name != product])
            remark = self._pick(DISTRACTORS, 0.3).format(p=rng.choice(PRODUCTS[other]))
            body.insert(rng.randint(0, 1), remark)
        if rng.random() < 0.5:
            head, *tail = body
            rng.shuffle(tail)
            body = [head, *tail]
        text = " ".join(part for part in body if part)
        if rng.random() < TYPED_IN_A_HURRY_SHARE:
            text = self._voice(text)
        return Ticket(text, team, product, priority, order)

    def _pair(self) -> tuple[str, str]:
        if self._is_holdout and self._rng.random() < 0.12:
            return self._rng.choice(HELD_OUT_PAIRS)
        pairs = [(team, product) for team in PROBLEMS for product in PRODUCTS]
        return self._rng.choice([pair for pair in pairs if pair not in HELD_OUT_PAIRS])

    def _pick(self, phrases: Phrases, unseen_share: float) -> str:
        is_unseen = self._is_holdout and self._rng.random() < unseen_share
        return self._rng.choice(phrases.unseen if is_unseen and phrases.unseen else phrases.seen)

    def _order(self) -> str:
        while True:
            order = f"{self._rng.choice(ORDER_LETTERS)}-{self._rng.randrange(1000, 10_000)}"
            if order not in self._used_orders:
                self._used_orders.add(order)
                return order

    def _voice(self, text: str) -> str:
        """Make the message look typed by somebody: in a hurry, or on a phone."""
        if self._rng.random() < 0.15:
            text = re.sub(r"\b(?![A-Z]-\d)\w", lambda found: found.group().lower(), text)
        if self._rng.random() < 0.2:
            text = text.replace("'", "")
        if self._rng.random() < 0.15:
            text = text.replace(". ", "\n", 1)
        if self._rng.random() < 0.2:
            text = self._mistype(text)
        return text

    def _mistype(self, text: str) -> str:
        """Swap two letters inside one longer word that names no product."""
        names = tuple(PRODUCTS)
        words = [
            found
            for found in re.finditer(r"[a-z]{5,}", text)
            if not found.group().startswith(names)
        ]
        if not words:
            return text
        start, end = self._rng.choice(words).span()
        at = self._rng.randrange(start + 1, end - 2)
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def resemblance(left: frozenset[str], right: frozenset[str]) -> float:
    """Return the share of word triples that two messages have in common, in [0, 1]."""
    return len(left & right) / max(1, len(left | right))


def triples(message: str) -> frozenset[str]:
    """Return the word triples of a message; every number and reference counts as the same."""
    words = re.findall(r"\w+", re.sub(r"\b[A-Z]-\d+|\d+", "0", message).lower())
    return frozenset(" ".join(words[at : at + 3]) for at in range(max(1, len(words) - 2)))


def collect(
    write: Callable[[], Ticket], count: int, apart_from: list[frozenset[str]]
) -> list[Ticket]:
    """Write until `count` tickets resemble neither each other nor those to stay apart from."""
    tickets: list[Ticket] = []
    kept: list[frozenset[str]] = []
    for _ in range(MAX_DRAWS):
        if len(tickets) == count:
            return tickets
        ticket = write()
        grams = triples(ticket.message)
        if any(resemblance(grams, other) > MAX_RESEMBLANCE_TO_TRAIN for other in apart_from):
            continue
        if any(resemblance(grams, other) > MAX_RESEMBLANCE_WITHIN for other in kept):
            continue
        tickets.append(ticket)
        kept.append(grams)
    raise RuntimeError(f"only {len(tickets)} of {count} tickets after {MAX_DRAWS} draws")


def main() -> None:
    """Write both files beside this script."""
    orders: set[str] = set()
    author = Author(SEED, is_holdout=False, used_orders=orders)
    train = collect(author.write, TRAIN_COUNT, apart_from=[])
    seen = [triples(ticket.message) for ticket in train]
    author = Author(SEED + 1, is_holdout=True, used_orders=orders)
    holdout = collect(author.write, HOLDOUT_COUNT, apart_from=seen)
    for name, tickets in (("train", train), ("holdout", holdout)):
        lines = (json.dumps(ticket.row(), ensure_ascii=False) + "\n" for ticket in tickets)
        path = Path(__file__).with_name(f"{name}.jsonl")
        path.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
