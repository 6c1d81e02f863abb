"""Rewards: graders, weights, safeguards, and what they give to answers made to collect reward."""

import json
import math

import pytest
from attune.spec.v1 import grader_pb2, spec_pb2, stage_pb2

from services.planner.brief import Criterion
from services.planner.dataset.preview import sample_rows
from services.planner.dataset.rows import view_of
from services.planner.dataset.shapes import choose_form
from services.planner.plan.declarative import score
from services.planner.plan.reward import FLATTERY, INSTRUCTION, previews, weights_of
from services.planner.plan.sample import Sample, samples_of
from services.planner.spec.rules import violations
from tests.planner.plans import a_brief, choice_of, facts, plan, sources

RLVR, RLAIF = stage_pb2.TECHNIQUE_RLVR, stage_pb2.TECHNIQUE_RLAIF
Kind = stage_pb2.RewardPreview
USER = spec_pb2.Choice.SOURCE_USER
ROWS = [json.dumps({"prompt": f"What is {n} + {n}?", "answer": f"{2 * n}"}) for n in (21, 30, 7)]
RUBRIC = (
    Criterion("accuracy", 0.6, "no wrong facts"),
    Criterion("clarity", 0.2),
    Criterion("curiosity", 0.2),
)


def reward_of(technique, kinds=(), from_=None, **brief) -> stage_pb2.Reward:
    spec = plan(a_brief(**brief), from_, techniques=(technique,), grader_kinds=kinds)
    assert violations(spec) == []
    return spec.stages[0].reward


def weights(reward: stage_pb2.Reward) -> dict[str, float]:
    return {each.grader.name: each.weight for each in reward.graders}


def test_each_criterion_of_a_rubric_is_one_judgement_with_its_own_text():
    spec = plan(a_brief(criteria=RUBRIC), techniques=(RLAIF,), grader_kinds=("score_model",))
    reward = spec.stages[0].reward
    assert weights(reward) == {"accuracy": 0.6, "clarity": 0.2, "curiosity": 0.2}
    first, second, _ = (each.grader.score_model.input[1].content for each in reward.graders)
    assert "accuracy: no wrong facts" in first
    assert "accuracy" not in second
    choice = choice_of(spec, "stages.0.reward.graders.0.weight")
    assert (choice.source, choice.recommended) == (USER, "0.3333")


def test_without_criteria_one_judge_follows_what_the_task_asks_for():
    reward = reward_of(RLAIF, ("score_model",), task="dialogue")
    assert weights(reward) == {"rubric": 1.0}
    assert "promises nothing untrue" in reward.graders[0].grader.score_model.input[1].content


def test_criteria_that_name_checks_by_code_become_them():
    parts = (Criterion("json_schema", 0.3), Criterion("numeric", 0.7, "total within 0.01"))
    reward = reward_of(RLVR, ("numeric", "json_schema"), criteria=parts)
    assert weights(reward) == {"json_schema": 0.3, "numeric": 0.7}
    assert reward.graders[1].grader.numeric.tolerance == 0.01


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (("math", "numeric", "exact_match"), {"math": 1.0}),
        (("tool_call", "exact_match"), {"tool_call": 1.0}),
        (("numeric", "json_schema"), {"numeric": 0.9, "json_schema": 0.1}),
        (("regex", "string_check"), {"regex": 0.3333, "string_check": 0.3333, "length": 0.3334}),
        ((), {"exact_match": 1.0}),
        (("macro_f1",), {"exact_match": 1.0}),
    ],
)
def test_what_code_can_check_is_rewarded_and_form_never_alone(kinds, expected):
    assert weights(reward_of(RLVR, kinds)) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None, None, None), (0.3333, 0.3333, 0.3334)),
        ((0.6, 0.2, 0.2), (0.6, 0.2, 0.2)),
        ((0.5, None, None), (0.5, 0.25, 0.25)),
        ((2, 1, 1), (0.5, 0.25, 0.25)),
        ((1.0, None, None), (0.3333, 0.3333, 0.3334)),
    ],
)
def test_weights_are_those_said_the_rest_is_shared_and_they_add_up_to_one(given, expected):
    parts = [Criterion(f"c{index}", weight) for index, weight in enumerate(given)]
    found, reason = weights_of(parts, ["score_model"] * len(parts))
    assert tuple(found) == expected
    assert math.isclose(math.fsum(found), 1, abs_tol=1e-9)
    assert reason.endswith(".")


def test_more_than_eight_criteria_are_judged_in_eight():
    many = tuple(Criterion(f"rule_{number}") for number in range(12))
    reward = reward_of(RLAIF, criteria=many)
    assert len(reward.graders) == 8
    assert "rule 11" in reward.graders[7].grader.score_model.input[1].content


def test_safeguards_fit_what_is_rewarded():
    judged = " ".join(reward_of(RLAIF, criteria=RUBRIC).safeguards)
    coded = " ".join(reward_of(RLVR, ("math",)).safeguards)
    assert "KL coefficient is above zero" in judged
    assert "50 answers" in judged
    assert "KL" not in coded
    assert "max_completion_length" in coded
    kl_off = {"stages.0.hyperparameters.rl.kl_coefficient": 0.0}
    assert "KL" not in " ".join(reward_of(RLAIF, criteria=RUBRIC, overrides=kl_off).safeguards)


def test_previews_show_that_only_good_answers_are_paid():
    reward = reward_of(RLVR, ("math",), sources(facts(sample_rows=ROWS)))
    shown = {(each.kind, each.answer): each.reward for each in reward.previews}
    assert shown[Kind.KIND_GOOD, "42"] == 1.0
    assert shown[Kind.KIND_BAD, "60"] == 0.0
    for planted in ("", FLATTERY, INSTRUCTION):
        assert shown[Kind.KIND_PLANTED, planted] == 0.0
    assert len(reward.previews) <= 8
    assert all(len(each.answer) <= 500 for each in reward.previews)


def test_without_a_right_answer_code_has_nothing_to_show():
    assert list(reward_of(RLVR, ("math",)).previews) == []


def test_a_judges_reward_is_not_made_up():
    reward = reward_of(RLAIF, (), sources(facts(sample_rows=ROWS)), criteria=RUBRIC)
    assert reward.previews
    assert not any(each.HasField("reward") for each in reward.previews)


def test_the_rejected_answer_of_a_pair_is_the_bad_one():
    check = grader_pb2.Grader(name="exact", numeric=grader_pb2.NumericGrader(reference="x"))
    reward = stage_pb2.Reward(graders=[stage_pb2.WeightedGrader(grader=check, weight=1)])
    found = previews(reward, [Sample("q", "4", "5"), Sample("p", "6", "7")])
    assert [(each.answer, each.reward) for each in found if each.kind == Kind.KIND_BAD] == [
        ("5", 0.0)
    ]


Op = grader_pb2.StringCheckGrader
OUTPUT, REFERENCE = "{{sample.output_text}}", "{{item.reference}}"


@pytest.mark.parametrize(
    ("kind", "answer", "reference", "expected"),
    [
        ({"string_check": Op(input=OUTPUT, reference=REFERENCE, operation=1)}, "a", "a", 1),
        ({"string_check": Op(input=OUTPUT, reference="yes", operation=4)}, "Oh YES", "", 1),
        ({"string_check": Op(input="{{item.other}}", reference="x", operation=1)}, "a", "", None),
        ({"json_schema": grader_pb2.JsonSchemaGrader()}, '{"a": 1}', "", 1),
        ({"json_schema": grader_pb2.JsonSchemaGrader()}, "no", "", 0),
        ({"json_schema": grader_pb2.JsonSchemaGrader(reference=REFERENCE)}, '{"b":2,"a":1}',
         '{"a": 1, "b": 2}', 1),
        ({"json_schema": grader_pb2.JsonSchemaGrader(json_schema='{"type":"object",'
          '"required":["a"],"properties":{"a":{"type":"integer"}}}')}, '{"a": "x"}', "", 0),
        ({"numeric": grader_pb2.NumericGrader(reference=REFERENCE, tolerance=0.01)},
         "It is 3.141", "3.14", 1),
        ({"numeric": grader_pb2.NumericGrader(reference=REFERENCE)}, "none", "3", 0),
        ({"math": grader_pb2.MathGrader(reference=REFERENCE)}, "So \\boxed{12}", "12.0", 1),
        ({"math": grader_pb2.MathGrader(reference=REFERENCE)}, "", "", 0),
        ({"regex": grader_pb2.RegexGrader(pattern="^Dear")}, "Dear all", "", 1),
        ({"length": grader_pb2.LengthGrader(min_characters=1, max_characters=3)}, "four", "", 0),
        ({"length": grader_pb2.LengthGrader(min_characters=1)}, "", "", 0),
        ({"tool_call": grader_pb2.ToolCallGrader(reference=REFERENCE)},
         '[{"name":"f","arguments":{}}]', '[{"name": "f", "arguments": {}}]', 1),
        ({"tool_call": grader_pb2.ToolCallGrader(reference=REFERENCE, compare_arguments=False)},
         '{"name":"f","arguments":1}', '{"name":"f","arguments":2}', 1),
        ({"text_similarity": grader_pb2.TextSimilarityGrader(evaluation_metric="fuzzy_match")},
         "same", "same", 1),
        ({"text_similarity": grader_pb2.TextSimilarityGrader(evaluation_metric="bleu")},
         "same", "same", None),
        ({"python": grader_pb2.PythonGrader(source="x")}, "a", "a", None),
        ({"score_model": grader_pb2.ScoreModelGrader(model="m")}, "a", "a", None),
    ],
)  # fmt: skip
def test_declarative_graders_score_and_others_are_not_guessed(kind, answer, reference, expected):
    assert score(grader_pb2.Grader(name="g", **kind), answer, reference) == expected


@pytest.mark.parametrize(
    ("row", "sample"),
    [
        ({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"},
                       {"role": "assistant", "content": "a"}]}, Sample("q", "a", "", "s")),
        ({"prompt": "q", "completion": "a"}, Sample("q", "a", "")),
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, Sample("q", "a", "b")),
        ({"input": {"messages": [{"role": "user", "content": "q"}]},
          "preferred_output": [{"role": "assistant", "content": "a"}],
          "non_preferred_output": [{"role": "assistant", "content": "b"}]}, Sample("q", "a", "b")),
        ({"messages": [{"role": "user", "content": "q"}], "reference": {"x": 1}},
         Sample("q", '{"x": 1}', "")),
    ],
)  # fmt: skip
def test_rows_of_every_shape_can_be_shown(row, sample):
    form = choose_form([row])
    shown = sample_rows([view_of(row, form, 1)])
    assert samples_of(shown) == [sample]


def test_what_holds_neither_prompt_nor_answer_is_left_out():
    assert samples_of(["{}", '{"system": "S"}']) == []
