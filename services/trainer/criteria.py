"""What every success criterion of a spec came to; pure."""

from __future__ import annotations

from collections.abc import Sequence

from attune.spec.v1.evaluation_pb2 import CriterionScore
from attune.spec.v1.spec_pb2 import Spec, SuccessCriterion

from services.trainer.grading.build import build, scores
from services.trainer.grading.sample import Grade, Sample
from services.trainer.rows import Row

LABELS_MAX = 1000
"""References that every answer is compared with; of more, an answer is only compared with the one
that it equals to the letter."""
HOLDS = 0.5
"""Score from which on an answer counts as the label that it was compared with."""


def criterion_scores(
    spec: Spec,
    rows: Sequence[Row],
    base_answers: Sequence[str],
    tuned_answers: Sequence[str],
) -> list[CriterionScore]:
    """Return the score of each criterion, in their order.

    Args:
        spec: Every criterion names one of its graders.
        rows: Held out, at least one.
        base_answers: The base's, in the same order.
        tuned_answers: The tuned model's.

    Raises:
        InvalidArgument: If a grader is of a kind that this trainer does not have.
    """
    by_name = {each.name: each for each in spec.evaluation.graders}
    found = []
    for criterion in spec.objective.success_criteria:
        if criterion.metric not in by_name:
            continue
        grade = build(by_name[criterion.metric])
        by_label = criterion.aggregate == SuccessCriterion.AGGREGATE_MACRO_F1
        combine = macro_f1 if by_label else mean_score
        tuned = combine(grade, rows, tuned_answers)
        one = CriterionScore(
            title=criterion.title,
            metric=criterion.metric,
            aggregate="macro_f1" if by_label else "mean",
            base_score=combine(grade, rows, base_answers),
            tuned_score=tuned,
        )
        if criterion.HasField("target"):
            lower = criterion.direction == SuccessCriterion.DIRECTION_LOWER_IS_BETTER
            one.target = criterion.target
            one.met = tuned <= criterion.target if lower else tuned >= criterion.target
        found.append(one)
    return found


def mean_score(grade: Grade, rows: Sequence[Row], answers: Sequence[str]) -> float:
    """Return the mean score of the answers, in [0, 1]."""
    given = scores(grade, [row.sample(said) for row, said in zip(rows, answers, strict=True)])
    return sum(given) / len(given)


def macro_f1(grade: Grade, rows: Sequence[Row], answers: Sequence[str]) -> float:
    """Return the mean over all labels of the F1 of each, in [0, 1].

    Labels are the references. An answer is taken for the label that the grader finds it equal to,
    and for none when there is no such label; so every label counts the same, however rare.

    Args:
        grade: Tells whether an answer is a label.
        rows: With right labels, at least one.
        answers: In the same order.
    """
    references = [row.reference for row in rows]
    labels = list(dict.fromkeys(references))
    known, taken = set(labels), dict[str, str | None]()
    for answer in dict.fromkeys(answers):
        near = labels if len(labels) <= LABELS_MAX else [answer] if answer in known else []
        given = scores(grade, [Sample(answer, {"reference": label}) for label in near])
        holding = (label for label, score in zip(near, given, strict=True) if score >= HOLDS)
        taken[answer] = next(holding, None)
    predicted = [taken[answer] for answer in answers]
    total = 0.0
    for label in labels:
        hits = sum(p == label == r for p, r in zip(predicted, references, strict=True))
        total += 2 * hits / (predicted.count(label) + references.count(label))
    return total / len(labels)
