"""Answers that are labels: which one each is taken for, F1 over them, and who is taken for whom.

Pure but for the grader, which says whether an answer is a label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.trainer.data.rows import Row
from services.trainer.evaluation.bootstrap import Figure, Resampling, Statistic, interval
from services.trainer.grading.sample import Grade, Graded, Sample

LABELS_MAX = 1000
"""References that every answer is compared with; of more, an answer is only compared with the one
that it equals to the letter."""
HOLDS = 0.5
"""Score from which on an answer counts as the label that it was compared with."""
MATRIX_LABELS_MAX = 12
"""Labels up to which a matrix can be read."""
ROWS_PER_LABEL_MIN = 2
"""Rows per label, on average, from which on references are labels and not texts."""
LABEL_CHARACTERS_MAX = 60
PRODUCTS_MAX = 20_000_000_000
"""Multiplications of one bootstrap of F1; of very many labels and rows fewer resamples are drawn,
though never fewer than 100."""
RESAMPLES_MIN = 100


@dataclass(frozen=True)
class Labelling:
    """The right label of each row and the one that its answer was taken for."""

    labels: Sequence[str]
    """All labels, in order of first appearance."""
    right: Sequence[str]
    """Of each row."""
    taken: Sequence[str | None]
    """Of each row; None for an answer that is no label."""


def labelling(grade: Grade, rows: Sequence[Row], answers: Sequence[str]) -> Labelling:
    """Return what each answer was taken for: the label that the grader finds it equal to.

    A grader that looks for a label within an answer may find several: one within another does not
    count, and an answer that names two is none.

    Args:
        grade: Tells whether an answer is a label; one that it cannot grade is none.
        rows: With right labels, at least one.
        answers: In the same order.
    """
    right = [row.reference for row in rows]
    labels = list(dict.fromkeys(right))
    known, taken = set(labels), dict[str, str | None]()
    for answer in dict.fromkeys(answers):
        near = labels if len(labels) <= LABELS_MAX else [answer] if answer in known else []
        taken[answer] = _named(answer, _held(near, grade(_beside(answer, near))))
    return Labelling(labels, right, [taken[answer] for answer in answers])


def tells_apart(grade: Grade, labels: Sequence[str]) -> bool:
    """Return whether a grader compares answers with labels, and not with something else.

    One that looks at the form of an answer says the same of it beside every label.

    Args:
        grade: Of any kind; it grades every label beside every label.
        labels: At least two.
    """
    for answer in labels:
        held = _held(labels, grade(_beside(answer, labels)))
        if answer not in held or len(held) == len(labels):
            return False
    return True


def _beside(answer: str, labels: Sequence[str]) -> list[Sample]:
    return [Sample(answer, {"reference": label}) for label in labels]


def _held(labels: Sequence[str], graded: Sequence[Graded]) -> list[str]:
    """Return the labels that an answer was found equal to."""
    return [
        label
        for label, one in zip(labels, graded, strict=True)
        if one.score is not None and one.score >= HOLDS
    ]


def _named(answer: str, held: Sequence[str]) -> str | None:
    if answer in held:
        return answer
    whole = [one for one in held if not any(one != other and one in other for other in held)]
    return whole[0] if len(whole) == 1 else None


def macro_f1(found: Labelling) -> float:
    """Return the mean over all labels of the F1 of each, in [0, 1].

    Every label counts the same, however rare.
    """
    (value,) = _macro_f1(found)(np.arange(len(found.right))[None, :])
    return float(value)


def macro_f1_figure(found: Labelling, how: Resampling) -> Figure:
    """Return macro-F1 with its interval; it is computed anew for every resample of the rows."""
    return interval(_macro_f1(found), len(found.right), _affordable(found, how))


def macro_f1_difference(base: Labelling, tuned: Labelling, how: Resampling) -> Figure:
    """Return macro-F1 of tuned less base with its interval; the rows are paired."""
    before, after = _macro_f1(base), _macro_f1(tuned)
    return interval(
        lambda drawn: after(drawn) - before(drawn), len(base.right), _affordable(base, how)
    )


def are_labels(references: Sequence[str]) -> bool:
    """Return whether references are a few short texts that repeat."""
    counts = Counter(references)
    return (
        2 <= len(counts) <= len(references) / ROWS_PER_LABEL_MIN
        and max(map(len, counts)) <= LABEL_CHARACTERS_MAX
        and min(map(len, counts)) > 0
    )


def _affordable(found: Labelling, how: Resampling) -> Resampling:
    one = len(found.right) * len(found.labels)
    count = min(how.resample_count, max(RESAMPLES_MIN, PRODUCTS_MAX // one))
    return Resampling(count, how.confidence, how.seed)


def _macro_f1(found: Labelling) -> Statistic:
    numbers = {label: index for index, label in enumerate(found.labels)}
    count = len(found.right)
    right, taken = np.zeros((count, len(numbers))), np.zeros((count, len(numbers)))
    for row, (label, answer) in enumerate(zip(found.right, found.taken, strict=True)):
        right[row, numbers[label]] = 1.0
        if answer is not None:
            taken[row, numbers[answer]] = 1.0
    hits, named = right * taken, right + taken  # [N, L]

    def statistic(drawn: np.ndarray) -> np.ndarray:
        # How often each row was drawn, [B, N]: sums over drawn rows are then products.
        flat = drawn + np.arange(len(drawn))[:, None] * count
        weights = np.bincount(flat.ravel(), minlength=drawn.size).reshape(-1, count).astype(float)
        below = weights @ named
        present = below > 0
        # A label that no drawn row has and no answer names says nothing about this resample.
        each = np.divide(2.0 * (weights @ hits), below, out=np.zeros_like(below), where=present)
        mean: np.ndarray = each.sum(axis=1) / present.sum(axis=1)
        return mean

    return statistic


def confusion(found: Labelling) -> list[list[int]]:
    """Return how often each right label, by row, was taken for each label, by column.

    The last column counts answers that are no label.
    """
    numbers = {label: index for index, label in enumerate(found.labels)}
    matrix = [[0] * (len(numbers) + 1) for _ in numbers]
    for label, answer in zip(found.right, found.taken, strict=True):
        column = len(numbers) if answer is None else numbers[answer]
        matrix[numbers[label]][column] += 1
    return matrix
