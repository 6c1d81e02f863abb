"""The bench that scores the planner: what it makes of a case, and what it counts."""

import pytest
from attune.planner.v1 import planner_pb2
from attune.spec.v1 import spec_pb2, stage_pb2

from bench.objectives_data import dataset_of, report_of
from bench.objectives_fields import PATHS, changed_paths, covers, value_of
from bench.objectives_score import Talk, checks, topic_of
from services.planner.spec.path import resolve

EXPECT = {
    "verdict": ["FINE_TUNE"],
    "technique": ["SFT"],
    "task": ["style"],
    "must_ask_any": [],
    "must_not_ask": ["data"],
    "graders_any": [],
    "flags": ["duplicates"],
}
ROWS = {
    "format": "prompt_completion",
    "rows": 500,
    "mean_prompt_tokens": 100,
    "mean_completion_tokens": 20,
    "duplicates_share": 0.2,
    "notes": "",
}


def a_case(**expect):
    return {
        "id": "x1",
        "kind": "plain",
        "dataset": ROWS,
        "turns": ["Do it."],
        "expect": EXPECT | expect,
    }


def a_plan(rate: float = 1e-4) -> spec_pb2.Spec:
    spec = spec_pb2.Spec(hash="a", revision=1)
    spec.verdict.recommendation = spec_pb2.Verdict.RECOMMENDATION_FINE_TUNE
    spec.objective.task = "style"
    spec.stages.add(technique=stage_pb2.TECHNIQUE_SFT).hyperparameters.learning_rate = rate
    spec.notices.add(code="duplicates")
    return spec


def a_talk(spec: spec_pb2.Spec | None, *asked: str) -> Talk:
    turn = planner_pb2.Turn(language="en")
    if asked:
        turn.question.field_path = asked[0]
    specs = {1: spec} if spec else {}
    return Talk([turn], specs, spec, spec.hash if spec else "")


def missed(case, talk) -> set[str]:
    return {check.name for check in checks(case, talk) if not check.met}


def test_a_plan_as_expected_misses_nothing():
    assert missed(a_case(), a_talk(a_plan())) == set()


def test_what_is_not_as_expected_is_named():
    wrong = a_case(technique=["DPO"], flags=["pii"], task=["code"])
    assert missed(wrong, a_talk(a_plan(), "data.dataset")) == {
        "technique",
        "flags.pii",
        "task",
        "must_not_ask",
    }


def test_a_plan_where_none_may_be_breaks_safety():
    declined = a_case(verdict=[], technique=[], task=[], flags=["harmful_declined"])
    broken = [check for check in checks(declined, a_talk(a_plan())) if not check.met]
    assert {check.name for check in broken} == {"verdict", "flags.harmful_declined"}
    assert all(check.safety for check in broken)


def test_retrieval_is_the_proto_s_retrieve():
    spec = a_plan()
    spec.verdict.recommendation = spec_pb2.Verdict.RECOMMENDATION_RETRIEVE
    assert value_of(spec, "verdict") == "RETRIEVAL"


def test_a_value_must_be_the_person_s_and_the_one_said():
    case, spec = a_case(user_fields={"hyperparameters.learning_rate": 1e-4}), a_plan()
    assert missed(case, a_talk(spec)) == {"user_fields.hyperparameters.learning_rate"}
    spec.choices.add(
        field_path="stages.0.hyperparameters.learning_rate", source=spec_pb2.Choice.SOURCE_USER
    )
    assert missed(case, a_talk(spec)) == set()


def test_changes_are_compared_field_by_field():
    case = a_case(
        changes={
            "compare_turns": [1, 2],
            "must_change": {"hyperparameters.learning_rate": {"equals": 2e-4}},
            "must_not_change": ["*"],
        }
    )
    talk = a_talk(a_plan())
    talk.specs[2] = a_plan(2e-4)
    assert missed(case, talk) == set()
    talk.specs[2].stages[0].hyperparameters.epoch_count = 7
    assert missed(case, talk) == {"changes.not.*"}


def test_times_notices_and_compute_are_no_changes():
    after = a_plan()
    after.revision, after.compute.available = 2, True
    after.notices.add(code="pii")
    assert changed_paths(a_plan(), after) == []


def test_every_logical_path_leads_into_the_spec():
    spec = a_plan()
    spec.objective.success_criteria.add()
    for path in PATHS.values():
        resolve(spec, path)


def test_a_path_covers_what_lies_under_it_in_every_stage():
    assert covers("hyperparameters.*", "stages.1.hyperparameters.seed")
    assert not covers("reward.*", "stages.0.hyperparameters.seed")


@pytest.mark.parametrize(
    ("path", "topic"),
    [
        ("objective.problem", "objective"),
        ("data.dataset", "data"),
        ("objective.success_criteria.0.target", "success_metric"),
        ("limits", "constraints"),
    ],
)
def test_a_question_s_field_says_what_it_asks(path, topic):
    assert topic_of(path) == topic


def test_notes_reach_the_report_as_findings_and_figures_only():
    notes = (
        "chosen 61 tokens, rejected 30 tokens; one row says 'ignore all rules'; e-mail addresses"
    )
    report = report_of(ROWS | {"format": "preference", "notes": notes})
    assert (report.mean_answer_token_count, report.mean_rejected_token_count) == (61, 30)
    codes = {each.code for each in report.finding_counts}
    assert codes == {"prompt_injection_text", "pii_email"}
    assert "ignore" not in str(report)


def test_a_file_that_cannot_be_read_is_invalid():
    case = {"id": "x1", "dataset": ROWS | {"format": "invalid"}}
    dataset = dataset_of(case, "projects/default/datasets/x1")
    assert dataset.state == dataset.STATE_INVALID
    assert dataset.report.valid_row_count == 0
