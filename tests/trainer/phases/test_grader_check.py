"""Graders are tried on the rows of a run before a step is trained."""

import pytest
from attune.spec.v1.grader_pb2 import (
    Grader,
    GraderMessage,
    NumericGrader,
    RegexGrader,
    ScoreModelGrader,
    WinRateGrader,
)
from attune.spec.v1.stage_pb2 import Reward

from services.trainer.attempt import MESSAGES, Attempt
from services.trainer.evaluation.deciding import deciding_grader
from services.trainer.grading.build import scores
from services.trainer.grading.sample import Sample
from services.trainer.phases.grader_check import check_graders
from services.trainer.phases.reward import weighted
from services.trainer.run import RunFailed
from services.trainer.runtime.run_context import RunContext
from services.trainer.runtime.stopping import Signals
from tests.trainer import tiny
from tests.trainer.judge_server import JudgeServer

FORM = Grader(name="form", regex=RegexGrader(pattern=r"\S"))
JUDGE = Grader(
    name="taste",
    score_model=ScoreModelGrader(
        model="judge",
        input=[
            GraderMessage(role="system", content="The answer wants: colour animal number"),
            GraderMessage(role="user", content="{{item.prompt}}: {{sample.output_text}}"),
        ],
    ),
)


@pytest.fixture
def checked(artefacts, tmp_path):
    """Return a function that tries a deciding grader and a reward on tiny rows."""

    def check(deciding=None, reward=()):
        rows = tiny.put_rows(artefacts, tiny.rows(40)), tiny.put_rows(artefacts, tiny.rows(12))
        spec = tiny.a_spec("r" * 64, *rows)
        if deciding is not None:
            spec.evaluation.graders[0].CopyFrom(deciding)
            spec.objective.success_criteria[0].metric = deciding.name
        for grader, weight in reward:
            spec.stages[0].reward.graders.add(grader=grader, weight=weight)
        manifest = tiny.a_manifest(tmp_path, spec)
        attempt = Attempt.create(artefacts.attempt("j1-s0", 1), manifest)
        context = RunContext(attempt, manifest, Signals(), lambda: None)
        return check_graders(context, deciding_grader(context)), attempt

    return check


def test_a_sound_deciding_grader_passes_unsaid(checked):
    found, attempt = checked()
    assert [(each["reference_mean"], each["error_count"]) for each in found] == [(1.0, 0)]
    assert attempt.lines(MESSAGES, 0)[0] == []


def test_a_deciding_grader_that_cannot_read_the_rows_stops_the_run(checked):
    with pytest.raises(RunFailed, match="cannot grade 12 of 12 rows") as caught:
        checked(Grader(name="count", numeric=NumericGrader(reference="{{item.reference}}")))
    assert caught.value.reason == "GRADER_UNFIT"
    assert "Correct the row" in caught.value.message


def test_a_form_that_decides_is_told_of(checked):
    _, attempt = checked(FORM)
    assert "as much as right ones" in attempt.lines(MESSAGES, 0)[0][0]["text"]


def test_a_reward_that_ranks_unlike_the_deciding_grader_stops_the_run(checked):
    with pytest.raises(RunFailed, match="rank the same answers differently"):
        checked(reward=[(FORM, 1.0)])


def test_a_reward_is_tried_as_the_sum_that_it_is(checked):
    exact = tiny.a_spec("r" * 64, "d" * 64, "e" * 64).evaluation.graders[0]
    found, _ = checked(reward=[(exact, 0.9), (FORM, 0.1)])
    assert found[1]["reference_mean"] == 1.0
    assert found[1]["agreement"] > 0.9
    assert {each["kind"]: each["mean_score"] for each in found[1]["planted"]}["flattery"] == (
        pytest.approx(0.1)
    )


def test_a_reward_that_cannot_run_here_stops_the_run_with_the_setting(checked, monkeypatch):
    monkeypatch.delenv("ATTUNE_JUDGE_BASE_URL", raising=False)
    with pytest.raises(RunFailed, match="ATTUNE_JUDGE_BASE_URL") as caught:
        checked(reward=[(JUDGE, 1.0)])
    assert caught.value.reason == "NO_JUDGE"


def test_judges_are_tried_on_few_rows(checked, monkeypatch):
    better = WinRateGrader(model="judge", criteria="It wants: colour animal number")
    with JudgeServer() as server:
        monkeypatch.setenv("ATTUNE_JUDGE_BASE_URL", server.url)
        found, _ = checked(JUDGE, reward=[(Grader(name="wins", win_rate=better), 1.0)])
        assert [each["sample_count"] for each in found] == [12, 12]
        assert all(each["problems"] == () for each in found)
        assert len(server.requests) < 400


def test_weights_count_and_an_error_of_one_part_is_one_of_the_reward():
    number = Grader(name="number", numeric=NumericGrader(reference="{{item.reference}}"))
    reward = Reward(timeout_s=1.0)
    reward.graders.add(grader=number, weight=0.7)
    reward.graders.add(grader=FORM, weight=0.3)
    grade = weighted(reward)
    assert scores(grade, [Sample("5", {"reference": "4"})]) == [pytest.approx(0.3)]
    assert grade([Sample("5", {"reference": "x"})])[0].score is None
