"""Tuned against base in figures: the deciding one, every grader, every kind of row. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from attune.spec.v1.evaluation_pb2 import (
    ConfusionMatrix,
    EvaluationReport,
    GraderScore,
    ScoreInterval,
    SliceScore,
)

from services.common.errors import ServiceError
from services.trainer.evaluation import bootstrap, mcnemar
from services.trainer.evaluation.baseline import BASE, FEW_SHOT
from services.trainer.evaluation.bootstrap import Figure, Resampling
from services.trainer.evaluation.grades import Graded, Scored, paired
from services.trainer.evaluation.labels import (
    MATRIX_LABELS_MAX,
    are_labels,
    confusion,
    labelling,
    macro_f1_difference,
    macro_f1_figure,
    tells_apart,
)
from services.trainer.evaluation.slices import slices
from services.trainer.grading.sample import Grade

TUNED = "tuned"


def to_proto(figure: Figure) -> ScoreInterval:
    """Return a figure as reports have it."""
    return ScoreInterval(value=figure.value, low=figure.low, high=figure.high)


def deciding_figures(
    grade: Grade,
    name: str,
    scored: Mapping[str, Scored],
    how: Resampling,
    *,
    by_label: bool,
) -> dict[str, Figure]:
    """Return the deciding score of each, and under `difference` that of tuned less base.

    Args:
        grade: The deciding grader.
        name: Its name.
        scored: By BASE, FEW_SHOT, MAJORITY and TUNED; each with an answer that was graded, unless
            the grader looks at none.
        how: The bootstrap.
        by_label: Whether macro-F1 decides, and not the mean.

    Raises:
        ServiceError: If no row has a score for both; another attempt may find the grader well.
    """
    positions, before, after = paired(scored[BASE].graded[name], scored[TUNED].graded[name])
    if not positions:
        raise ServiceError(
            f"No row has a score by '{name}' for both models. See to the grader.",
            reason="GRADER_FAILED",
        )
    # Rows that only one has a score for belong to no pair; the difference is that of the pairs.
    if by_label:
        figures = {
            who: macro_f1_figure(labelling(grade, *one.known(name)), how)
            for who, one in scored.items()
        }
        pairs = [labelling(grade, *scored[who].at(positions)) for who in (BASE, TUNED)]
        figures["difference"] = macro_f1_difference(pairs[0], pairs[1], how)
        return figures
    figures = {
        who: bootstrap.mean(one.graded[name].known, how)
        for who, one in scored.items()
        if name in one.graded
    }
    figures["difference"] = bootstrap.difference(before, after, how)
    return figures


def grader_scores(scored: Mapping[str, Scored], how: Resampling) -> list[GraderScore]:
    """Return what every grader found, in their order."""
    return [
        _grader_score(
            name, {who: one.graded[name] for who, one in scored.items() if name in one.graded}, how
        )
        for name in scored[TUNED].graded
    ]


def _grader_score(name: str, graded: Mapping[str, Graded], how: Resampling) -> GraderScore:
    told = [graded[who] for who in (BASE, FEW_SHOT, TUNED) if who in graded]
    found = GraderScore(
        grader=name,
        ungraded_count=sum(one.ungraded_count for one in told),
        first_error=next((one.first_error for one in told if one.first_error), ""),
    )
    for who, message in ((BASE, found.base), (FEW_SHOT, found.few_shot), (TUNED, found.tuned)):
        if who in graded and graded[who].known:
            message.CopyFrom(to_proto(bootstrap.mean(graded[who].known, how)))
    _, before, after = paired(graded[BASE], graded[TUNED])
    found.paired_row_count = len(before)
    if not before:
        return found
    found.difference.CopyFrom(to_proto(bootstrap.difference(before, after, how)))
    if mcnemar.is_binary(before, after):
        changes = mcnemar.changes(before, after)
        found.lost_count, found.gained_count = changes.lost_count, changes.gained_count
        found.p_value = changes.p_value
    return found


def slice_scores(base: Scored, tuned: Scored, name: str, how: Resampling) -> list[SliceScore]:
    """Return the comparison by kind of row, by one grader."""
    positions, before, after = paired(base.graded[name], tuned.graded[name])
    rows = [base.rows[index] for index in positions]
    return [
        SliceScore(
            dimension=one.dimension,
            value=one.value,
            row_count=one.row_count,
            base_score=one.base_score,
            tuned_score=one.tuned_score,
            difference=to_proto(one.difference),
        )
        for one in slices(rows, before, after, how)
    ]


def add_confusion(report: EvaluationReport, grade: Grade, tuned: Scored) -> None:
    """Add who was taken for whom, if references are a few labels that the grader tells apart."""
    references = [row.reference for row in tuned.rows]
    labels = list(dict.fromkeys(references))
    if not are_labels(references) or len(labels) > MATRIX_LABELS_MAX:
        return
    if not tells_apart(grade, labels):
        return
    found = labelling(grade, tuned.rows, tuned.answers)
    matrix = ConfusionMatrix(labels=found.labels)
    matrix.counts.extend(count for row in confusion(found) for count in row)
    report.confusion.CopyFrom(matrix)
