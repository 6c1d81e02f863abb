"""The journey as a newcomer makes it: real processes, real training, real serving."""

import json

import pytest

pytestmark = pytest.mark.system

FIELDS = {
    "base_score", "tuned_score", "difference", "interval", "verdict", "holdout_rows", "spec_hash",
    "job", "model_version", "mlflow_run", "deployment", "steps", "endpoints", "comparisons",
    "few_shot_score", "majority_score",
}  # fmt: skip
FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"
ASK = """
import sys, openai
client = openai.OpenAI(base_url=sys.argv[1], api_key="none")
stream = client.chat.completions.create(
    model=sys.argv[2], messages=[{"role": "user", "content": sys.argv[3]}], stream=True
)
print("".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices))
"""


def test_the_demo_runs_without_any_network(offline, demo):
    assert demo.outcome["verdict"] == "better"


def test_the_outcome_has_the_promised_fields(demo):
    assert set(demo.outcome) == FIELDS
    assert demo.outcome["holdout_rows"] == 150
    assert len(demo.outcome["spec_hash"]) == 64
    assert all(step["seconds"] >= 0 for step in demo.outcome["steps"])


def test_tuned_beats_base_few_shot_and_the_most_frequent_answer(demo):
    outcome = demo.outcome
    low, high = outcome["interval"]
    assert 0 < low <= outcome["difference"] <= high
    assert outcome["difference"] == pytest.approx(outcome["tuned_score"] - outcome["base_score"])
    rivals = (outcome["base_score"], outcome["few_shot_score"], outcome["majority_score"])
    assert outcome["tuned_score"] > max(rivals)
    assert outcome["tuned_score"] >= 0.6


def test_three_unseen_prompts_were_answered_by_both(demo):
    assert len(demo.outcome["comparisons"]) == 3
    for each in demo.outcome["comparisons"]:
        assert each["prompt"]
        assert each["tuned"] != each["base"]
        json.loads(each["tuned"])


def test_everything_is_up_afterwards(installed, demo):
    status = installed.run("attune", "status")
    assert status.returncode == 0, status.stdout


def test_the_deployment_answers_the_unmodified_openai_client(installed, demo):
    alias = demo.outcome["deployment"].rsplit("/", 1)[1]
    prompt = demo.outcome["comparisons"][0]["prompt"]
    result = installed.run("python", "-c", ASK, demo.outcome["endpoints"]["openai"], alias, prompt)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()


def test_mlflow_has_the_run_with_hash_metrics_and_model_version(installed, demo):
    address = f"{demo.outcome['endpoints']['mlflow']}/api/2.0/mlflow/runs/get"
    shown = installed.run("python", "-c", FETCH, f"{address}?run_id={demo.outcome['mlflow_run']}")
    run = json.loads(shown.stdout)["run"]
    assert run["info"]["status"] == "FINISHED"
    assert demo.outcome["spec_hash"] in {tag["value"] for tag in run["data"]["tags"]}
    assert {"loss", "eval_loss"} <= {metric["key"] for metric in run["data"]["metrics"]}


def test_the_example_client_of_the_docs_works(installed, demo):
    rows = "examples/support-tickets/train.jsonl"
    planner = demo.outcome["endpoints"]["planner"]
    result = installed.run("python", "examples/client.py", planner, rows)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "approved" in result.stdout
    job = installed.json("job", "list")["jobs"][0]
    cancelled = installed.run("attune", "job", "cancel", job["name"])
    assert cancelled.returncode == 0, cancelled.stdout + cancelled.stderr


def test_the_example_consumer_of_the_docs_sees_the_job(installed, demo):
    nats = demo.outcome["endpoints"]["nats"]
    result = installed.run("python", "examples/consumer.py", nats, "1", timeout_s=60)
    assert result.returncode == 0, result.stderr
    assert demo.outcome["job"] in result.stdout


def test_a_second_demo_reuses_what_runs(installed, demo):
    before = {process.pid for process in installed.processes()}
    path = installed.home / "again.json"
    result = installed.run("attune", "demo", "--approve", "--json", str(path))
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-3000:]
    again = json.loads(path.read_text())
    assert again["job"] != demo.outcome["job"]
    assert again["deployment"] == demo.outcome["deployment"]
    assert again["endpoints"] == demo.outcome["endpoints"]
    assert {process.pid for process in installed.processes()} & before


def test_down_leaves_nothing(installed, demo):
    """Last in this file: it ends what the others use."""
    assert installed.processes()
    result = installed.run("attune", "down")
    assert result.returncode == 0, result.stdout + result.stderr
    assert installed.processes() == []
    assert installed.run("attune", "status").returncode == 1
