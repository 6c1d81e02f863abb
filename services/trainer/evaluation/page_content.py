"""What the page about an evaluation says, from its report and its lineage. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attune.spec.v1.evaluation_pb2 import EvaluationReport, ScoredExample, ScoreInterval
from attune.spec.v1.spec_pb2 import Spec, SuccessCriterion

from services.trainer.evaluation.chart import Bar, Line, bars, differences, lines
from services.trainer.evaluation.page import (
    Block,
    Chart,
    Example,
    Examples,
    Matrix,
    Page,
    Paragraph,
    Points,
    Section,
    Table,
)

EXAMPLE_CHARACTERS_MAX = 800
"""Of a text of an example; the samples have all of it."""
REWARD_CURVES = ("reward", "eval_reward", "kl", "rewards/margins", "rewards/accuracies")
"""Curves of preference and reinforcement learning, where there are any."""


@dataclass(frozen=True)
class Course:
    """How the training went."""

    curves: Mapping[str, Sequence[tuple[float, float]]]
    """Name to step and value, in the order of the steps."""
    chosen_step: int
    """Of the checkpoint that was evaluated."""
    seconds: Mapping[str, float]
    """Time of each phase that has ended, by its name in lower case."""
    cost_micro_usd: int
    """Expected cost of the stage in millionths of a US dollar; 0 when unknown."""


def content(
    spec: Spec, report: EvaluationReport, lineage: Mapping[str, Any], course: Course
) -> Page:
    """Return the page about one evaluation."""
    verdict = EvaluationReport.Verdict.Name(report.verdict).removeprefix("VERDICT_")
    sections = (
        Section("What was asked", list(_asked(spec, report))),
        Section("Scores on unseen rows", list(_scores(report))),
        Section("By kind of row", list(_slices(report, lower_is_better=lower_is_better(spec)))),
        Section("Which label was taken for which", list(_confusion(report))),
        Section("What got worse", list(_examples(report.regressions))),
        Section("What got better", list(_examples(report.gains))),
        Section("Checks", [Points(_checks(report))]),
        Section("How the training went", list(_curves(course))),
        Section("How it was made", list(_made(lineage, course))),
    )
    return Page(
        title=spec.display_name or spec.name.rsplit("/", 1)[-1] or "Evaluation",
        verdict=verdict.lower().replace("_", " "),
        lead=report.verdict_reasons[0] if report.verdict_reasons else "",
        sections=[section for section in sections if section.blocks],
    )


def lower_is_better(spec: Spec) -> bool:
    """Return whether the first success criterion wants its score low."""
    first = spec.objective.success_criteria[:1]
    return any(one.direction == SuccessCriterion.DIRECTION_LOWER_IS_BETTER for one in first)


def _asked(spec: Spec, report: EvaluationReport) -> Iterator[Block]:
    yield Paragraph(spec.objective.problem)
    if spec.objective.users:
        yield Paragraph(f"For: {spec.objective.users}")
    rows = [
        (
            one.title or one.metric,
            f"{one.metric}, {one.aggregate.replace('_', ' ')}",
            f"{one.target:.3f}" if one.HasField("target") else "none",
            f"{one.base_score:.3f}",
            f"{one.tuned_score:.3f}",
            ("yes" if one.met else "no") if one.HasField("target") else "",
        )
        for one in report.criteria
    ]
    if rows:
        yield Table(("criterion", "measured by", "target", "base", "tuned", "reached"), rows)


def _previous(report: EvaluationReport) -> Iterator[str]:
    """Yield how a later stage compares with the one before; nothing of a first stage."""
    if report.HasField("previous_stage"):
        before = report.previous_stage
        verdict = EvaluationReport.Verdict.Name(before.verdict).removeprefix("VERDICT_")
        yield (
            f"Beside the stage before, which scores {before.score:.3f}: "
            f"{verdict.lower().replace('_', ' ')}, by {before.difference:+.3f} "
            f"({before.interval_low:+.3f} to {before.interval_high:+.3f})."
        )


def _scores(report: EvaluationReport) -> Iterator[Block]:
    measured = {field.name for field, _ in report.ListFields()}
    found = [
        _bar(label, getattr(report, field), is_main=field == "tuned_interval")
        for label, field in (
            ("most frequent answer", "majority_interval"),
            ("base", "base_interval"),
            ("base with examples", "few_shot_interval"),
            ("tuned", "tuned_interval"),
        )
        if field in measured
    ]
    title = "Score of each on unseen rows, with interval"
    axis = f"{report.grader}, {report.aggregate.replace('_', ' ')}"
    yield Chart(title, bars(title, axis, found))
    rows = [(bar.label, f"{bar.value:.3f}", f"{bar.low:.3f} to {bar.high:.3f}") for bar in found]
    yield Table(("", "score", f"{100 * report.confidence:g} % interval"), rows)
    yield Points([*report.verdict_reasons, *_previous(report)])
    yield Table(
        ("grader", "rows", "base", "with examples", "tuned", "tuned less base", "p"),
        [
            (
                one.grader + (" (decides)" if one.grader == report.grader else ""),
                str(one.paired_row_count),
                _value(one, "base"),
                _value(one, "few_shot"),
                _value(one, "tuned"),
                _difference(one.difference) if one.HasField("difference") else "none graded",
                f"{one.p_value:.2g}" if one.HasField("p_value") else "",
            )
            for one in report.graders
        ],
    )
    for one in report.graders:
        if one.HasField("p_value"):
            yield Paragraph(
                f"{one.grader}: {one.gained_count} rows are right only with the tuned model, "
                f"{one.lost_count} only with the base (McNemar's exact test, "
                f"p = {one.p_value:.2g})."
            )
        if one.ungraded_count:
            yield Paragraph(
                f"{one.grader} could not grade {one.ungraded_count} answers, which count for "
                f"nothing. The first: {one.first_error}"
            )


def _slices(report: EvaluationReport, *, lower_is_better: bool) -> Iterator[Block]:
    if not report.slices:
        return
    found = [_bar(f"{one.dimension}: {one.value}", one.difference) for one in report.slices]
    title = "Tuned less base by kind of row, with interval"
    axis = f"{report.grader}, difference of means"
    yield Chart(title, differences(title, axis, found, lower_is_better=lower_is_better))
    yield Table(
        ("kind", "rows", "base", "tuned", "tuned less base"),
        [
            (
                f"{one.dimension}: {one.value}",
                str(one.row_count),
                f"{one.base_score:.3f}",
                f"{one.tuned_score:.3f}",
                _difference(one.difference),
            )
            for one in report.slices
        ],
    )
    yield Paragraph(
        "Each interval is that of one kind alone: of many kinds, some lie off by chance."
    )


def _confusion(report: EvaluationReport) -> Iterator[Block]:
    labels = list(report.confusion.labels)
    if labels:
        width, counts = len(labels) + 1, list(report.confusion.counts)
        yield Matrix(
            labels, [counts[index * width : (index + 1) * width] for index in range(len(labels))]
        )


def _examples(rows: Sequence[ScoredExample]) -> Iterator[Block]:
    if rows:
        yield Examples(
            [
                Example(
                    _cut(one.prompt),
                    _cut(one.reference),
                    _cut(one.base_answer),
                    _cut(one.tuned_answer),
                    one.base_score,
                    one.tuned_score,
                )
                for one in rows
            ]
        )


def _checks(report: EvaluationReport) -> list[str]:
    checked = report.leakage.summary or "No held-out prompt equals or nearly equals a training one."
    told = [f"General ability: {report.general_ability.summary}", f"Leakage: {checked}"]
    if report.HasField("overfit"):
        told.append(f"Learning by heart: {report.overfit.summary}")
    return told


def _curves(course: Course) -> Iterator[Block]:
    # Where answers are rewarded, the validation loss is the validation reward with a minus.
    is_rewarded = bool(course.curves.get("eval_reward"))
    chooser, chosen_by = ("eval_reward", "reward") if is_rewarded else ("eval_loss", "loss")
    losses = [
        Line(label, course.curves[name], is_main=name == chooser)
        for name, label in (("loss", "training loss"), ("eval_loss", "validation loss"))
        if course.curves.get(name) and not (is_rewarded and name == "eval_loss")
    ]
    mark = f"chosen: step {course.chosen_step}"
    if losses:
        yield _curve_chart("Loss by step", losses, course, mark)
    for name in REWARD_CURVES:
        if course.curves.get(name):
            one = Line(name, course.curves[name], is_main=True)
            yield _curve_chart(f"{name} by step", [one], course, mark)
    checks = course.curves.get(chooser, ())
    if checks:
        best = dict(checks).get(float(course.chosen_step))
        figure = "" if best is None else f", where the validation {chosen_by} was {best:.4g}"
        yield Paragraph(f"The checkpoint of step {course.chosen_step} was taken{figure}.")


def _curve_chart(title: str, found: Sequence[Line], course: Course, mark: str) -> Chart:
    return Chart(title, lines(title, found, course.chosen_step, mark))


def _made(lineage: Mapping[str, Any], course: Course) -> Iterator[Block]:
    base, data, hardware = lineage["base_model"], lineage["data"], lineage["hardware"]
    rows = [
        ("base model", f"{base['id']}, revision {base['revision']}"),
        ("licence of the base", base["licence"] or "not known"),
        ("trained by", f"{lineage['technique']}, {lineage['method']}"),
        ("training data", data["dataset_sha256"]),
        ("held-out data", data["holdout_sha256"] or f"split at random, seed {data['split_seed']}"),
        (
            "rows",
            f"{data['train_row_count']} taught, {data['validation_row_count']} to choose the "
            f"checkpoint, {data['holdout_row_count']} held out",
        ),
        ("plan", f"{lineage['spec']['sha256']}, revision {lineage['spec']['revision']}"),
        ("run", lineage["run"]),
        (
            "hardware",
            f"{hardware['device_count']} x {hardware['processor']}, {hardware['threads']} threads, "
            f"node {hardware['node']}",
        ),
        ("code", f"{lineage['code']['version']}, {lineage['code']['source_sha256'][:12]}"),
        ("libraries", ", ".join(f"{name} {text}" for name, text in lineage["libraries"].items())),
        ("attempts", str(len(lineage["attempts"]))),
        ("time", ", ".join(f"{key} {value:.1f} s" for key, value in course.seconds.items())),
    ]
    if course.cost_micro_usd:
        rows.append(("expected cost", f"${course.cost_micro_usd / 1e6:.2f}"))
    yield Table(("", ""), rows)
    yield Table(
        ("hyperparameter", "value"),
        [*_flat("", lineage["hyperparameters"]), *_flat("", lineage["parallel_plan"])],
    )


def _flat(prefix: str, values: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    for key, value in values.items():
        if isinstance(value, dict):
            found += _flat(f"{prefix}{key}.", value)
        elif isinstance(value, list):
            found.append((prefix + key, ", ".join(map(str, value))))
        else:
            found.append((prefix + key, str(value)))
    return found


def _bar(label: str, interval: ScoreInterval, *, is_main: bool = False) -> Bar:
    return Bar(label, interval.value, interval.low, interval.high, is_main)


def _value(one: Any, name: str) -> str:
    return f"{getattr(one, name).value:.3f}" if one.HasField(name) else "none graded"


def _difference(one: ScoreInterval) -> str:
    return f"{one.value:+.3f} ({one.low:+.3f} to {one.high:+.3f})"


def _cut(text: str) -> str:
    if len(text) <= EXAMPLE_CHARACTERS_MAX:
        return text
    return text[: EXAMPLE_CHARACTERS_MAX - 1] + "…"
