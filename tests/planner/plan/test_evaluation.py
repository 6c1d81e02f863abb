"""How a result is judged: criteria, targets, baselines, and what the hold-out can tell."""

from dataclasses import replace

import pytest
from attune.spec.v1 import spec_pb2

from services.planner.plan.evaluation import default_target
from services.planner.plan.judged import judge_notes, judged_fields
from services.planner.spec.facts import set_data
from services.planner.spec.rules import violations
from tests.planner.plans import a_brief, a_spec, choice_of, facts, plan, sources

MACRO = spec_pb2.SuccessCriterion.AGGREGATE_MACRO_F1


def test_json_answers_are_compared_field_by_field():
    spec = a_spec()
    (made,) = spec.evaluation.graders
    assert (made.name, made.json_schema.reference) == ("exact_json", "{{item.reference}}")
    assert spec.objective.success_criteria[0].metric == "exact_json"


def test_labels_are_decided_by_the_share_of_right_ones_and_told_by_macro_f1_too():
    spec = plan(a_brief(), sources(facts(json_answer_share=0)), grader_kinds=("macro_f1",))
    (made,) = spec.evaluation.graders
    first, second = spec.objective.success_criteria
    check = made.string_check
    assert (check.input, check.reference) == ("{{sample.output_text}}", "{{item.reference}}")
    assert (first.metric, first.target, first.aggregate) == ("exact_match", 0.85, 0)
    assert (second.metric, second.aggregate) == ("exact_match", MACRO)
    assert not second.HasField("target")


def test_every_kind_asked_for_has_a_grader_and_a_criterion():
    kinds = ("win_rate", "score_model", "rouge_l")
    spec = plan(a_brief(task="summarization"), grader_kinds=kinds)
    assert tuple(each.name for each in spec.evaluation.graders) == kinds
    assert tuple(each.metric for each in spec.objective.success_criteria) == kinds
    judges = [each.field_path for each in spec.choices if each.field_path.endswith(".model")]
    assert judges == [
        "evaluation.graders.0.win_rate.model",
        "evaluation.graders.1.score_model.model",
    ]


def without_judge(format: str, has_judge: bool | None = False, **said):
    used = replace(sources(facts(format=format, json_answer_share=0.0)), has_judge=has_judge)
    return plan(a_brief(**said), used)


def metrics(spec: spec_pb2.Spec) -> list[str]:
    return [each.metric for each in spec.objective.success_criteria]


def test_pairs_are_decided_by_themselves_where_there_is_no_judge():
    spec = without_judge("preference", task="dialogue", target=None, target_delegated=True)
    assert metrics(spec) == ["preference_accuracy", "text_similarity"]
    assert spec.evaluation.graders[0].HasField("preference")
    assert spec.objective.success_criteria[0].target == 0.6
    assert "no judge" in choice_of(spec, "evaluation.graders").reason
    assert violations(spec) == []
    assert judged_fields(spec) == {}


@pytest.mark.parametrize("has_judge", [True, None])
def test_a_judge_decides_pairs_where_there_may_be_one(has_judge):
    spec = without_judge("preference", has_judge, task="dialogue")
    assert metrics(spec) == ["win_rate", "score_model"]


def test_references_decide_where_there_is_no_judge():
    assert metrics(without_judge("chat", task="summarization")) == ["rouge_l", "text_similarity"]


def test_a_judge_that_was_asked_for_stays_though_there_is_none():
    spec = without_judge("preference", task="dialogue", grader_kinds=("win_rate",))
    assert metrics(spec)[:2] == ["win_rate", "preference_accuracy"]
    assert list(judged_fields(spec)) == ["evaluation.graders.0"]


def test_where_only_a_judge_can_tell_the_plan_keeps_it_and_the_finding_tells():
    spec = without_judge("prompts_only", task="dialogue", technique="RLAIF")
    assert metrics(spec) == ["score_model", "win_rate"]
    assert judge_notes(spec, has_judge=False)


def test_a_judge_that_was_named_is_the_persons():
    spec = plan(a_brief(judge_model="org/judge"), grader_kinds=("score_model",))
    choice = choice_of(spec, "evaluation.graders.0.score_model.model")
    assert choice.source == spec_pb2.Choice.SOURCE_USER
    assert spec.evaluation.graders[0].score_model.model == "org/judge"


@pytest.mark.parametrize(
    ("kind", "base_success", "target"),
    [
        ("exact_match", None, 0.8),
        ("exact_match", 0.5, 0.8),
        ("exact_match", 0.75, 0.85),
        ("exact_match", 0.95, 0.98),
        ("win_rate", 0.9, 0.6),
        ("rouge_l", None, 0.6),
        ("preference_accuracy", 0.9, 0.6),
    ],
)
def test_a_target_left_open_asks_for_a_gain(kind, base_success, target):
    assert default_target(kind, base_success)[0] == target


def test_a_target_left_open_is_the_planners_and_says_so():
    choice = choice_of(
        a_spec(target=None, target_delegated=True), "objective.success_criteria.0.target"
    )
    assert (choice.source, choice.recommended) == (spec_pb2.Choice.SOURCE_AGENT, "0.8")


@pytest.mark.parametrize(("rows", "step"), [(0, 0), (50, 0.1386), (200, 0.0693), (500, 0.0438)])
def test_the_hold_out_tells_differences_down_to_a_size(rows, step):
    spec = a_spec()
    set_data(spec, facts(), facts("b2", row_count=rows))
    assert spec.data.minimum_detectable_difference == step


def test_the_decision_rule_and_the_interval_are_in_the_reasons():
    reason = choice_of(a_spec(), "evaluation.confidence").reason
    assert "150 unseen rows" in reason
    assert "8.0%" in reason


def test_unknown_answers_get_room_and_a_general_text_is_watched():
    spec = plan(a_brief(data_row_count=500), sources(described=True))
    assert spec.evaluation.max_answer_tokens == 512
    assert len(spec.evaluation.general_ability_check) > 100
