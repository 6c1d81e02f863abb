"""Better, worse or cannot tell, and why in sentences. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from services.trainer.evaluation.bootstrap import Figure

UNGRADED_SHARE_MAX = 0.1
"""Share of the rows that a verdict may do without: which answers a grader fails on is no chance."""


class Judgement(Enum):
    """The outcome of a comparison."""

    BETTER = "better"
    """The whole interval lies on the better side of zero, and nothing speaks against it."""
    WORSE = "worse"
    """The whole interval lies on the worse side of zero."""
    CANNOT_TELL = "cannot tell"
    """The interval holds zero, or what was measured cannot carry a better judgement."""


@dataclass(frozen=True)
class Evidence:
    """What a verdict is made from."""

    row_count: int
    """Rows that both models have scores for."""
    ungraded_count: int
    """Rows that one of them has none for."""
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


def judge(evidence: Evidence) -> tuple[Judgement, list[str]]:
    """Return the verdict and its reasons, the decisive one first.

    What speaks against a gain takes BETTER back to CANNOT_TELL; nothing turns a loss into a gain.
    """
    difference = evidence.difference
    judgement = by_interval(difference, lower_is_better=evidence.lower_is_better)
    against = _against(evidence)
    reasons = [_comparison(evidence, judgement)]
    if judgement is not Judgement.WORSE and against:
        judgement = Judgement.CANNOT_TELL
    return judgement, [*reasons, *against, *_beside(evidence)]


def _against(evidence: Evidence) -> list[str]:
    """Return what takes the trust from a gain."""
    found = []
    total = evidence.row_count + evidence.ungraded_count
    if evidence.ungraded_count > UNGRADED_SHARE_MAX * total:
        found.append(
            f"{evidence.ungraded_count} of {total} rows could not be graded, more than the "
            f"{UNGRADED_SHARE_MAX:.0%} that a verdict can do without."
        )
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
