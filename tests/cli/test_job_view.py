"""How a job of several stages is worded."""

from attune.scheduler.v1 import scheduler_pb2
from attune.spec.v1 import evaluation_pb2, stage_pb2

from cli.views.job import progress_line, show_job
from cli.views.report import show_report
from cli.views.screen import Screen
from tests.cli.canned import a_job, a_report


def a_chain() -> scheduler_pb2.Job:
    """Return a job in the second of two stages."""
    job = a_job(scheduler_pb2.Job.STATE_RUNNING, scheduler_pb2.PHASE_TRAIN, done_count=3)
    job.stages.add(
        technique=stage_pb2.TECHNIQUE_SFT,
        adapter_sha256="c" * 64,
        score=0.5,
        verdict=evaluation_pb2.EvaluationReport.VERDICT_BETTER,
    )
    job.stages.add(technique=stage_pb2.TECHNIQUE_DPO)
    job.stage_index = 1
    return job


def test_progress_says_which_stage_it_is():
    assert "running · stage 2 of 2 (DPO) · TRAIN · step 3" in progress_line(a_chain())


def test_a_job_of_one_stage_needs_no_word_of_it():
    job = a_chain()
    del job.stages[1]
    job.stage_index = 0
    assert "stage" not in progress_line(job)


def test_a_shown_job_says_what_its_stages_have_made(capsys):
    show_job(Screen(), a_chain())
    shown = " ".join(capsys.readouterr().out.split())
    assert "stage 2 of 2 (DPO)" in shown
    assert "stage 1 (SFT) scored 0.500, beside the base: better; adapter cccccccccccc" in shown


def test_a_report_of_a_later_stage_compares_it_with_the_one_before(capsys):
    report = a_report()
    before = report.previous_stage
    before.score, before.difference, before.interval_low, before.interval_high = 0.5, 0.3, 0.2, 0.4
    before.verdict = evaluation_pb2.EvaluationReport.VERDICT_BETTER
    show_report(Screen(), report)
    shown = " ".join(capsys.readouterr().out.split())
    assert "tuned less the stage before, 0.500 +0.300, interval +0.200 to +0.400: better" in shown
