"""Pairs that decide a run: the model itself compares their answers, and no judge is asked."""

import asyncio

import pytest
from attune.spec.v1.evaluation_pb2 import EvaluationReport
from attune.spec.v1.grader_pb2 import Grader, PreferenceGrader
from attune.spec.v1.stage_pb2 import Technique
from google.protobuf.json_format import ParseDict

from services.common.artefacts import Artefacts
from services.trainer.attempt import LOG, SAMPLES, Attempt
from services.trainer.run import ExitCode, Phase
from tests.trainer import tiny

pytestmark = pytest.mark.system

TIMEOUT_S = 120.0
PAIRS = Grader(name="pairs", preference=PreferenceGrader())
SFT, DPO = Technique.TECHNIQUE_SFT, Technique.TECHNIQUE_DPO


class Runs:
    """Runs of one artefact root."""

    def __init__(self, root, model, forks):
        self.root, self.forks = root, forks
        self.artefacts = Artefacts(root / "artefacts")
        self.revision = tiny.put_model(self.artefacts, model)

    def run(self, held, technique=DPO):
        """Return a finished attempt over pairs, by its exit code, and its log."""
        train, holdout = (tiny.put_rows(self.artefacts, rows) for rows in (tiny.pairs(72), held))
        spec = tiny.a_preference_spec(
            self.revision, train, holdout, learning_rate=1e-2, epoch_count=3.0
        )
        spec.stages[0].technique = technique
        spec.evaluation.graders.insert(0, PAIRS)
        spec.objective.success_criteria[0].metric = "pairs"
        spec.objective.success_criteria[0].target = 0.0
        manifest = tiny.a_manifest(self.root, tiny.approved(spec))
        attempt = Attempt.create(self.artefacts.attempt(manifest.run_id, 1), manifest)

        async def execute():
            handle = await self.forks.start_run(attempt.folder)
            return await asyncio.wait_for(handle.wait(), TIMEOUT_S)

        return attempt, asyncio.run(execute()), (attempt.folder / LOG).read_text()


@pytest.fixture
def runs(tmp_path, saved_model, forks):
    return Runs(tmp_path, saved_model, forks)


@pytest.mark.parametrize("technique", [DPO, SFT])
def test_unseen_pairs_decide_by_what_the_model_holds_of_them(runs, technique):
    attempt, code, log = runs.run(tiny.pairs(9), technique)
    # The base meets the target of nothing, and nobody is asked whether a prompt would do.
    assert code == ExitCode.SUCCEEDED, log
    report = ParseDict(attempt.result(Phase.EVALUATE)["report"], EvaluationReport())
    begun = attempt.result(Phase.BASELINE)
    assert (report.grader, report.holdout_row_count) == ("pairs", 9)
    assert report.tuned_score > report.base_score
    assert report.interval_low <= report.difference <= report.interval_high
    assert report.difference == pytest.approx(report.tuned_score - report.base_score)
    assert [one.grader for one in report.graders] == ["pairs", "exact"]
    if technique == DPO:
        tuned = attempt.result(Phase.EVALUATE)["preference"]
        figures = (begun["preference"]["accuracy"], tuned["accuracy"])
        assert figures == pytest.approx((report.base_score, report.tuned_score))
    check_answers_have_no_score(attempt, report)


def check_answers_have_no_score(attempt, report):
    """Only models have one: no answer is looked at, so that examples in a prompt change nothing."""
    assert not report.HasField("few_shot_interval")
    assert not report.HasField("majority_interval")
    assert not report.graders[0].HasField("few_shot")
    assert report.graders[1].HasField("few_shot")
    assert not any("prompt does as well" in one for one in report.verdict_reasons)
    assert not any("most frequent" in one for one in report.verdict_reasons)
    samples, _ = attempt.lines(SAMPLES, 0)
    assert {one["tuned_score"] for one in samples} <= {0.0, 1.0}
    assert "few_shot_score" not in samples[0]


def test_held_out_rows_that_are_no_pairs_are_refused_before_training(runs):
    attempt, code, _ = runs.run([*tiny.pairs(4), *tiny.rows(1)], SFT)
    assert code != ExitCode.SUCCEEDED
    assert attempt.result(Phase.BASELINE) is None
    assert "line 5 of the held-out rows is none" in attempt.error()["message"]
