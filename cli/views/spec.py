"""The whole plan as a person wants to read it before saying yes."""

from __future__ import annotations

from collections.abc import Iterable

from attune.spec.v1 import grader_pb2, spec_pb2, stage_pb2

from cli.resource_names import short
from cli.views.changes import show_notices
from cli.views.compute import show_compute
from cli.views.figures import moment, words
from cli.views.screen import Screen
from cli.views.spec_rows import Row, choices_by_path, rows_of, source_of

HEADERS = ("", "value", "chosen by", "why")


def show_spec(screen: Screen, spec: spec_pb2.Spec) -> None:
    """Write every block of a plan: its values, who chose them, and why."""
    choices = choices_by_path(spec)

    def rows(block: str, skip: Iterable[str] = ()) -> list[Row]:
        return rows_of(getattr(spec, block), block, choices, frozenset(skip))

    _show_title(screen, spec)
    _show_verdict(screen, spec.verdict)
    if spec.notices:
        screen.heading("To know before you approve")
        show_notices(screen, spec.notices)
    _show_rows(screen, "Objective", rows("objective"))
    _show_rows(screen, "Base model", rows("base_model", ("alternatives",)))
    for other in spec.base_model.alternatives:
        screen.say(f"  or {other.title}: {other.reason}")
    _show_data(screen, spec.data, rows("data", ("guidelines", "preparation_steps", "provisional")))
    if not spec.stages:
        screen.heading("Stages")
        screen.say("  none: this plan trains nothing")
    for index, stage in enumerate(spec.stages):
        _show_stage(screen, spec, index, stage)
    _show_rows(screen, "Evaluation", rows("evaluation", ("graders",)))
    for grader in spec.evaluation.graders:
        screen.say(f"  grader {grader_line(grader)}")
    if spec.HasField("limits"):
        _show_rows(screen, "Limits", rows("limits"))
    if spec.stages or spec.HasField("compute"):
        show_compute(screen, spec.compute)
    _show_rows(screen, "Serving", rows("serving"))
    if spec.HasField("maintenance"):
        _show_rows(screen, "Maintenance", rows("maintenance"))
    if spec.HasField("approval"):
        approval = spec.approval
        screen.heading("Approved")
        screen.say(f"  revision {approval.revision} at {moment(approval.approve_time)}")
    screen.say()
    screen.say(f"Hash of exactly this plan: {spec.hash}")


def grader_line(grader: grader_pb2.Grader) -> str:
    """Return one line for a grader: its name, its kind and its settings."""
    kind = grader.WhichOneof("kind")
    if kind is None:
        return grader.name
    settings = rows_of(getattr(grader, kind), "", {})
    text = ", ".join(f"{row.label} {' '.join(row.value.split())}" for row in settings)
    return f"{grader.name}: {kind.replace('_', ' ')}" + (f" ({text})" if text else "")


def _show_title(screen: Screen, spec: spec_pb2.Spec) -> None:
    state = words(spec_pb2.Spec.State.Name(spec.state), "STATE_")
    screen.heading(spec.display_name or "Plan")
    facts = [short(spec.name), f"revision {spec.revision}", state]
    if spec.conversation:
        facts.append(f"from {short(spec.conversation)}")
    if updated := moment(spec.update_time):
        facts.append(updated)
    screen.say("  " + " · ".join(facts))


def _show_verdict(screen: Screen, verdict: spec_pb2.Verdict) -> None:
    name = spec_pb2.Verdict.Recommendation.Name(verdict.recommendation)
    screen.heading(f"Advice: {words(name, 'RECOMMENDATION_')}")
    rules = f" (rules {', '.join(verdict.rules)})" if verdict.rules else ""
    screen.say(f"  {verdict.reason}{rules}")
    _show_list(screen, "instead", verdict.instead)
    _show_list(screen, "what would change this advice", verdict.would_change)


def _show_data(screen: Screen, data: spec_pb2.Data, rows: list[Row]) -> None:
    _show_rows(screen, "Data", rows)
    if data.provisional:
        screen.say(
            "  provisional: these figures come from what was said; upload the rows to approve",
            "yellow",
        )
    _show_list(screen, "prepared by", data.preparation_steps)
    advice = data.guidelines
    _show_list(screen, "advice to whoever writes more rows", advice.dos)
    _show_list(screen, "what to avoid", advice.donts)
    for title, examples in (("good", advice.good_examples), ("bad", advice.bad_examples)):
        for example in examples:
            screen.say(f"  a {title} example: {example.prompt}")
            screen.say(f"    → {example.answer}" + (f" ({example.reason})" * bool(example.reason)))


def _show_stage(screen: Screen, spec: spec_pb2.Spec, index: int, stage: stage_pb2.Stage) -> None:
    choices, path = choices_by_path(spec), f"stages.{index}"
    skip = frozenset(("hyperparameters", "rejected_alternatives", "reward"))
    heading = f"Stage {index + 1} of {len(spec.stages)}"
    _show_rows(screen, heading, rows_of(stage, path, choices, skip))
    if stage.HasField("reward"):
        _show_reward(screen, stage.reward, f"{path}.reward", choices)
    for rejected in stage.rejected_alternatives:
        screen.say(f"  not {rejected.title}: {rejected.reason}")
    rows = rows_of(stage.hyperparameters, f"{path}.hyperparameters", choices)
    _show_rows(screen, "Hyperparameters", rows)


def _show_reward(
    screen: Screen, reward: stage_pb2.Reward, path: str, choices: dict[str, spec_pb2.Choice]
) -> None:
    screen.say("  reward:")
    for weighted in reward.graders:
        screen.say(f"    {weighted.weight:.6g} x {grader_line(weighted.grader)}")
    skip = frozenset(("graders", "safeguards", "previews"))
    for row in rows_of(reward, path, choices, skip):
        screen.say("    " + " ".join(cell for cell in row.cells() if cell))
    if (choice := choices.get(f"{path}.graders")) is not None:
        screen.say(f"    chosen by {source_of(choice)}. {choice.reason}")
    _show_list(screen, "safeguards", reward.safeguards)
    for preview in reward.previews:
        kind = words(stage_pb2.RewardPreview.Kind.Name(preview.kind), "KIND_")
        value = f"{preview.reward:.3g}" if preview.HasField("reward") else "asks a judge"
        screen.say(f"    a {kind} answer earns {value}: {' '.join(preview.answer.split())}")


def _show_rows(screen: Screen, title: str, rows: list[Row]) -> None:
    screen.heading(title)
    if not rows:
        screen.say("  nothing set")
        return
    cells = [(f"  {row.label}", *row.cells()[1:]) for row in rows]
    screen.table(HEADERS, cells)


def _show_list(screen: Screen, title: str, entries: Iterable[str]) -> None:
    entries = list(entries)
    if entries:
        screen.say(f"  {title}:")
    for entry in entries:
        screen.say(f"    - {entry}")
