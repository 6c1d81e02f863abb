"""From a spec's grader to the function that grades."""

from __future__ import annotations

from collections.abc import Sequence

from attune.spec.v1.grader_pb2 import Grader

from services.common.errors import InvalidArgument, ServiceError
from services.trainer.grading import declarative
from services.trainer.grading.sample import Grade, Graded, Sample


def build(grader: Grader) -> Grade:
    """Return the function that grades as the grader says.

    Raises:
        InvalidArgument: If this trainer does not have the kind, or a template or schema is wrong.
    """
    kind = grader.WhichOneof("kind")
    if kind == "string_check":
        score = declarative.string_check(grader.name, grader.string_check)
    elif kind == "json_schema":
        score = declarative.json_schema(grader.name, grader.json_schema)
    else:
        raise InvalidArgument(
            f"Grader '{grader.name}' is of kind {kind or 'nothing'}, which this trainer does not "
            "have. Use string_check or json_schema.",
            reason="UNSUPPORTED_GRADER",
            grader=grader.name,
            kind=kind or "",
        )
    return lambda samples: [Graded(score(sample)) for sample in samples]


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
