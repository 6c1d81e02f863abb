"""A plan is shown whole."""

import io

from attune.spec.v1 import spec_pb2, stage_pb2
from rich.console import Console

from cli.views.screen import Screen
from cli.views.spec import grader_line, show_spec
from cli.views.spec_rows import choices_by_path, rows_of, text_of
from tests.cli.full_spec import decided_leaves, full_spec


def shown(spec, live: bool = False) -> str:
    screen, output = Screen(), io.StringIO()
    screen.live = live
    screen.console = Console(file=output, width=400, highlight=False, force_terminal=False)
    show_spec(screen, spec)
    return output.getvalue()


def test_every_block_is_shown():
    text = shown(full_spec())
    for title in (
        "Advice",
        "Objective",
        "Base model",
        "Data",
        "Stage 1 of 1",
        "Hyperparameters",
        "Evaluation",
        "Limits",
        "Compute",
        "Serving",
        "Maintenance",
        "Approved",
    ):
        assert f"\n{title}" in text


def test_every_leaf_shows_its_value_its_source_and_its_reason():
    spec = full_spec()
    lines = shown(spec).splitlines()
    for index, path in enumerate(sorted(decided_leaves(spec))):
        name = path.rsplit(".", 1)[1]
        fitting = [line for line in lines if f"origin-{index} " in line]
        assert len(fitting) == 1, path
        assert name in fitting[0], path
        assert value_at(spec, path) in fitting[0], path
        assert "recipe: " in fitting[0]
        assert f"Because of reason-{index}." in fitting[0]


def test_a_terminal_gets_the_same_facts():
    spec = full_spec()
    text = shown(spec, live=True)
    for choice in spec.choices:
        assert choice.reason in text


def test_compute_shows_memory_by_component_time_cost_and_what_was_rejected():
    spec = full_spec()
    stage = spec.compute.stages[0]
    stage.memory.components[0].size_bytes = 3 * 1024**3
    stage.memory.components.add(title="activations", size_bytes=1024**3)
    stage.cost_micro_usd = 1_230_000
    text = shown(spec)
    weights = next(line for line in text.splitlines() if "3.0 GiB" in line)
    activations = next(line for line in text.splitlines() if "activations" in line)
    assert weights.count("█") == 3 * activations.count("█") > 0
    assert "$1.23" in text
    assert stage.rejected_placements[0].reason in text
    assert spec.stages[0].rejected_alternatives[0].reason in text
    assert spec.compute.missing[0] in text


def test_a_value_that_differs_from_the_recommended_one_says_so():
    spec = full_spec()
    rate = "stages.0.hyperparameters.learning_rate"
    choice = choices_by_path(spec)[rate]
    choice.recommended = "0.0002"
    rows = rows_of(
        spec.stages[0].hyperparameters, "stages.0.hyperparameters", choices_by_path(spec)
    )
    assert next(row for row in rows if row.label == "learning_rate").reason.endswith(
        "Recommended: 0.0002."
    )
    spec.stages[0].hyperparameters.learning_rate = 2e-4
    rows = rows_of(
        spec.stages[0].hyperparameters, "stages.0.hyperparameters", choices_by_path(spec)
    )
    assert "Recommended" not in next(row for row in rows if row.label == "learning_rate").reason


def test_an_empty_plan_is_shown_without_a_fault():
    text = shown(spec_pb2.Spec())
    assert "none: this plan trains nothing" in text
    assert "Compute" not in text
    assert "not estimated yet" in shown(spec_pb2.Spec(stages=[stage_pb2.Stage()]))


def test_everything_beside_the_rows_is_shown():
    spec = full_spec()
    lines = shown(spec).splitlines()
    data, reward, notice = spec.data, spec.stages[0].reward, spec.notices[0]
    for words in (
        spec.verdict.instead[0],
        spec.verdict.would_change[0],
        data.guidelines.dos[0],
        data.guidelines.donts[0],
        data.guidelines.good_examples[0].prompt,
        data.guidelines.good_examples[0].reason,
        data.guidelines.bad_examples[0].answer,
        data.preparation_steps[0],
        spec.base_model.alternatives[0].title,
        spec.base_model.alternatives[0].reason,
        reward.graders[0].grader.name,
        reward.safeguards[0],
        reward.previews[0].answer,
        "provisional: these figures come from what was said",
        f"{notice.message} [{notice.field_path}] ({notice.code})",
    ):
        assert any(words in line for line in lines), words


def test_every_stage_is_shown():
    spec = full_spec()
    spec.stages.add().CopyFrom(spec.stages[0])
    text = shown(spec)
    assert "\nStage 1 of 2" in text
    assert "\nStage 2 of 2" in text


def test_markup_in_a_plan_is_text():
    spec = full_spec()
    spec.objective.problem = "[bold]loud[/bold] [/nothing]"
    assert "[bold]loud[/bold] [/nothing]" in shown(spec)
    assert "[bold]loud[/bold] [/nothing]" in shown(spec, live=True)


def test_a_grader_is_one_line_with_its_settings():
    grader = full_spec().evaluation.graders[0]
    line = grader_line(grader)
    assert line.startswith(f"{grader.name}: string check")
    assert grader.string_check.reference in line


def value_at(spec, path: str) -> str:
    """Return the value at a path as a person reads it."""
    here = spec
    *parents, last = path.split(".")
    for part in parents:
        here = here[int(part)] if part.isdecimal() else getattr(here, part)
    field = here.DESCRIPTOR.fields_by_name[last]
    return text_of(field, getattr(here, last))
