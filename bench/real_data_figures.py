"""Figures of a set of real data: from the report, and from what a stage of preferences found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.real_data_job import Trained
from services.trainer.attempt import Attempt
from services.trainer.evaluation.bootstrap import Figure, Resampling, mean
from services.trainer.evaluation.preferences import KEY
from services.trainer.evaluation.verdict import by_interval
from services.trainer.recipes.preference import PairLogprobs, preference_margins
from services.trainer.run import Phase

HOW = Resampling(resample_count=10_000, confidence=0.95, seed=0)
"""As the plans have it."""
CHANCE = 0.5
"""Share of pairs that a model prefers rightly by guessing."""


@dataclass(frozen=True)
class Measured:
    """One measure of one set, on unseen rows; shares in [0, 1]."""

    measure: str
    row_count: int
    base: float
    few_shot: float | None
    """None where there is no such prompt."""
    tuned: float
    difference: float
    """Tuned less base, paired by row."""
    interval: tuple[float, float]
    """Of the difference, 95 %."""
    verdict: str
    """The report's for what decides; for the others what their interval says alone."""


def measured(trained: Trained) -> list[Measured]:
    """Return all measures of a set, the deciding one first."""
    report, attempt = trained.report, Attempt(trained.folder)
    before = attempt.result(Phase.BASELINE) or {}
    is_shown = before.get("few_shot_example_count", 0) > 0
    found = [_by_grader(report, each, is_shown=is_shown) for each in report["graders"]]
    found.sort(key=lambda one: one.measure != report["grader"])
    return [*found, *_by_stage(report), *_by_preference(attempt)]


def _by_grader(report: dict[str, Any], each: dict[str, Any], *, is_shown: bool) -> Measured:
    change = _figure(each["difference"])
    decides = each["grader"] == report["grader"]
    return Measured(
        measure=each["grader"],
        row_count=int(each["paired_row_count"]),
        base=_figure(each["base"]).value,
        few_shot=_figure(each["few_shot"]).value if is_shown and "few_shot" in each else None,
        tuned=_figure(each["tuned"]).value,
        difference=change.value,
        interval=(change.low, change.high),
        verdict=_words(report["verdict"]) if decides else _verdict(change),
    )


def _by_stage(report: dict[str, Any]) -> list[Measured]:
    """Return what the last stage changed beside the one before it; nothing for a single stage."""
    before = report.get("previous_stage")
    if not before:
        return []
    score, change = before.get("score", 0.0), before.get("difference", 0.0)
    return [
        Measured(
            measure=f"{report['grader']}, last stage alone",
            row_count=int(report["holdout_row_count"]),
            base=score,
            few_shot=None,
            tuned=score + change,
            difference=change,
            interval=(before.get("interval_low", 0.0), before.get("interval_high", 0.0)),
            verdict=_words(before["verdict"]),
        )
    ]


def _by_preference(attempt: Attempt) -> list[Measured]:
    """Return how unseen pairs are told apart; nothing where no preferences were learnt."""
    before, after = (
        (attempt.result(phase) or {}).get(KEY) for phase in (Phase.BASELINE, Phase.EVALUATE)
    )
    if before is None or after is None:
        return []
    base, tuned = (PairLogprobs(each["chosen"], each["rejected"]) for each in (before, after))
    gained = [float(margin > 0) for margin in preference_margins(tuned, base)]
    change = mean([win - CHANCE for win in gained], HOW)
    return [
        Measured(
            measure="preferred by implicit reward",
            row_count=len(gained),
            base=CHANCE,
            few_shot=None,
            tuned=sum(gained) / len(gained),
            difference=change.value,
            interval=(change.low, change.high),
            verdict=_verdict(change),
        )
    ]


def _verdict(change: Figure) -> str:
    return by_interval(change, lower_is_better=False).value


def _words(verdict: str) -> str:
    return verdict.removeprefix("VERDICT_").lower().replace("_", " ")


def _figure(values: dict[str, float]) -> Figure:
    """Return a figure of the report, whose JSON leaves zeros out."""
    return Figure(*(values.get(name, 0.0) for name in ("value", "low", "high")))
