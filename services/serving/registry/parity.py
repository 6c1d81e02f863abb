"""Whether the engine reproduces the trainer: the lines of `parity.jsonl` against its answers."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.serving.engines.greedy import Answer

LINES_MAX = 256
INCOMPLETE = "\ufffd"
"""Stands for the bytes of a character whose end was cut off; the engine leaves them out there."""


class BadParityFile(Exception):
    """A parity file that proves nothing; the text says why."""


@dataclass(frozen=True)
class ParityLine:
    """One prompt and what the trainer answered."""

    messages: tuple[dict[str, str], ...]
    """Each with `role` and `content`."""
    expected: Answer


@dataclass(frozen=True)
class ParityReport:
    """How closely the engine reproduces the trainer."""

    prompt_count: int
    token_mismatch_count: int
    """Prompts with other token ids."""
    text_mismatch_count: int
    """Prompts with another greedy answer."""
    max_logprob_difference: float
    """Largest over all comparable tokens, in nats."""
    tolerance: float
    """Largest difference allowed, in nats."""

    @property
    def holds(self) -> bool:
        """Whether the engine may serve this adapter."""
        return (
            self.prompt_count > 0
            and self.token_mismatch_count == 0
            and self.text_mismatch_count == 0
            and self.max_logprob_difference <= self.tolerance  # False for NaN.
        )

    def describe(self) -> str:
        """Return the outcome in one sentence for people."""
        if self.holds:
            return (
                f"Parity holds on {self.prompt_count} prompts: token ids and greedy answers are "
                f"equal, log-probabilities within {self.max_logprob_difference:.2g} nats "
                f"({self.tolerance:g} allowed)."
            )
        found = []
        if self.token_mismatch_count:
            found.append(f"{self.token_mismatch_count} prompts have other token ids")
        if self.text_mismatch_count:
            found.append(f"{self.text_mismatch_count} have another greedy answer")
        if not self.max_logprob_difference <= self.tolerance:
            found.append(
                f"a log-probability differs by {self.max_logprob_difference:.2g} nats "
                f"({self.tolerance:g} allowed)"
            )
        return (
            f"The engine does not reproduce the trainer: of {self.prompt_count} prompts, "
            f"{', '.join(found) or 'none could be compared'}."
        )


def read_lines(text: str) -> list[ParityLine]:
    """Return the lines of a parity file.

    Args:
        text: JSON Lines with `messages`, `prompt_token_ids`, `answer_token_ids`, `answer` and
            `logprobs` in each.

    Raises:
        BadParityFile: If there is no line, there are too many, or one cannot be read.
    """
    rows = [row for row in text.splitlines() if row.strip()]
    if not 0 < len(rows) <= LINES_MAX:
        raise BadParityFile(f"{len(rows)} lines; there must be 1 to {LINES_MAX}")
    lines = []
    for number, row in enumerate(rows, start=1):
        try:
            lines.append(_read_line(json.loads(row)))
        except (ValueError, KeyError, TypeError) as error:
            raise BadParityFile(f"line {number} cannot be read: {error!r}") from None
    return lines


def compare(pairs: Sequence[tuple[Answer, Answer]], tolerance: float) -> ParityReport:
    """Compare the trainer's answers with the engine's.

    Args:
        pairs: Expected and actual, one pair for each prompt.
        tolerance: Largest difference of a token's log-probability that is allowed, in nats.
    """
    differences = [_logprob_difference(expected, actual) for expected, actual in pairs]
    return ParityReport(
        prompt_count=len(pairs),
        token_mismatch_count=sum(
            expected.prompt_token_ids != actual.prompt_token_ids for expected, actual in pairs
        ),
        text_mismatch_count=sum(not _same_answer(*pair) for pair in pairs),
        max_logprob_difference=max(differences, default=0.0),
        tolerance=tolerance,
    )


def _read_line(row: dict[str, object]) -> ParityLine:
    messages = tuple(
        {"role": str(message["role"]), "content": str(message["content"])}
        for message in _list(row, "messages")
    )
    answer = row["answer"]
    if not isinstance(answer, str):
        raise TypeError("answer is not text")
    expected = Answer(
        prompt_token_ids=tuple(int(token) for token in _list(row, "prompt_token_ids")),
        answer_token_ids=tuple(int(token) for token in _list(row, "answer_token_ids")),
        text=answer,
        logprobs=tuple(float(logprob) for logprob in _list(row, "logprobs")),
    )
    if not messages or not expected.prompt_token_ids or not expected.answer_token_ids:
        raise ValueError("messages, prompt_token_ids and answer_token_ids must not be empty")
    if len(expected.logprobs) != len(expected.answer_token_ids):
        raise ValueError("logprobs and answer_token_ids differ in length")
    return ParityLine(messages, expected)


def _list(row: dict[str, object], key: str) -> list[Any]:
    value = row[key]
    if not isinstance(value, list):
        raise TypeError(f"{key} is not a list")
    return value


def _same_answer(expected: Answer, actual: Answer) -> bool:
    return expected.answer_token_ids == actual.answer_token_ids and expected.text.rstrip(
        INCOMPLETE
    ) == actual.text.rstrip(INCOMPLETE)


def _logprob_difference(expected: Answer, actual: Answer) -> float:
    """Return the largest difference over the tokens that both chose in the same context."""
    if expected.prompt_token_ids != actual.prompt_token_ids:
        return 0.0  # Counted as a token mismatch; what follows has another context.
    if len(actual.logprobs) != len(actual.answer_token_ids):
        return math.inf
    largest = 0.0
    for index, (ours, theirs) in enumerate(
        zip(expected.answer_token_ids, actual.answer_token_ids, strict=False)
    ):
        if ours != theirs:
            break
        difference = abs(expected.logprobs[index] - actual.logprobs[index])
        if math.isnan(difference):
            return math.inf
        largest = max(largest, difference)
    return largest
