"""By which grader, and by which aggregate of it, a run is judged."""

from __future__ import annotations

from attune.spec.v1.grader_pb2 import Grader
from attune.spec.v1.spec_pb2 import SuccessCriterion

from services.trainer.run import RunFailed
from services.trainer.runtime.run_context import RunContext


def deciding_grader(context: RunContext) -> Grader:
    """Return the grader that the first success criterion names.

    Raises:
        RunFailed: If there is none of that name.
    """
    metric = context.spec.objective.success_criteria[0].metric
    for one in context.spec.evaluation.graders:
        if one.name == metric:
            return one
    raise RunFailed("NO_DECIDING_GRADER", f"No grader of the spec is called '{metric}'.")


def decides_by_label(context: RunContext) -> bool:
    """Tell whether the first success criterion decides by macro-F1 and not by a mean."""
    first = context.spec.objective.success_criteria[0]
    return first.aggregate == SuccessCriterion.AGGREGATE_MACRO_F1
