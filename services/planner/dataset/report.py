"""Statistics over a dataset's rows, gathered in one pass, eight bytes for each row and figure."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from attune.planner.v1 import dataset_pb2

from services.common.errors import Violation
from services.planner.dataset.rows import Row

ROWS_MAX = 1_000_000
VIOLATIONS_MAX = 100
"""Lines that an error names; the rest would tell nothing new."""


@dataclass(frozen=True)
class TokenCount:
    """Tokens of one row under the base model's template."""

    token_count: int
    """All tokens, template included."""
    trainable_token_count: int
    """Tokens of assistant turns."""


@dataclass
class Tally:
    """Takes rows in and gives the report."""

    digests: array[int] = field(default_factory=lambda: array("Q"))
    answers: array[int] = field(default_factory=lambda: array("Q"))
    tokens: array[int] = field(default_factory=lambda: array("Q"))
    max_answer_token_count: int = 0
    json_count: int = 0

    def add(self, rows: Sequence[Row], counts: Sequence[TokenCount]) -> None:
        """Take in rows with their token counts, in the same order."""
        for row, count in zip(rows, counts, strict=True):
            self.digests.append(row.digest)
            self.answers.append(row.answer_digest)
            self.tokens.append(count.token_count)
            # A row with several answers counts as one long one: an upper bound.
            longest = max(self.max_answer_token_count, count.trainable_token_count)
            self.max_answer_token_count = longest
            self.json_count += row.is_json

    def report(
        self, tokenizer_model: str, holdout_digests: array[int]
    ) -> dataset_pb2.DatasetReport:
        """Return the statistics; there must be at least one row.

        Args:
            tokenizer_model: Base model whose tokenizer counted.
            holdout_digests: Digests of the hold-out's rows; empty when there is none.
        """
        row_count = len(self.digests)
        tokens = sorted(self.tokens)
        repeats = [sum(1 for _ in group) for _, group in groupby(sorted(self.answers))]
        held = set(holdout_digests)
        return dataset_pb2.DatasetReport(
            format="chat",
            valid_row_count=row_count,
            row_count=row_count,
            tokenizer_model=tokenizer_model,
            total_token_count=sum(tokens),
            median_token_count=tokens[(row_count - 1) // 2],
            max_token_count=tokens[-1],
            max_answer_token_count=self.max_answer_token_count,
            json_answer_share=self.json_count / row_count,
            distinct_answer_count=len(repeats),
            majority_answer_share=max(repeats) / row_count,
            duplicate_row_count=row_count - len(set(self.digests)),
            holdout_overlap_count=sum(digest in held for digest in self.digests),
        )


def cut_answers(
    rows: Sequence[Row], counts: Sequence[TokenCount], context_length: int
) -> list[Violation]:
    """Return a violation for each row whose answer does not fit into the context.

    Args:
        rows: Rows in order; the last message of each is its answer.
        counts: Their tokens.
        context_length: Of the base model, in tokens.
    """
    return [
        Violation(
            f"line {row.line_number}",
            "ANSWER_CUT",
            f"{count.token_count:,} tokens, but the base model reads {context_length:,}: the "
            "answer would be cut. Shorten the row or split it.",
        )
        for row, count in zip(rows, counts, strict=True)
        if count.token_count > context_length
    ]


def by_rule(violations: Sequence[Violation]) -> list[Violation]:
    """Return one violation for each rule, which names all its lines, at most 100 in all.

    A status travels in a header that clients cut off at 8 KiB, and a file with one bad row tends
    to have a hundred of the same kind.
    """
    kept = sorted(violations[:VIOLATIONS_MAX], key=lambda violation: violation.rule)
    grouped = []
    for _, group in groupby(kept, key=lambda violation: violation.rule):
        first, *others = group
        lines = [each.field.split(":")[0].removeprefix("line ") for each in (first, *others)]
        distinct = list(dict.fromkeys(lines))
        if len(distinct) > 1:
            first = Violation("lines " + ", ".join(distinct), first.rule, first.message)
        grouped.append(first)
    return sorted(grouped, key=lambda violation: _first_line(violation.field))


def _first_line(field_text: str) -> int:
    digits = field_text.split()[1].rstrip(":,")
    return int(digits)
