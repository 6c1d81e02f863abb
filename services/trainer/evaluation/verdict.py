"""Better, worse or cannot tell, and why in sentences. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from attune.spec.v1.evaluation_pb2 import EvaluationReport

from services.trainer.evaluation.bootstrap import Figure
from services.trainer.evaluation.mcnemar import p_value

UNGRADED_SHARE_MAX = 0.1
"""Share of the rows that a verdict may do without: which answers a grader fails on is no chance."""


class Judgement(Enum):
    """The outcome of a comparison."""

    BETTER = "better"
    """The whole interval lies on the better side of zero, and nothing speaks against it."""
    WORSE = "worse"
    """The whole interval lies on the worse side of zero, and enough rows have changed."""
    CANNOT_TELL = "cannot tell"
    """The interval holds zero, or what was measured cannot carry another judgement."""


VERDICTS = {
    Judgement.BETTER: EvaluationReport.VERDICT_BETTER,
    Judgement.WORSE: EvaluationReport.VERDICT_WORSE,
    Judgement.CANNOT_TELL: EvaluationReport.VERDICT_CANNOT_TELL,
}
"""As reports have it."""


@dataclass(frozen=True)
class Evidence:
    """What a verdict is made from."""

    row_count: int
    """Rows that both models have scores for."""
    ungraded_count: int
    """Rows that one of them has none for."""
    changed_count: int
    """Rows whose two scores differ."""
    base_score: float
    tuned_score: float
    difference: Figure
    confidence: float
    """Of the interval, in (0, 1)."""
    lower_is_better: bool
    target: float | None
    few_shot_score: float | None
    """Of the base with examples in its prompt; None where that is not measured."""
    majority_score: float | None
    """Of the most frequent training answer, given to every row; None where that has no score."""
    leak_sentence: str
    """Why the hold-out is not unseen; empty when it is."""
    lost_sentence: str
    """How general ability was lost; empty when it was kept."""


def by_interval(difference: Figure, *, lower_is_better: bool) -> Judgement:
    """Return what the interval of tuned less base says alone."""
    low, high = difference.low, difference.high
    if lower_is_better:
        low, high = -high, -low
    if low > 0.0:
        return Judgement.BETTER
    return Judgement.WORSE if high < 0.0 else Judgement.CANNOT_TELL


def may_be_chance(changed_count: int, confidence: float) -> bool:
    """Return whether so few rows changed that a coin for each could fall the same way every time.

    Rows drawn again from one row are that row: of a handful the bootstrap's interval has no width,
    however little they show.
    """
    return p_value(changed_count, 0) > 1.0 - confidence


def judge(evidence: Evidence) -> tuple[Judgement, list[str]]:
    """Return the verdict and its reasons, the decisive one first.

    Too few rows, changed or graded, carry no judgement at all. What speaks against a gain takes
    BETTER back to CANNOT_TELL; nothing turns a loss into a gain.
    """
    found = by_interval(evidence.difference, lower_is_better=evidence.lower_is_better)
    few = [] if found is Judgement.CANNOT_TELL else _too_few_changed(evidence)
    told = Judgement.CANNOT_TELL if few else found
    few += _too_few_graded(evidence)
    against = _against(evidence)
    judgement = told
    if few or (against and told is Judgement.BETTER):
        judgement = Judgement.CANNOT_TELL
    return judgement, [_comparison(evidence, told), *few, *against, *_beside(evidence)]


def _too_few_changed(evidence: Evidence) -> list[str]:
    """Return why the changes are too few; nothing when they are not."""
    count = evidence.changed_count
    if not may_be_chance(count, evidence.confidence):
        return []
    return [
        f"Only {count} of {evidence.row_count:,} rows changed: as many throws of a coin fall the "
        f"same way with a chance of {p_value(count, 0):.0%}. More rows would tell."
    ]


def _too_few_graded(evidence: Evidence) -> list[str]:
    """Return why the graded rows are too few; nothing when they are not."""
    total = evidence.row_count + evidence.ungraded_count
    if evidence.ungraded_count <= UNGRADED_SHARE_MAX * total:
        return []
    return [
        f"{evidence.ungraded_count} of {total} rows could not be graded, more than the "
        f"{UNGRADED_SHARE_MAX:.0%} that a verdict can do without."
    ]


def _against(evidence: Evidence) -> list[str]:
    """Return what takes the trust from a gain."""
    found = []
    if evidence.leak_sentence:
        found.append(f"{evidence.leak_sentence} So this says little of unseen prompts.")
    if evidence.lost_sentence:
        found.append(f"General ability was lost. {evidence.lost_sentence}")
    return found


def _comparison(evidence: Evidence, judgement: Judgement) -> str:
    figure = evidence.difference
    told = {
        Judgement.BETTER: "more than chance explains",
        Judgement.WORSE: "a loss that chance does not explain",
        Judgement.CANNOT_TELL: "which may be chance",
    }[judgement]
    return (
        f"On {evidence.row_count:,} held-out rows the tuned model scores "
        f"{evidence.tuned_score:.3f}, its base {evidence.base_score:.3f}: {figure.value:+.3f}, "
        f"with {100 * evidence.confidence:g} % confidence between {figure.low:+.3f} and "
        f"{figure.high:+.3f}, {told}."
    )


def _beside(evidence: Evidence) -> list[str]:
    """Return what a reader should know beside the comparison."""
    found, tuned = [], evidence.tuned_score
    sign = -1.0 if evidence.lower_is_better else 1.0
    if evidence.target is not None:
        met = sign * tuned >= sign * evidence.target
        found.append(
            f"The target of {evidence.target:.3f} is {'reached' if met else 'not reached'}."
        )
    few_shot = evidence.few_shot_score
    if few_shot is not None and sign * few_shot >= sign * tuned:
        found.append(
            f"The base with examples in its prompt scores {few_shot:.3f}: a prompt does as well."
        )
    majority = evidence.majority_score
    if majority is not None and sign * majority >= sign * tuned:
        found.append(
            f"Always giving the most frequent training answer scores {majority:.3f}, no less than "
            "the tuned model."
        )
    return found
