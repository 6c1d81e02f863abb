"""What a grader is given and what it returns; plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


@dataclass(frozen=True)
class Sample:
    """One answer and the row that it answers."""

    output_text: str
    """What the model said."""
    item: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the row; `reference` is always there as text for rows of a dataset."""
    output_tools: Sequence[Mapping[str, Any]] = ()
    """Tool calls of the answer, each with `name` and `arguments`."""
    base_text: str | None = None
    """What the base model answered to the same row, for graders that compare; None if unknown."""


class Fault(StrEnum):
    """Why a sample could not be graded; the names are those of OpenAI's error flags."""

    FORMULA_PARSE = "formula_parse_error"
    """The formula gives no score: a division by zero, or a number outside [0, 1]."""
    SAMPLE_PARSE = "sample_parse_error"
    """The row's own value is not what the grader compares with, such as a number."""
    TRUNCATED_OBSERVATION = "truncated_observation_error"
    """The sample is too long to be graded whole."""
    UNRESPONSIVE_REWARD = "unresponsive_reward_error"
    """Grading took longer than it may."""
    INVALID_VARIABLE = "invalid_variable_error"
    """A template names what the row does not have."""
    OTHER = "other_error"
    """None of the others."""
    PYTHON_SERVER = "python_grader_server_error"
    """The sandbox could not run the code."""
    PYTHON_RUNTIME = "python_grader_runtime_error"
    """The grader's code failed, or returned no score."""
    MODEL_SERVER = "model_grader_server_error"
    """The judge's endpoint failed."""
    MODEL_REFUSAL = "model_grader_refusal_error"
    """The judge would not judge."""
    MODEL_PARSE = "model_grader_parse_error"
    """The judge's reply is not in the form that it was asked for."""


class Ungradable(Exception):
    """A sample cannot be graded; this is never a score of 0."""

    def __init__(self, fault: Fault, message: str) -> None:
        """Keep the kind of fault, and what is wrong and what to do in one sentence or two."""
        super().__init__(message)
        self.fault = fault


class WrongAnswer(Exception):
    """The answer lacks what a template takes from it: it scores 0."""


@dataclass(frozen=True)
class Graded:
    """What a grader makes of one sample; exactly one of score and error is set."""

    score: float | None
    """In [0, 1]; None when it could not be graded."""
    error: str = ""
    """Why it could not be graded, in one sentence."""
    fault: Fault | None = None
    """Kind of that error."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Of the graders that a formula combines, by name."""
    token_count: int = 0
    """Tokens that a judge read and wrote; 0 when the reply was known from before."""


Grade = Callable[[Sequence[Sample]], list[Graded]]
"""Grades a batch, in its order; failures of single samples are in the results."""
Score = Callable[[Sample], float]
"""Takes a sample, returns the score in [0, 1]; raises Ungradable or WrongAnswer."""


def ungraded(error: Ungradable) -> Graded:
    """Return the result of a sample that cannot be graded."""
    return Graded(None, str(error), error.fault)


def one_by_one(score: Score) -> Grade:
    """Return the function that grades a batch sample by sample."""

    def grade(samples: Sequence[Sample]) -> list[Graded]:
        graded = []
        for sample in samples:
            try:
                graded.append(Graded(score(sample)))
            except WrongAnswer:
                graded.append(Graded(0.0))
            except Ungradable as error:
                graded.append(ungraded(error))
        return graded

    return grade
