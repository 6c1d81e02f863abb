"""EVALUATE: the tuned model against its base, judged and written down."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attune.spec.v1.evaluation_pb2 import EvaluationReport, ScoredExample
from attune.spec.v1.spec_pb2 import SuccessCriterion
from google.protobuf.json_format import MessageToDict

from services.trainer.attempt import SAMPLES
from services.trainer.data.rows import spread
from services.trainer.evaluation import general_ability
from services.trainer.evaluation.answers import Answers, plain_prompts
from services.trainer.evaluation.baseline import (
    BASE,
    FEW_SHOT,
    MAJORITY,
    PREVIOUS,
    scored_of,
    scored_rows,
    task_score,
)
from services.trainer.evaluation.bootstrap import Figure, Resampling
from services.trainer.evaluation.comparison import (
    TUNED,
    add_confusion,
    deciding_figures,
    grader_scores,
    slice_scores,
    to_proto,
)
from services.trainer.evaluation.criteria import MACRO_F1, MEAN, criterion_scores
from services.trainer.evaluation.deciding import decides_by_label, deciding_grader
from services.trainer.evaluation.general_ability import Ability
from services.trainer.evaluation.grades import Scored, builders, paired, score_rows
from services.trainer.evaluation.leakage import Leakage
from services.trainer.evaluation.mcnemar import changed_count
from services.trainer.evaluation.overfit import ROWS_MAX, Overfit, overfit
from services.trainer.evaluation.page_files import write_page
from services.trainer.evaluation.preferences import preference_after, with_preferences
from services.trainer.evaluation.previous import compare_with_previous
from services.trainer.evaluation.regressions import most_changed
from services.trainer.evaluation.text_loss import say_text_loss, text_loss
from services.trainer.evaluation.verdict import VERDICTS, Evidence, judge
from services.trainer.grading.build import JUDGED, kinds_of
from services.trainer.grading.sample import Grade
from services.trainer.runtime.crash_points import CrashPoint, reach
from services.trainer.runtime.lineage import lineage
from services.trainer.runtime.run_context import RunContext, refused

EXAMPLES_MAX = 20
"""Scored rows in a report."""
TEXT_CHARACTERS_MAX = 1000
"""Of a prompt or an answer in a report: reports travel in events, which are bounded."""


def evaluate(context: RunContext, adapter: Path, base: dict[str, Any]) -> dict[str, Any]:
    """Score the tuned model on the hold-out and compare it with its base.

    Args:
        context: The run.
        adapter: Folder of the chosen checkpoint.
        base: What `baseline` returned.

    Returns:
        The report as proto JSON, and where what it is about comes from.
    """
    rows, leaked = scored_rows(context)
    taught = [context.split.train[index] for index in spread(context.split.train, ROWS_MAX)]
    answers = Answers(context, adapter)
    total = len(rows) + len(taught)
    texts = answers.of(plain_prompts(context, rows), 0, total)
    reach(CrashPoint.EVALUATE_ANSWERED)
    taught_texts = answers.of(plain_prompts(context, taught), len(rows), total)
    graders = refused(lambda: builders(context.spec.evaluation.graders))
    deciding = deciding_grader(context).name
    scored = {who: scored_of(base, who, rows) for who in (BASE, FEW_SHOT, MAJORITY)}
    found = score_rows(graders, rows, texts, base["base_answers"])
    scored[TUNED] = with_preferences(context, found, answers.generator)
    task_score(context, graders, scored[TUNED])  # Refuses what not a single answer has a score in.
    by_heart = score_rows({deciding: graders[deciding]}, taught, taught_texts, taught_texts)
    by_heart = with_preferences(context, by_heart, answers.generator)
    how = _resampling(context)
    change = general_ability.compare(
        Ability.from_json(base["general_ability"]),
        general_ability.measure(context, answers.generator),
        how,
    )
    report = _report(context, graders, scored, how)
    _add_checks(
        report,
        change,
        leaked,
        overfit(
            by_heart.graded[deciding].known,
            scored[TUNED].graded[deciding].known,
            how,
            lower_is_better=_lower_is_better(context),
        ),
    )
    told = base["few_shot_example_count"] > 0 and report.HasField("few_shot_interval")
    _add_verdict(context, report, scored, change, few_shot=told)
    if context.base_adapter is not None:
        before = scored_of(base, PREVIOUS, rows)
        previous = compare_with_previous(context, graders[deciding], before, scored[TUNED], how)
        report.previous_stage.CopyFrom(previous)
    _add_rows(report, scored, lower_is_better=_lower_is_better(context))
    _write_samples(context, scored)
    for sentence in (*report.verdict_reasons, change.sentence, report.overfit.summary):
        if sentence:
            context.attempt.say(sentence)
    # A score of zero must be seen in the file, not taken for one that is missing.
    values = MessageToDict(
        report, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    say_text_loss(context, base, text_loss(context, answers.generator))
    made = lineage(context, datetime.now(UTC).isoformat())
    told = preference_after(context, answers.generator, base)
    write_page(context, report, made)
    return {"report": values, "lineage": made, **told}


def _resampling(context: RunContext) -> Resampling:
    settings = context.spec.evaluation
    return Resampling(settings.bootstrap_resample_count, settings.confidence, settings.seed)


def _report(
    context: RunContext,
    graders: dict[str, Grade],
    scored: dict[str, Scored],
    how: Resampling,
) -> EvaluationReport:
    deciding, by_label = deciding_grader(context).name, decides_by_label(context)
    figures = deciding_figures(graders[deciding], deciding, scored, how, by_label=by_label)
    difference = figures["difference"]
    report = EvaluationReport(
        grader=deciding,
        aggregate=MACRO_F1 if by_label else MEAN,
        confidence=how.confidence,
        holdout_row_count=len(scored[TUNED].rows),
        base_score=figures[BASE].value,
        tuned_score=figures[TUNED].value,
        difference=difference.value,
        interval_low=difference.low,
        interval_high=difference.high,
        base_interval=to_proto(figures[BASE]),
        tuned_interval=to_proto(figures[TUNED]),
    )
    if FEW_SHOT in figures and MAJORITY in figures:
        report.few_shot_score = figures[FEW_SHOT].value
        report.few_shot_interval.CopyFrom(to_proto(figures[FEW_SHOT]))
        report.majority_score = figures[MAJORITY].value
        report.majority_interval.CopyFrom(to_proto(figures[MAJORITY]))
    base, tuned = scored[BASE], scored[TUNED]
    report.criteria.extend(criterion_scores(context.spec, graders, base, tuned))
    report.graders.extend(grader_scores(scored, how))
    report.slices.extend(slice_scores(base, tuned, deciding, how))
    if not kinds_of(deciding_grader(context)) & set(JUDGED):
        # Every answer is graded beside every label: of a judge that would be calls by the thousand.
        add_confusion(report, graders[deciding], tuned)
    return report


def _add_checks(
    report: EvaluationReport,
    change: general_ability.Change,
    leaked: Leakage,
    by_heart: Overfit | None,
) -> None:
    ability = report.general_ability
    ability.question_count = len(change.before.right)
    ability.base_share = sum(change.before.right) / len(change.before.right)
    ability.tuned_share = sum(change.after.right) / len(change.after.right)
    ability.difference.CopyFrom(to_proto(change.suite))
    if change.before.text_loss is not None and change.after.text_loss is not None:
        ability.base_loss, ability.tuned_loss = change.before.text_loss, change.after.text_loss
    ability.is_lost, ability.summary = change.is_lost, change.sentence
    found = report.leakage
    found.equal_row_count, found.near_row_count = len(leaked.equal), len(leaked.near)
    found.excluded, found.summary = leaked.excluded, leaked.sentence
    if by_heart is not None:
        measure = report.overfit
        measure.training_row_count = by_heart.training_row_count
        measure.training_score = by_heart.training_score
        measure.gap.CopyFrom(to_proto(by_heart.gap))
        measure.is_overfit, measure.summary = by_heart.is_overfit, by_heart.sentence


def _add_verdict(
    context: RunContext,
    report: EvaluationReport,
    scored: dict[str, Scored],
    change: general_ability.Change,
    *,
    few_shot: bool,
) -> None:
    criterion = context.spec.objective.success_criteria[0]
    base, tuned = (scored[who].graded[report.grader] for who in (BASE, TUNED))
    positions, before, after = paired(base, tuned)
    pair_count = len(positions)
    leaked = report.leakage
    judgement, reasons = judge(
        Evidence(
            row_count=pair_count,
            ungraded_count=report.holdout_row_count - pair_count,
            changed_count=changed_count(before, after),
            base_score=report.base_score,
            tuned_score=report.tuned_score,
            difference=Figure(report.difference, report.interval_low, report.interval_high),
            confidence=report.confidence,
            lower_is_better=_lower_is_better(context),
            target=criterion.target if criterion.HasField("target") else None,
            few_shot_score=report.few_shot_score if few_shot else None,
            majority_score=report.majority_score if report.HasField("majority_interval") else None,
            leak_sentence=leaked.summary if leaked.equal_row_count and not leaked.excluded else "",
            lost_sentence=change.sentence if change.is_lost else "",
        )
    )
    report.verdict = VERDICTS[judgement]
    report.verdict_reasons.extend(reasons)


def _lower_is_better(context: RunContext) -> bool:
    first = context.spec.objective.success_criteria[0]
    return first.direction == SuccessCriterion.DIRECTION_LOWER_IS_BETTER


def _add_rows(
    report: EvaluationReport, scored: dict[str, Scored], *, lower_is_better: bool
) -> None:
    deciding = report.grader
    scores = [scored[who].graded[deciding].scores for who in (BASE, TUNED)]
    fallen, risen = most_changed(*scores)
    worse, better = (risen, fallen) if lower_is_better else (fallen, risen)
    shown = [
        index
        for index in spread(scored[TUNED].rows, EXAMPLES_MAX)
        if scores[0][index] is not None and scores[1][index] is not None
    ]
    for field, positions in (
        (report.examples, shown),
        (report.regressions, worse),
        (report.gains, better),
    ):
        field.extend(_example(scored, deciding, index) for index in positions)


def _example(scored: dict[str, Scored], deciding: str, index: int) -> ScoredExample:
    """Return a row that both models have a score for."""
    base, tuned = scored[BASE], scored[TUNED]
    return ScoredExample(
        prompt=_cut(base.rows[index].question),
        reference=_cut(base.rows[index].reference),
        base_answer=_cut(base.answers[index]),
        tuned_answer=_cut(tuned.answers[index]),
        base_score=base.graded[deciding].scores[index] or 0.0,
        tuned_score=tuned.graded[deciding].scores[index] or 0.0,
    )


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_CHARACTERS_MAX else text[: TEXT_CHARACTERS_MAX - 1] + "…"


def _write_samples(context: RunContext, scored: dict[str, Scored]) -> None:
    deciding = deciding_grader(context).name
    whos: Sequence[str] = (BASE, FEW_SHOT, TUNED)
    for index, row in enumerate(scored[TUNED].rows):
        sample: dict[str, Any] = {"prompt": row.question, "reference": row.reference}
        sample |= {f"{who}_answer": scored[who].answers[index] for who in whos}
        sample |= {
            f"{who}_score": scored[who].graded[deciding].scores[index]
            for who in whos
            if deciding in scored[who].graded
        }
        # The deciding grader's are those above.
        sample |= {
            f"{who}_score.{name}": one.scores[index]
            for who in whos
            for name, one in scored[who].graded.items()
            if name != deciding
        }
        context.attempt.append(SAMPLES, sample)
