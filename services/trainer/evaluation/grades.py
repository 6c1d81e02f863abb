"""Scores of answers by every grader of a spec; what could not be graded is kept apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from attune.spec.v1.grader_pb2 import Grader

from services.common.errors import ServiceError
from services.trainer.data.rows import Row
from services.trainer.grading.build import build
from services.trainer.grading.sample import Grade, Sample

ERROR_CHARACTERS_MAX = 300


@dataclass(frozen=True)
class Graded:
    """What one grader made of the answers to some rows."""

    scores: Sequence[float | None]
    """In [0, 1], one per row; None for an answer that could not be graded."""
    first_error: str
    """Why not, of the first of those; empty when there is none."""

    @property
    def known(self) -> list[float]:
        """The scores that there are."""
        return [score for score in self.scores if score is not None]

    @property
    def ungraded_count(self) -> int:
        """Answers without a score."""
        return len(self.scores) - len(self.known)

    @property
    def mean(self) -> float | None:
        """Mean of the scores that there are; None without any."""
        known = self.known
        return sum(known) / len(known) if known else None

    def to_json(self) -> dict[str, Any]:
        """Return it as the result of a phase keeps it."""
        return {"scores": list(self.scores), "first_error": self.first_error}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Graded:
        """Return what `to_json` gave."""
        return cls(values["scores"], values["first_error"])


@dataclass(frozen=True)
class Scored:
    """Answers of one model to rows, with what every grader makes of them."""

    rows: Sequence[Row]
    answers: Sequence[str]
    """One per row, in their order."""
    graded: Mapping[str, Graded]
    """By the name of the grader."""

    def at(self, positions: Sequence[int]) -> tuple[list[Row], list[str]]:
        """Return some of the rows and their answers."""
        rows = [self.rows[index] for index in positions]
        return rows, [self.answers[index] for index in positions]

    def known(self, name: str) -> tuple[list[Row], list[str]]:
        """Return the rows that one grader has scores for, and their answers."""
        scores = self.graded[name].scores
        return self.at([index for index, score in enumerate(scores) if score is not None])


def builders(graders: Sequence[Grader]) -> dict[str, Grade]:
    """Return the function of each grader by its name, in their order.

    Raises:
        InvalidArgument: If this trainer does not have one.
    """
    return {one.name: build(one) for one in graders}


def score_rows(
    graders: Mapping[str, Grade],
    rows: Sequence[Row],
    answers: Sequence[str],
    base_answers: Sequence[str],
) -> Scored:
    """Grade one answer per row by every grader.

    Args:
        graders: By name.
        rows: What was asked.
        answers: In the same order.
        base_answers: The base model's answers to the same rows, for graders that compare two.
    """
    samples = [
        replace(row.sample(answer), base_text=base_text)
        for row, answer, base_text in zip(rows, answers, base_answers, strict=True)
    ]
    return Scored(rows, answers, {name: _graded(grade, samples) for name, grade in graders.items()})


def deciding_score(scored: Scored, name: str) -> float:
    """Return the mean score by one grader.

    Raises:
        ServiceError: If it could not grade a single answer; another attempt may find it well.
    """
    found = scored.graded[name].mean
    if found is None:
        raise ServiceError(
            f"Grader '{name}' could grade none of {len(scored.rows)} answers: "
            f"{scored.graded[name].first_error}",
            reason="GRADER_FAILED",
        )
    return found


def _graded(grade: Grade, samples: Sequence[Sample]) -> Graded:
    graded = grade(samples)
    errors = [one.error for one in graded if one.score is None]
    scores = [one.score for one in graded]
    return Graded(scores, errors[0][:ERROR_CHARACTERS_MAX] if errors else "")


def paired(one: Graded, other: Graded) -> tuple[list[int], list[float], list[float]]:
    """Return the positions of the rows that both have scores for, and those scores."""
    positions = [
        index
        for index, (left, right) in enumerate(zip(one.scores, other.scores, strict=True))
        if left is not None and right is not None
    ]
    left = [one.scores[index] or 0.0 for index in positions]
    return positions, left, [other.scores[index] or 0.0 for index in positions]
