"""The whole plan as a person wants to read it before saying yes."""

from __future__ import annotations

from collections.abc import Iterable

from attune.spec.v1 import grader_pb2, spec_pb2, stage_pb2

from cli.resource_names import short
from cli.views.compute import show_compute
from cli.views.figures import moment, words
from cli.views.screen import Screen
from cli.views.spec_rows import Row, choices_by_path, rows_of

HEADERS = ("", "value", "chosen by", "why")


def show_spec(screen: Screen, spec: spec_pb2.Spec) -> None:
    """Write every block of a plan: its values, who chose them, and why."""
    choices = choices_by_path(spec)

    def rows(block: str, skip: Iterable[str] = ()) -> list[Row]:
        return rows_of(getattr(spec, block), block, choices, frozenset(skip))

    _show_title(screen, spec)
    _show_verdict(screen, spec.verdict)
    _show_rows(screen, "Objective", rows("objective"))
    _show_rows(screen, "Base model", rows("base_model"))
    _show_rows(screen, "Data", rows("data", ("guidelines", "preparation_steps")))
    _show_list(screen, "prepared by", spec.data.preparation_steps)
    _show_list(screen, "advice to whoever writes more rows", spec.data.guidelines.dos)
    for index, stage in enumerate(spec.stages):
        _show_stage(screen, spec, index, stage)
    _show_rows(screen, "Evaluation", rows("evaluation", ("graders",)))
    for grader in spec.evaluation.graders:
        screen.say(f"  grader {grader_line(grader)}")
    if spec.HasField("limits"):
        _show_rows(screen, "Limits", rows("limits"))
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


def _show_stage(screen: Screen, spec: spec_pb2.Spec, index: int, stage: stage_pb2.Stage) -> None:
    choices, path = choices_by_path(spec), f"stages.{index}"
    skip = frozenset(("hyperparameters", "rejected_alternatives"))
    heading = f"Stage {index + 1} of {len(spec.stages)}"
    _show_rows(screen, heading, rows_of(stage, path, choices, skip))
    for rejected in stage.rejected_alternatives:
        screen.say(f"  not {rejected.title}: {rejected.reason}")
    rows = rows_of(stage.hyperparameters, f"{path}.hyperparameters", choices)
    _show_rows(screen, "Hyperparameters", rows)


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
