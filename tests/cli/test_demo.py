"""The journey from end to end against canned services: what it asks, shows and writes."""

import json
import os
import signal

import pytest
from attune.scheduler.v1 import scheduler_pb2
from attune.serving.v1 import model_pb2
from attune.spec.v1 import evaluation_pb2

from cli.endpoints import Endpoints
from cli.launcher.bring_up import Running
from cli.launcher.launch import Launch
from cli.ports import Ports
from tests.cli.canned import HASH, JOB, VERSION, a_job, a_report

FIELDS = {
    "base_score",
    "tuned_score",
    "difference",
    "interval",
    "verdict",
    "holdout_rows",
    "spec_hash",
    "job",
    "model_version",
    "mlflow_run",
    "deployment",
    "steps",
    "endpoints",
    "comparisons",
    "few_shot_score",
    "majority_score",
}


@pytest.fixture
def up(services, home, monkeypatch):
    """Take the canned services for what runs."""
    launch = Launch("127.0.0.1", Ports.read({}, 0).resolved(), "attune/starter", at_hand=True)
    running = Running(Endpoints.read(home), launch, anew=False)
    monkeypatch.setattr("cli.demo.command.bring_up", lambda *_: running)
    return services


def test_the_journey_is_shown_and_written_with_exactly_the_agreed_fields(attune, up, tmp_path):
    result = attune("demo", "--approve", "--json", tmp_path / "outcome.json")
    assert (result.code, result.err) == (0, "")
    outcome = json.loads((tmp_path / "outcome.json").read_text())
    assert set(outcome) == FIELDS
    assert outcome["interval"] == [0.76, 0.88]
    assert outcome["verdict"] == "better"
    assert outcome["spec_hash"] == HASH
    assert (outcome["job"], outcome["model_version"]) == (JOB, VERSION)
    assert outcome["mlflow_run"] == "m1"
    assert outcome["deployment"] == "projects/default/deployments/tickets"
    assert set(outcome["endpoints"]) == set(Endpoints.__dataclass_fields__)
    assert len(outcome["comparisons"]) == 3
    assert set(outcome["comparisons"][0]) == {"prompt", "base", "tuned"}
    assert {"train", "baseline", "prove parity", "deploy"} <= {s["name"] for s in outcome["steps"]}
    assert all(set(step) == {"name", "seconds"} for step in outcome["steps"])


def test_the_question_and_its_answer_are_printed(attune, up):
    result = attune("demo", "--approve")
    assert "You:    Route our customers' support tickets" in result.out
    assert "Attune: How good must it be?" in result.out
    assert "You:    At least 80 percent exactly right." in result.out
    said = [one for one in up.asked if type(one).__name__ == "SendMessageRequest"]
    assert [len(one.datasets) for one in said] == [1, 0]


def test_everything_that_a_person_wants_stands_at_the_end(attune, up):
    text = attune("demo", "--approve").out
    assert "The demo approves for you" in text
    assert "http://127.0.0.1:1/#/experiments/1/runs/m1" in text
    assert "from openai import OpenAI" in text
    assert "attune down" in text
    next_steps = text.split("Next:")[1].split("\n\n")[0]
    assert next_steps.count("attune ") == 3
    assert "--system 'Route this message" in next_steps


def test_unseen_prompts_come_from_the_held_out_rows(attune, up, tmp_path):
    rows = [
        {"messages": [{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": "a"}]}
        for i in range(5)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    args = ("--dataset", tmp_path / "rows.jsonl", "--holdout", tmp_path / "rows.jsonl")
    assert attune("demo", "--approve", *args).code == 0
    compared = [one for one in up.asked if type(one).__name__ == "CompareRequest"]
    assert [[m.content for m in one.prompt.messages] for one in compared] == [
        ["q0"],
        ["q1"],
        ["q2"],
    ]


def test_a_demo_that_misses_its_conditions_fails_and_still_writes(attune, up, tmp_path):
    verdict = evaluation_pb2.EvaluationReport.VERDICT_CANNOT_TELL
    up.job_end.result.report.CopyFrom(a_report(tuned_score=0.3, verdict=verdict))
    result = attune("demo", "--approve", "--json", tmp_path / "outcome.json")
    assert result.code == 1
    assert "cannot tell, not better" in result.err
    assert "below 0.60" in result.err
    assert json.loads((tmp_path / "outcome.json").read_text())["verdict"] == "cannot tell"


def test_a_failed_job_ends_the_demo_with_its_reason(attune, up):
    up.job_end = a_job(scheduler_pb2.Job.STATE_FAILED)
    up.job_end.error.message = "The loss is NaN at step 3."
    result = attune("demo", "--approve")
    assert result.code == 1
    assert result.err.strip().endswith("The loss is NaN at step 3.")


def test_a_rejected_version_ends_the_demo_with_its_reason(attune, up):
    up.version_states = [model_pb2.ModelVersion.STATE_REJECTED]
    result = attune("demo", "--approve")
    assert result.code == 1
    assert "was rejected: The engine says otherwise." in result.err


def test_without_a_terminal_and_without_consent_nothing_is_started(attune, services, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    monkeypatch.setattr("cli.demo.command.bring_up", lambda *_: pytest.fail("started"))
    result = attune("demo")
    assert result.code == 1
    assert result.err.count("\n") == 1
    assert "--approve" in result.err


def test_a_person_who_says_no_stops_the_demo_before_anything_runs(attune, up, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.confirm", lambda *_, **__: False)
    result = attune("demo")
    assert result.code == 1
    assert "Not approved" in result.err
    assert not up.approved


def test_an_interrupted_demo_cancels_its_job(attune, up, monkeypatch):
    def interrupted(self, job):
        if job.state == scheduler_pb2.Job.STATE_RUNNING:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("cli.views.job.JobView.show", interrupted)
    # A shell that starts the tests in the background has this signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = attune("demo", "--approve")
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.code == 130
    assert type(up.asked[-1]).__name__ == "CancelJobRequest"
