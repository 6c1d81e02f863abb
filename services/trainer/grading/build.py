"""From a spec's grader to the function that grades."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

from attune.spec.v1.grader_pb2 import Grader

from services.common.errors import FailedPrecondition, InvalidArgument, ServiceError
from services.trainer.grading import judge, structured, text
from services.trainer.grading.judge_client import JudgeClient
from services.trainer.grading.mathematics import mathematics
from services.trainer.grading.multi import multi
from services.trainer.grading.python_code import python_code
from services.trainer.grading.sample import Fault, Grade, Sample, Score, Ungradable, one_by_one
from services.trainer.sandbox.box import Limits
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


def build(
    grader: Grader,
    settings: JudgeSettings | None = None,
    *,
    fresh: bool = False,
    timeout_s: float | None = None,
) -> Grade:
    """Return the function that grades as the grader says.

    Args:
        grader: Of any kind.
        settings: Where the judge is; those of this process when left out.
        fresh: Whether a judge is to be asked anew what it has said before.
        timeout_s: Longest time of one request to a judge and of one run of code, in seconds, as a
            reward limits it; their own limits when left out.

    Raises:
        InvalidArgument: If a setting, a template or a schema is wrong.
        FailedPrecondition: If what the kind needs is not here.
    """
    kind = grader.WhichOneof("kind") or ""
    if kind in ONE_BY_ONE:
        return one_by_one(ONE_BY_ONE[kind](grader.name, getattr(grader, kind)))
    if kind in JUDGED:
        known = settings or JudgeSettings.of_environment()
        least = min(known.timeout_s, timeout_s or known.timeout_s)
        return _judged(grader, known.model_copy(update={"timeout_s": least}), fresh)
    if kind == "math":
        return mathematics(grader.name, grader.math)
    if kind == "python":
        limits = Limits(time_s=timeout_s) if timeout_s else Limits()
        return python_code(grader.name, grader.python, limits)
    if kind == "preference":
        return one_by_one(partial(_no_answer_tells, grader.name))
    if kind == "multi":
        _check_parts(grader)
        parts = {
            each.name: build(each, settings, fresh=fresh, timeout_s=timeout_s)
            for each in grader.multi.graders
        }
        return multi(grader.name, parts, grader.multi.calculate_output)
    raise InvalidArgument(
        f"Grader '{grader.name}' has no kind. Set one.",
        reason="UNSUPPORTED_GRADER",
        grader=grader.name,
    )


def _check_parts(grader: Grader) -> None:
    names = [each.name for each in grader.multi.graders]
    if not names or len(set(names)) < len(names):
        raise InvalidArgument(
            f"Grader '{grader.name}' combines {', '.join(names) or 'nothing'}. Give it graders "
            "with a name of its own each.",
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


def _no_answer_tells(name: str, sample: Sample) -> float:
    """Refuse a sample: what a model holds of a pair is no property of an answer."""
    raise Ungradable(
        Fault.OTHER,
        f"Grader '{name}' compares the answers of a pair by the model's own probabilities, which "
        "only the evaluation of a run has. Use another kind here.",
    )


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
