"""Edits by path, what they refuse, and differences field by field."""

import pytest
from attune.spec.v1 import spec_pb2

from services.common.errors import InvalidArgument
from services.planner.spec.edit import PATHS_MAX, apply_edit, carry_over, diff
from services.planner.spec.path import resolve, text_at, write
from services.planner.spec.rules import violations
from tests.planner.plans import a_brief, a_spec, choice_of, plan

RANK = "stages.0.hyperparameters.lora.rank"


def edited(**values) -> spec_pb2.Spec:
    """Return a spec with other values; dots of paths are double underscores."""
    spec = a_spec()
    for path, value in values.items():
        write(spec, path.replace("__", "."), value)
    return spec


def test_a_named_field_is_taken_over_and_marked_as_a_persons():
    changed = apply_edit(a_spec(), edited(stages__0__hyperparameters__lora__rank=32), [RANK])
    choice = choice_of(changed, RANK)
    assert changed.stages[0].hyperparameters.lora.rank == 32
    assert (choice.source, choice.recommended) == (spec_pb2.Choice.SOURCE_USER, "16")


def test_fields_that_are_not_named_stay_as_they_are():
    other = edited(stages__0__hyperparameters__lora__rank=32, serving__alias="other")
    changed = apply_edit(a_spec(), other, [RANK])
    assert [change.field_path for change in diff(a_spec(), changed)] == [RANK]


@pytest.mark.parametrize("name", ["lora.rank_stabilized", "packing"])
def test_a_switch_that_no_recipe_turns_on_can_be_turned_on(name):
    path = f"stages.0.hyperparameters.{name}"
    changed = apply_edit(a_spec(), edited(**{path.replace(".", "__"): True}), [path])
    assert resolve(changed, path).value is True
    assert choice_of(changed, path).source == spec_pb2.Choice.SOURCE_USER
    assert violations(changed) == []
    later = a_spec()
    carry_over(changed, later, ())
    assert resolve(later, path).value is True


def test_an_edit_that_names_nothing_is_refused():
    with pytest.raises(InvalidArgument) as refused:
        apply_edit(a_spec(), edited(serving__alias="other"), [])
    assert refused.value.violations[0].field == "update_mask"


def test_naming_a_field_that_is_unset_clears_it():
    changed = apply_edit(a_spec(alias="mine"), edited(serving__alias=None), ["serving.alias"])
    assert changed.serving.alias == ""


def test_a_field_without_a_choice_gets_one():
    other = edited(objective__out_of_scope=["refunds"])
    changed = apply_edit(a_spec(), other, ["objective.out_of_scope"])
    assert choice_of(changed, "objective.out_of_scope").source == spec_pb2.Choice.SOURCE_USER


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("nonsense", "UNKNOWN_PATH"),
        ("", "UNKNOWN_PATH"),
        ("stages.0.hyperparameters.lora.rank.x", "UNKNOWN_PATH"),
        ("stages.hyperparameters", "POSITION"),
        ("stages.7.method", "POSITION"),
        ("stages.-1.method", "POSITION"),
        ("stages.\u0661.method", "POSITION"),
        ("objective." * 20 + "x", "UNKNOWN_PATH"),
        ("hash", "OUTPUT_ONLY"),
        ("state", "OUTPUT_ONLY"),
        ("approval.hash", "OUTPUT_ONLY"),
        ("base_model.licence", "OUTPUT_ONLY"),
        ("data.dataset_sha256", "OUTPUT_ONLY"),
        ("compute", "OUTPUT_ONLY"),
        ("choices", "OUTPUT_ONLY"),
        ("base_model", "OUTPUT_ONLY"),
        ("stages", "OUTPUT_ONLY"),
        ("stages.0", "OUTPUT_ONLY"),
    ],
)
def test_a_path_that_may_not_be_edited_is_refused(path, rule):
    with pytest.raises(InvalidArgument) as refused:
        apply_edit(a_spec(), a_spec(), [path])
    assert [each.rule for each in refused.value.violations] == [rule]


def test_every_bad_path_is_named_at_once():
    with pytest.raises(InvalidArgument) as refused:
        apply_edit(a_spec(), a_spec(), ["hash", RANK, "nonsense"])
    assert [each.field for each in refused.value.violations] == ["hash", "nonsense"]


def test_more_than_fifty_paths_are_refused():
    with pytest.raises(InvalidArgument):
        apply_edit(a_spec(), a_spec(), [RANK] * (PATHS_MAX + 1))


def test_a_difference_names_field_old_and_new_value_and_skips_what_is_no_decision():
    after = edited(stages__0__hyperparameters__lora__rank=32, display_name="other")
    assert [str(change) for change in diff(a_spec(), after)] == [f"{RANK}: 16 \u2192 32"]


def test_a_difference_tells_the_reason_of_the_new_value():
    after = a_spec(alias="router", overrides={"stages.0.hyperparameters.lora.dropout": 0.1})
    reasons = {change.field_path: change.reason for change in diff(a_spec(), after)}
    assert reasons["serving.alias"] == "You said: as I said"
    other = a_spec(overrides={RANK: 32})
    reasons = {change.field_path: change.reason for change in diff(a_spec(), other)}
    assert "relative to the rank" in reasons["stages.0.hyperparameters.lora.alpha"]
    waiting = plan(a_brief(), recommendation=2, reason="A prompt may do.")
    reasons = {change.field_path: change.reason for change in diff(a_spec(), waiting)}
    assert reasons["verdict.reason"] == "A prompt may do."


def test_technique_and_method_are_never_carried_over_an_adapter_that_was_edited_in_is():
    before = plan(a_brief(technique="SFT", method="LoRA"))
    proposed = plan(a_brief(), techniques=(2,), method=4)
    carry_over(before, proposed, set())
    assert (proposed.stages[0].technique, proposed.stages[0].method) == (2, 4)
    swapped = apply_edit(a_spec(), edited(stages__0__method=3), ["stages.0.method"])
    again = a_spec(alias="new")
    carry_over(swapped, again, {"serving.alias"})
    assert again.stages[0].method == 3


def test_what_the_new_plan_has_no_place_for_is_not_carried_over():
    judged = plan(a_brief(judge_model="org/judge"), grader_kinds=("score_model",))
    checked, full = plan(a_brief()), plan(a_brief(), method=4)
    kept = checked.evaluation.SerializeToString()
    carry_over(judged, checked, set())
    assert checked.evaluation.SerializeToString() == kept
    carry_over(a_spec(overrides={RANK: 8}), full, set())
    assert not full.stages[0].hyperparameters.HasField("lora")


def test_what_a_person_set_survives_a_new_proposal_unless_this_message_decides_it():
    before = apply_edit(a_spec(), edited(stages__0__hyperparameters__lora__rank=32), [RANK])
    proposed, decided = a_spec(alias="new"), a_spec(overrides={RANK: 8})
    carry_over(before, proposed, {"serving.alias"})
    carry_over(before, decided, {RANK})
    assert text_at(proposed, RANK) == "32"
    assert choice_of(proposed, RANK).source == spec_pb2.Choice.SOURCE_USER
    assert proposed.serving.alias == "new"
    assert text_at(decided, RANK) == "8"
