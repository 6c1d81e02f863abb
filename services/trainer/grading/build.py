"""From a spec's grader to the function that grades."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from attune.spec.v1.grader_pb2 import Grader

from services.common.errors import FailedPrecondition, InvalidArgument, ServiceError
from services.trainer.grading import judge, structured, text
from services.trainer.grading.judge_client import JudgeClient
from services.trainer.grading.mathematics import mathematics
from services.trainer.grading.multi import multi
from services.trainer.grading.python_code import python_code
from services.trainer.grading.sample import Grade, Sample, Score, one_by_one
from services.trainer.settings import JudgeSettings

JUDGED = ("score_model", "label_model", "win_rate")
"""Kinds that ask a model."""
ONE_BY_ONE: Mapping[str, Callable[[str, Any], Score]] = {
    "string_check": text.string_check,
    "text_similarity": text.text_similarity,
    "regex": text.regex_match,
    "length": text.length,
    "json_schema": structured.json_schema,
    "tool_call": structured.tool_call,
    "numeric": structured.numeric,
}
"""Kinds that are pure functions of one sample."""


def build(grader: Grader, settings: JudgeSettings | None = None, *, fresh: bool = False) -> Grade:
    """Return the function that grades as the grader says.

    Args:
        grader: Of any kind.
        settings: Where the judge is; those of this process when left out.
        fresh: Whether a judge is to be asked anew what it has said before.

    Raises:
        InvalidArgument: If a setting, a template or a schema is wrong.
        FailedPrecondition: If what the kind needs is not here.
    """
    kind = grader.WhichOneof("kind") or ""
    if kind in ONE_BY_ONE:
        return one_by_one(ONE_BY_ONE[kind](grader.name, getattr(grader, kind)))
    if kind in JUDGED:
        return _judged(grader, settings or JudgeSettings.of_environment(), fresh)
    if kind == "math":
        return mathematics(grader.name, grader.math)
    if kind == "python":
        return python_code(grader.name, grader.python)
    if kind == "multi":
        parts = {each.name: build(each, settings, fresh=fresh) for each in grader.multi.graders}
        return multi(grader.name, parts, grader.multi.calculate_output)
    raise InvalidArgument(
        f"Grader '{grader.name}' has no kind. Set one.",
        reason="UNSUPPORTED_GRADER",
        grader=grader.name,
    )


def kinds_of(grader: Grader) -> set[str]:
    """Return the kinds of a grader and of all that it combines."""
    kind = grader.WhichOneof("kind") or ""
    return {kind}.union(*(kinds_of(each) for each in grader.multi.graders))


def scores(grade: Grade, samples: Sequence[Sample]) -> list[float]:
    """Return the score of each sample.

    Raises:
        ServiceError: If one could not be graded.
    """
    found = []
    for index, graded in enumerate(grade(samples)):
        if graded.score is None:
            raise ServiceError(
                f"Answer {index + 1} could not be graded: {graded.error}",
                reason="GRADER_FAILED",
            )
        found.append(graded.score)
    return found


def _judged(grader: Grader, settings: JudgeSettings, fresh: bool) -> Grade:
    if not settings.base_url:
        raise FailedPrecondition(
            f"Grader '{grader.name}' asks a model, and no judge is set. Set "
            "ATTUNE_JUDGE_BASE_URL to an OpenAI-compatible endpoint and start the trainer again.",
            reason="NO_JUDGE",
            grader=grader.name,
        )
    client = JudgeClient(settings) if fresh else _client(settings)
    if grader.HasField("score_model"):
        return judge.score_model(grader.name, grader.score_model, client)
    if grader.HasField("label_model"):
        return judge.label_model(grader.name, grader.label_model, client)
    return judge.win_rate(grader.name, grader.win_rate, client)


@cache
def _client(settings: JudgeSettings) -> JudgeClient:
    """Return the client of an endpoint: one per process, with its workers and known replies."""
    return JudgeClient(settings)
