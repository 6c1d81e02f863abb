"""The rows of a run: read, checked against the hash that was approved, and split by seed; pure."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from attune.spec.v1.spec_pb2 import Data
from attune.spec.v1.stage_pb2 import Technique

from services.common.artefacts import Artefacts, file_sha256, read_manifest
from services.trainer.data.row_shape import ShapedRow, said, shape_row
from services.trainer.data.split import choose
from services.trainer.grading.sample import Sample
from services.trainer.run import RunFailed

VALIDATION_FRACTION = 0.1
"""Share of the training rows that chooses the checkpoint when the spec names none."""
HOLDOUT_FRACTION = 0.2
"""Share of the rows held out with RANDOM when the spec names none."""


@dataclass(frozen=True)
class Row:
    """One row: a talk that ends in an answer, a prompt, or text without a template.

    Of text all is learnt. Where answers are graded its first half is the prompt and the rest the
    reference: what a model of such text is good at is going on with it.
    """

    line: int
    """Of its file, from 1."""
    messages: Sequence[Mapping[str, Any]]
    """Each with `role` and `content`; of a pair, with the preferred answer; of text none."""
    tools: Sequence[Mapping[str, Any]] | None = None
    """Tools that the assistant may call, as chat templates take them."""
    rejected: Sequence[Mapping[str, Any]] = ()
    """The rejected answer of a pair."""
    given_reference: str = ""
    """What answers to a prompt are graded with, where the row says it beside the messages."""
    item: Mapping[str, Any] = field(default_factory=dict)
    """The row as it is in its file."""
    text: str = ""
    """Text without a template; empty for all other rows."""

    @property
    def is_answered(self) -> bool:
        """Whether an answer of the assistant is among the messages."""
        return any(message["role"] == "assistant" for message in self.messages)

    @property
    def prompt(self) -> list[dict[str, Any]]:
        """The messages before the last answer of the assistant."""
        if self.text:
            return [{"role": "user", "content": self.opening}]
        return [dict(message) for message in self.messages[: self._answer_index]]

    @property
    def reference(self) -> str:
        """The last answer, its calls as JSON where it has no words; of a prompt, what is given."""
        if self.text:
            return self.text[len(self.opening) :].strip()
        return self.given_reference if self._is_asked else said(self.messages[self._answer_index])

    @property
    def opening(self) -> str:
        """The first half of a text, up to the end of a word where there is one."""
        half = max(1, len(self.text) // 2)
        end = self.text.rfind(" ", 1, half + 1)
        return self.text[: end if end > 0 else half]

    @property
    def answered(self) -> Sequence[Mapping[str, Any]]:
        """The messages, those of a prompt with its reference as the answer."""
        if not self._is_asked:
            return self.messages
        return [*self.messages, {"role": "assistant", "content": self.reference}]

    def sample(self, answer: str) -> Sample:
        """Return an answer to this row as graders take it: `prompt` and `reference` are texts.

        A prompt for which no reference is given has none, so that nothing is compared with it.
        """
        told = {"reference": self.reference} if self.reference or self.is_answered else {}
        return Sample(answer, {**self.item, "prompt": self.asked, **told})

    @property
    def asked(self) -> str:
        """What is said before the last answer, without the system message."""
        turns = (message for message in self.prompt if message["role"] != "system")
        return "\n".join(said(message) for message in turns)

    @property
    def question(self) -> str:
        """The last message of the user before that answer; empty when there is none."""
        asked = [message for message in self.prompt if message["role"] == "user"]
        return str(asked[-1].get("content") or "") if asked else ""

    @property
    def _is_asked(self) -> bool:
        """Whether all messages are a prompt: they end unanswered and nothing else is learnt."""
        ended = self.messages[-1:] and self.messages[-1]["role"] == "assistant"
        return not ended and bool(self.given_reference or not self.is_answered)

    @property
    def _answer_index(self) -> int:
        if self._is_asked:
            return len(self.messages)
        roles = [message["role"] for message in self.messages]
        return len(roles) - 1 - roles[::-1].index("assistant")


@dataclass(frozen=True)
class Split:
    """The rows by what they are for."""

    train: Sequence[Row]
    """Taught."""
    validation: Sequence[Row]
    """Choose the checkpoint."""
    holdout: Sequence[Row]
    """Never seen in training."""
    apart: bool = True
    """Whether no row that was held out at random nearly equals one that is taught."""


def row_of(item: Mapping[str, Any]) -> Row | None:
    """Return a row that stands alone; None if it has none of the shapes of datasets."""
    try:
        shaped = shape_row(item)
    except (ValueError, TypeError):
        return None
    row = _whole(0, shaped, item)
    return row if row.messages else None


def read_split(artefacts: Artefacts, data: Data, technique: int) -> Split:
    """Return the rows that a spec names, split as it says.

    Args:
        artefacts: Where they are.
        data: What the spec says of them.
        technique: For which they must be fit.

    Raises:
        RunFailed: If bytes are missing or are not those that were approved, a row is not of the
            shape that the technique needs, or a part would be empty.
    """
    rows = _read(artefacts, data.dataset_sha256, technique)
    if data.drop_repeated_rows:
        rows = without_repeats(rows)
    seed = data.split_seed
    if data.split_method == Data.SPLIT_METHOD_RANDOM:
        fraction = data.holdout_fraction or HOLDOUT_FRACTION
        count = data.holdout_row_count or max(1, round(len(rows) * fraction))
        rows, holdout, apart = _hold_out(rows, count, f"holdout-{seed}")
    else:
        holdout, apart = _read(artefacts, data.holdout_sha256, technique), True
    fraction = data.validation_fraction or VALIDATION_FRACTION
    count = max(1, round(len(rows) * fraction))
    train, validation, _ = _hold_out(rows, count, f"validation-{seed}")
    if not train or not holdout:
        raise RunFailed(
            "TOO_FEW_ROWS",
            f"{len(rows)} rows to train on and {len(holdout)} held out are too few. "
            "At least 2 and 1 are needed; add rows.",
        )
    return Split(train, validation, holdout, apart)


def without_repeats(rows: Sequence[Row]) -> list[Row]:
    """Return the rows without those that equal an earlier one in all that is learnt of them.

    Of pairs that includes the rejected answer, whichever stage reads them: so all stages of a
    chain hold out the same rows.
    """
    first = {
        json.dumps([row.messages, row.rejected, row.tools, row.text], sort_keys=True): row
        for row in reversed(rows)
    }
    return sorted(first.values(), key=lambda row: row.line)


def most_frequent_answer(rows: Sequence[Row]) -> str:
    """Return the answer that most rows give; the first of equally frequent ones."""
    return Counter(row.reference for row in rows).most_common(1)[0][0]


def few_shot_prompt(row: Row, examples: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the prompt of a row with examples before it, as turns of the same chat.

    A system message stands once, and first: the row's own.
    """
    prompt = row.prompt
    head = [message for message in prompt if message["role"] == "system"]
    turns = [
        dict(message)
        for example in examples
        for message in example.answered
        if message["role"] != "system"
    ]
    return head + turns + [message for message in prompt if message["role"] != "system"]


def choose_examples(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """Return `count` rows with an answer, or all when there are fewer; the same for equal seeds."""
    fit = [row for row in rows if row.reference]
    return random.Random(f"few-shot-{seed}").sample(fit, min(count, len(fit)))


def spread(rows: Sequence[Row], count: int) -> list[int]:
    """Return `count` positions, or all when there are fewer, evenly over the rows."""
    taken = min(count, len(rows))
    return [index * len(rows) // taken for index in range(taken)]


def _hold_out(rows: list[Row], count: int, seed: str) -> tuple[list[Row], list[Row], bool]:
    asked = [row.text or row.asked for row in rows]
    held, apart = choose(asked, [row.reference for row in rows], count, seed)
    kept = [row for index, row in enumerate(rows) if index not in held]
    return kept, [rows[index] for index in sorted(held)], apart


def _read(artefacts: Artefacts, expected_sha256: str, technique: int) -> list[Row]:
    path = artefacts.dataset(expected_sha256)
    if not path.is_file():
        raise RunFailed(
            "DATASET_MISSING",
            f"The rows of dataset {expected_sha256[:12]} are not under the artefact root. "
            "Upload them again.",
        )
    found_sha256 = file_sha256(path)
    if found_sha256 != expected_sha256 and not _made_from(artefacts, expected_sha256):
        raise RunFailed(
            "DATASET_CHANGED",
            f"The rows hash to {found_sha256[:12]}, but {expected_sha256[:12]} was approved. "
            "Upload the approved rows again.",
        )
    lines = path.read_text(encoding="utf-8").split("\n")
    return [_row(number, text, technique) for number, text in enumerate(lines, 1) if text.strip()]


def _made_from(artefacts: Artefacts, sha256: str) -> bool:
    """Tell whether rows that are other bytes than the upload were made from it, and not since."""
    original = artefacts.original(sha256)
    facts = read_manifest(original.parent)
    return (
        facts is not None
        and facts.get("source_sha256") == sha256
        and original.is_file()
        and file_sha256(original) == sha256
    )


def _whole(line: int, shaped: ShapedRow, item: Mapping[str, Any]) -> Row:
    messages = [*shaped.messages, *shaped.chosen]
    return Row(line, messages, shaped.tools, shaped.rejected, shaped.reference, item, shaped.text)


def _row(number: int, text: str, technique: int) -> Row:
    try:
        item = json.loads(text)
        shaped = shape_row(item)
    except (ValueError, TypeError):
        item, shaped = {}, ShapedRow()
    row = _whole(number, shaped, item)
    if technique == Technique.TECHNIQUE_DPO and not row.rejected:
        raise RunFailed(
            "NOT_A_PAIR",
            f"Line {number} is not a pair. It needs a prompt with `chosen` and `rejected` answers.",
        )
    if technique == Technique.TECHNIQUE_SFT and not (row.is_answered or row.text):
        raise RunFailed(
            "NOT_A_CHAT",
            f"Line {number} is not a chat row. It needs `messages` with role and content, one of "
            "them from the assistant, or `prompt` and `completion`, or `text`.",
        )
    if not (row.messages or (row.text and technique == Technique.TECHNIQUE_SFT)):
        raise RunFailed("NOT_A_PROMPT", f"Line {number} has no prompt. It needs `messages`.")
    return row
