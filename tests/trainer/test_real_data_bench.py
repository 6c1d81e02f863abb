"""What the bench on real data makes of rows and of reports."""

import json
import sys

import pytest
from attune.spec.v1 import spec_pb2, stage_pb2

from bench import real_data
from bench.real_data_figures import measured
from bench.real_data_job import Trained
from bench.real_data_sets import FORM, SETS, answered
from services.trainer.attempt import Attempt
from services.trainer.grading.build import build, scores
from services.trainer.grading.sample import Sample
from services.trainer.run import Phase


def a_row(question, number):
    return {
        "data_source": "openai/gsm8k",
        "prompt": [{"role": "user", "content": question}],
        "reward_model": {"style": "rule", "ground_truth": number},
    }


def a_report(**changes):
    figure = {"value": 0.5, "low": 0.25, "high": 0.75}
    grader = {"paired_row_count": "4", "base": {}, "few_shot": {}}
    return {
        "grader": "form",
        "holdout_row_count": "4",
        "verdict": "VERDICT_BETTER",
        "graders": [
            {**grader, "grader": "right_number", "tuned": {}, "difference": {}},
            {**grader, "grader": "form", "tuned": figure, "difference": figure},
        ],
        **changes,
    }


@pytest.fixture
def trained(tmp_path):
    return lambda **changes: Trained(["SFT"], a_report(**changes), tmp_path, 0, 1.0)


def test_a_word_problem_becomes_a_talk_that_ends_in_the_form(tmp_path):
    (tmp_path / "gsm8k").mkdir()
    question = "Two\u2028and two?\nEnd with #### and the number."
    for name in ("train_verl.jsonl", "test_verl.jsonl"):
        line = json.dumps(a_row(question, "4"), ensure_ascii=False)
        (tmp_path / "gsm8k" / name).write_text((line + "\n") * 3)
    train, holdout = SETS["gsm8k"].lines(tmp_path, row_count_max=2)
    assert len(train) == len(holdout) == 2
    assert json.loads(train[0])["messages"] == [
        {"role": "user", "content": question},
        {"role": "assistant", "content": "#### 4"},
    ]
    assert len(SETS["gsm8k"].lines(tmp_path, row_count_max=0)[0]) == 3


@pytest.mark.parametrize(
    ("answer", "right"),
    [("#### 18", 1.0), ("#### -1,250.5\n", 1.0), ("####", 0.0), ("18", 0.0),
     ("#### 18 ducks", 0.0), ("#### 18\n#### 19", 0.0)],
)  # fmt: skip
def test_the_form_is_one_marked_number(answer, right):
    spec = spec_pb2.Spec(stages=[stage_pb2.Stage(), stage_pb2.Stage()])
    paths = SETS["gsm8k"].edit(spec)
    form = spec.evaluation.graders[0]
    assert (form.regex.pattern, spec.stages[1].reward.graders[0].grader) == (FORM, form)
    assert "stages.1.reward.graders" in paths
    assert scores(build(form), [Sample(answer, answered(a_row("?", "18")))]) == [right]


def test_the_deciding_measure_comes_first_and_zeros_that_the_report_leaves_out_are_there(trained):
    form, right = measured(trained())
    assert (form.measure, form.base, form.tuned, form.interval) == ("form", 0.0, 0.5, (0.25, 0.75))
    assert (form.verdict, right.verdict) == ("better", "cannot tell")
    assert (right.measure, right.difference) == ("right_number", 0.0)


def test_what_the_last_of_two_stages_changed_is_told_apart(trained):
    before = {"score": 0.3, "difference": 0.2, "interval_low": 0.1, "interval_high": 0.3,
              "verdict": "VERDICT_CANNOT_TELL"}  # fmt: skip
    stage = measured(trained(previous_stage=before))[-1]
    assert (stage.base, stage.tuned, stage.verdict) == (0.3, 0.5, "cannot tell")


def test_unseen_pairs_are_told_apart_before_and_after(trained, tmp_path):
    attempt = Attempt(tmp_path)
    before = {"chosen": [-1.0, -5.0, -3.0, -3.0], "rejected": [-2.0, -4.0, -1.0, -1.0]}
    after = {"chosen": [-1.0, -2.0, -1.0, -3.0], "rejected": [-2.0, -4.0, -2.0, -2.0]}
    attempt.write_result(Phase.BASELINE, {"preference": before, "few_shot_example_count": 0})
    attempt.write_result(Phase.EVALUATE, {"preference": after})
    form, _, rewarded = measured(trained())
    assert form.few_shot is None
    # The first pair has gained nothing, the last one has gained but is not yet the likelier.
    assert (rewarded.base, rewarded.tuned, rewarded.difference) == (0.5, 0.75, 0.25)


def test_sets_that_are_not_there_are_skipped_with_the_reason(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["real_data", str(tmp_path)])
    real_data.main()
    said = capsys.readouterr().out
    for name, one in SETS.items():
        assert f"skipped {name}: {tmp_path / one.folder / one.train}" in said
