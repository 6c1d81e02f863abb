"""A plan of preferences that a judge decides, from the file to the report: real processes, and a
judge behind a real endpoint."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.system.conftest import Installed
from tests.trainer.judge_server import JudgeServer

pytestmark = pytest.mark.system

ROWS, HELD = 216, 24
WANTED = "parcel"
CRITERIA = f"The better answer wants: {WANTED}"
THINGS = ("blue", "green", "heavy", "small", "late", "torn", "wet", "lost")
STAGE = "stages.0.hyperparameters"
CAPS = {
    f"{STAGE}.max_step_count": "16",
    f"{STAGE}.learning_rate": "0.002",
    "evaluation.max_answer_tokens": "16",
    "evaluation.few_shot_example_count": "1",
    "evaluation.bootstrap_resample_count": "1000",
}
"""What keeps the job short on two cores."""


def pair(number: int) -> dict[str, object]:
    """Return a pair whose preferred answer says the wanted word."""
    thing = THINGS[number % len(THINGS)]
    question = f"Customer {number * 37} says: my {thing} order number {number} is not here."
    return {
        "prompt": [{"role": "user", "content": question}],
        "chosen": [{"role": "assistant", "content": f"We look for your {thing} {WANTED} today."}],
        "rejected": [{"role": "assistant", "content": f"Order {number} is nothing we know of."}],
    }


@dataclass(frozen=True)
class Site:
    """A home of its own, and the rows that were uploaded to it."""

    system: Installed
    dataset: str

    def run(self, *command: str) -> str:
        """Run a command that succeeds, and return what it printed."""
        result = self.system.run("attune", *command)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def proposed(self) -> dict:
        """Return a new plan for the rows."""
        said = "Answer our customers politely."
        return self.system.json("spec", "propose", "--dataset", self.dataset, "--objective", said)


@pytest.fixture(scope="module")
def judge() -> Iterator[JudgeServer]:
    with JudgeServer() as server:
        yield server


@pytest.fixture(scope="module")
def site(new_home) -> Iterator[Site]:
    """Processes on the network of the judge, which the demo's have not, and without a judge."""
    system = new_home("judged")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ATTUNE_JUDGE_BASE_URL", raising=False)
        assert system.run("attune", "up").returncode == 0
    for name, numbers in (("rows", range(ROWS)), ("held", range(ROWS, ROWS + HELD))):
        lines = (json.dumps(pair(number)) + "\n" for number in numbers)
        (system.home / f"{name}.jsonl").write_text("".join(lines))
    files = (str(system.home / "rows.jsonl"), "--holdout", str(system.home / "held.jsonl"))
    yield Site(system, system.json("dataset", "upload", *files)["name"])
    system.run("attune", "down")


def metrics(spec: dict) -> list[str]:
    return [each["metric"] for each in spec["objective"]["success_criteria"]]


def test_a_judge_decides_pairs_from_the_file_to_the_report(site, judge, monkeypatch):
    plan = site.proposed()
    assert metrics(plan)[0] == "preference_accuracy"
    with_judge(site, judge, monkeypatch)
    plan = site.proposed()
    assert metrics(plan)[0] == "win_rate"
    for path, value in {**CAPS, "evaluation.graders.0.win_rate.criteria": CRITERIA}.items():
        plan = site.system.json("spec", "set", plan["name"], path, value)
    site.run("spec", "approve", plan["name"], "--hash", plan["hash"])
    (job,) = site.system.json("job", "list")["jobs"]
    site.run("job", "watch", job["name"])
    report = site.system.json("job", "report", job["name"])
    assert (report["grader"], int(report["holdout_row_count"])) == ("win_rate", HELD)
    assert report["base_score"] == 0.5  # Against its own answers, the base ties with itself.
    low, high = (report.get(f"interval_{end}", 0.0) for end in ("low", "high"))
    assert low <= report.get("difference", 0.0) <= high
    tuned = report["tuned_interval"]
    assert tuned["low"] <= report["tuned_score"] <= tuned["high"]
    asked = json.dumps(judge.requests)
    assert CRITERIA in asked
    assert pair(ROWS)["prompt"][0]["content"] in asked
    assert all(each["model"] == "Qwen/Qwen3-32B" for each in judge.requests)


def with_judge(site: Site, judge: JudgeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start the processes again, with the judge set."""
    site.run("down")
    monkeypatch.setenv("ATTUNE_JUDGE_BASE_URL", judge.url)
    site.run("up")
