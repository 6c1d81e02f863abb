"""Complete plans, each value with its reason."""

import pytest
from attune.spec.v1 import spec_pb2, stage_pb2

from services.common.errors import InvalidArgument
from services.planner.plan.catalogue import CatalogueModel
from services.planner.plan.notes import plan_notes
from services.planner.plan.propose import propose
from services.planner.spec.hash import DECISION_BLOCKS
from services.planner.spec.path import resolve, text_at
from services.planner.spec.rules import violations
from tests.planner.plans import STARTER, a_brief, a_spec, choice_of, facts, sources

H = "stages.0.hyperparameters."
Verdict = spec_pb2.Verdict
Choice = spec_pb2.Choice


def test_every_block_is_filled_and_keeps_every_rule():
    spec = a_spec()
    for block in DECISION_BLOCKS:
        assert resolve(spec, block).is_set, block
    assert violations(spec) == []


def test_every_choice_leads_to_a_field_and_is_complete():
    spec = a_spec()
    paths = [choice.field_path for choice in spec.choices]
    assert len(paths) == len(set(paths))
    for choice in spec.choices:
        resolve(spec, choice.field_path)
        assert choice.source, choice.field_path
        assert choice.tier, choice.field_path
        assert choice.origin, choice.field_path
        assert choice.reason.endswith("."), choice.field_path


def test_every_hyperparameter_and_every_setting_of_the_evaluation_has_a_choice():
    spec = a_spec()
    paths = {choice.field_path for choice in spec.choices}
    tuned = spec.stages[0].hyperparameters
    decided = [H + field.name for field, _ in tuned.ListFields() if field.name != "lora"]
    decided += [H + "lora." + field.name for field, _ in tuned.lora.ListFields()]
    decided += ["evaluation." + field.name for field, _ in spec.evaluation.ListFields()]
    assert set(decided) <= paths
    left_out = ("dpo", "rl", "max_step_count")
    required = [field.name for field in tuned.DESCRIPTOR.fields if field.name not in left_out]
    assert all(resolve(tuned, name).is_set for name in required)


def test_what_is_recommended_is_what_stands_there_unless_a_person_decided():
    spec = a_spec()
    for choice in spec.choices:
        if choice.source != Choice.SOURCE_USER:
            assert choice.recommended == text_at(spec, choice.field_path), choice.field_path


def test_numbers_have_ranges_that_hold_them():
    spec = a_spec()
    ranged = [choice for choice in spec.choices if choice.HasField("minimum")]
    assert len(ranged) > 15
    for choice in ranged:
        place = resolve(spec, choice.field_path)
        assert not place.is_set or choice.minimum <= place.value <= choice.maximum


def test_a_wish_wins_over_the_recipe_and_both_are_told():
    spec = a_spec(overrides={H + "lora.rank": 8})
    choice = choice_of(spec, H + "lora.rank")
    assert spec.stages[0].hyperparameters.lora.rank == 8
    assert (choice.recommended, choice.source) == ("16", Choice.SOURCE_USER)
    assert "as I said" in choice.origin


def test_target_deadline_budget_and_alias_come_from_what_was_said():
    spec = a_spec(target=0.9, deadline_s=7200, cost_cap_micro_usd=5_000_000, alias="router")
    assert spec.objective.success_criteria[0].target == 0.9
    assert spec.limits.deadline.seconds == 7200
    assert spec.limits.cost_cap_micro_usd == 5_000_000
    assert spec.serving.alias == "router"
    assert choice_of(spec, "serving.alias").source == Choice.SOURCE_USER


def test_a_target_left_open_is_the_planners_and_says_so():
    choice = choice_of(
        a_spec(target=None, target_delegated=True), "objective.success_criteria.0.target"
    )
    assert (choice.source, choice.recommended) == (Choice.SOURCE_AGENT, "0.8")


def test_a_wish_out_of_range_is_refused_by_name():
    with pytest.raises(InvalidArgument) as refused:
        a_spec(overrides={H + "lora.rank": 5000, H + "learning_rate": 7.0})
    assert {each.field for each in refused.value.violations} == {
        H + "lora.rank",
        H + "learning_rate",
    }


def test_json_answers_get_a_json_grader_and_others_a_string_check():
    spec = a_spec()
    grader = spec.evaluation.graders[0]
    assert (grader.name, grader.json_schema.reference) == ("exact_json", "{{item.reference}}")
    assert spec.objective.success_criteria[0].metric == "exact_json"
    plain = propose(a_brief(), sources(facts(json_answer_share=0.99)))
    check = plain.evaluation.graders[0].string_check
    assert plain.evaluation.graders[0].name == "exact_match"
    assert (check.input, check.reference) == ("{{sample.output_text}}", "{{item.reference}}")
    assert plain.objective.success_criteria[0].metric == "exact_match"


def test_lengths_come_from_the_longest_row_of_both_datasets():
    held = facts("b2", max_token_count=300, max_answer_token_count=90)
    spec = propose(a_brief(), sources(holdout=held))
    assert spec.stages[0].hyperparameters.max_length == 320
    assert spec.evaluation.max_answer_tokens == 121
    assert spec.evaluation.few_shot_example_count == 2  # A third row of 300 would not fit.


def test_a_hold_out_that_was_named_is_used_as_it_is():
    data = a_spec().data
    assert data.split_method == spec_pb2.Data.SPLIT_METHOD_GIVEN
    assert (data.train_row_count, data.holdout_row_count) == (600, 150)
    assert not data.HasField("holdout_fraction")


def test_without_a_hold_out_a_seeded_share_is_held_out():
    data = propose(a_brief(), sources(facts(row_count=200))).data
    assert data.split_method == spec_pb2.Data.SPLIT_METHOD_RANDOM
    assert data.holdout_fraction == 0.25
    assert (data.train_row_count, data.holdout_row_count) == (150, 50)


def test_the_base_is_the_largest_at_hand_and_the_operator_may_narrow_it():
    larger = CatalogueModel("org/larger", "MIT", 2048, 9_000_000, "test", "cd" * 32)
    assert propose(a_brief(), sources(local=(STARTER, larger))).base_model.id == "org/larger"
    spec = propose(a_brief(), sources(local=(STARTER, larger), allowed=("attune/starter",)))
    choice = choice_of(spec, "base_model.id")
    assert spec.base_model.id == "attune/starter"
    assert (choice.source, list(choice.allowed_values)) == (
        Choice.SOURCE_OPERATOR,
        ["attune/starter"],
    )


def test_a_plan_may_name_a_model_that_is_not_at_hand():
    spec = propose(a_brief(base_model="Qwen/Qwen3-4B"), sources())
    assert (spec.base_model.revision, spec.base_model.parameter_count) == ("", 4_022_468_096)
    assert spec.stages[0].hyperparameters.learning_rate == 2e-4
    assert spec.stages[0].hyperparameters.epoch_count == 3


def test_a_model_outside_the_narrowed_catalogue_is_refused():
    with pytest.raises(InvalidArgument):
        propose(a_brief(base_model="Qwen/Qwen3-4B"), sources(allowed=("attune/starter",)))


def test_what_was_rejected_is_told_with_reasons():
    stage = a_spec().stages[0]
    titles = {each.title for each in stage.rejected_alternatives}
    assert {"DPO", "RLVR", "RLAIF", "full fine-tuning", "QLoRA"} <= titles
    assert all(each.reason for each in stage.rejected_alternatives)
    assert (stage.technique, stage.method) == (stage_pb2.TECHNIQUE_SFT, stage_pb2.METHOD_LORA)


@pytest.mark.parametrize(
    ("brief", "dataset", "holdout_rows", "recommendation", "rule"),
    [
        (a_brief(), facts(), 150, Verdict.RECOMMENDATION_FINE_TUNE, "D6"),
        (a_brief(), facts(row_count=49), 150, Verdict.RECOMMENDATION_COLLECT_DATA, "D14"),
        (a_brief(), facts(), 5, Verdict.RECOMMENDATION_COLLECT_DATA, "D1"),
        (
            a_brief(),
            facts(distinct_answer_count=1),
            150,
            Verdict.RECOMMENDATION_COLLECT_DATA,
            "D14",
        ),
        (
            a_brief(),
            facts(holdout_overlap_count=100),
            150,
            Verdict.RECOMMENDATION_COLLECT_DATA,
            "D1",
        ),
        (
            a_brief(problem="Answer with the latest prices of our shop."),
            facts(),
            150,
            Verdict.RECOMMENDATION_RETRIEVE,
            "D3",
        ),
        (
            a_brief(problem="A one-off prototype that sorts mail."),
            facts(),
            150,
            Verdict.RECOMMENDATION_PROMPT_FIRST,
            "D4",
        ),
    ],
)
def test_the_verdict_follows_the_decision_rules(brief, dataset, holdout_rows, recommendation, rule):
    spec = propose(brief, sources(dataset, facts("b2", row_count=holdout_rows)))
    assert spec.verdict.recommendation == recommendation
    assert rule in spec.verdict.rules
    assert spec.verdict.reason


def test_notes_name_wishes_that_were_not_followed_and_flaws_of_the_data():
    flawed = facts(duplicate_row_count=3, holdout_overlap_count=2, json_answer_share=0.7)
    notes = " ".join(plan_notes(a_brief(technique="DPO", output_kind="json"), sources(flawed)))
    for part in ("DPO", "70%", "2 rows also stand", "3 rows repeat"):
        assert part in notes
    assert plan_notes(a_brief(technique="LoRA", output_kind="json"), sources()) == []


def test_the_same_brief_and_data_give_the_same_spec():
    assert a_spec() == a_spec()
    assert a_spec() != propose(a_brief(), sources(facts("c3")))
