"""Tracking against a real MLflow server."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.common.artefacts import Artefacts, write_manifest
from services.trainer import tracking as tracking_module
from services.trainer.attempt import SAMPLES, Attempt
from services.trainer.run import Phase
from services.trainer.settings import TrainerSettings
from services.trainer.tracking import Tracker
from services.trainer.worker import close_orphans
from tests.servers import free_port
from tests.trainer import tiny

pytestmark = pytest.mark.system

REPORT = {
    "grader": "exact",
    "base_score": 0.0,
    "tuned_score": 0.75,
    "difference": 0.75,
    "verdict": "VERDICT_BETTER",
    "examples": [],
}


@pytest.fixture(scope="module")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on SQLite; one for all tests here, for it takes seconds to start."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    store = ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    files = ["--artifacts-destination", str(folder / "files"), "--serve-artifacts"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *store, *files, "--workers", "1"],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_until_it_answers(port, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_until_it_answers(port: int, log: Path) -> None:
    """Importing MLflow takes long on a busy machine; there is no event to await."""
    for _ in range(1200):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(log.read_text()[-2000:])


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested is what is written, not how fast a busy machine writes it."""
    monkeypatch.setattr(tracking_module, "CLOSE_TIMEOUT_S", 300.0)
    monkeypatch.setattr(tracking_module, "REQUEST_TIMEOUT_S", 60)


@pytest.fixture
def client(mlflow_url: str):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=mlflow_url, registry_uri=mlflow_url)


def an_attempt(tmp_path: Path, fence: int = 1) -> Attempt:
    artefacts = Artefacts(tmp_path / "artefacts")
    spec = tiny.a_spec("r" * 64, "d" * 64, "e" * 64)
    manifest = tiny.a_manifest(tmp_path, spec, fence)
    return Attempt.create(artefacts.attempt("j1-s0", fence), manifest)


def finish(attempt: Attempt, tmp_path: Path) -> str:
    """Write what a run that succeeded has written, and return the adapter's hash."""
    artefacts = Artefacts(tmp_path / "artefacts")
    folder = artefacts.adapter("a" * 64)
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    write_manifest(folder, {})
    attempt.append(SAMPLES, {"prompt": "say", "reference": "a", "tuned_answer": "a"})
    attempt.write_text("report.md", "It is better.")
    attempt.write_text("report.html", "<p>It is better.</p>")
    attempt.write_result(Phase.EVALUATE, {"report": REPORT})
    attempt.write_result(Phase.REGISTER, {"adapter_sha256": "a" * 64, "lora_rank": 8})
    attempt.write_outcome("SUCCEEDED")
    return "a" * 64


def test_an_attempt_becomes_a_finished_run_with_a_model_version(client, mlflow_url, tmp_path):
    attempt = an_attempt(tmp_path)
    tracker = Tracker(mlflow_url)
    tracker.begin(attempt)
    attempt.log_metrics(1, {"loss": 2.0})
    attempt.log_metrics(2, {"loss": 1.0, "eval_loss": 1.5})
    finish(attempt, tmp_path)
    tracker.end(attempt)
    tracker.close()

    tracking, manifest = attempt.tracking(), attempt.manifest()
    run = client.get_run(tracking["run"])
    assert tracking["uri"].startswith(mlflow_url)
    assert tracking["run"] in tracking["uri"]
    assert run.info.status == "FINISHED"
    assert run.data.tags["attune.spec_hash"] == manifest.spec_hash
    assert run.data.tags["attune.job"] == manifest.job
    assert run.data.tags["attune.run"] == manifest.run
    assert run.data.tags["attune.attempt"] == "1"
    assert run.data.params["learning_rate"] == "0.003"
    assert run.data.params["lora.rank"] == "8"
    assert run.data.params["base_model.id"] == tiny.MODEL
    history = client.get_metric_history(tracking["run"], "loss")
    assert [(one.step, one.value) for one in history] == [(1, 2.0), (2, 1.0)]
    assert run.data.metrics["tuned_score"] == 0.75
    names = {one.path for one in client.list_artifacts(tracking["run"])}
    assert names == {"adapter", "evaluation.json", "report.json", "report.md", "report.html"}
    page = client.download_artifacts(tracking["run"], "report.html", str(tmp_path))
    assert Path(page).read_text() == "<p>It is better.</p>"
    table = client.download_artifacts(tracking["run"], "evaluation.json", str(tmp_path))
    assert json.loads(Path(table).read_text())["data"] == [["say", "a", "a"]]
    (version,) = client.search_model_versions("name = 'tiny'")
    assert version.run_id == tracking["run"]
    assert version.tags["attune.adapter_sha256"] == "a" * 64


def test_of_a_whole_model_mlflow_has_all_but_the_weights(client, mlflow_url, tmp_path):
    attempt = an_attempt(tmp_path)
    tracker = Tracker(mlflow_url)
    tracker.begin(attempt)
    finish(attempt, tmp_path)
    folder = Artefacts(tmp_path / "artefacts").merged("c" * 64)
    folder.mkdir(parents=True)
    for name in ("model.safetensors", "config.json", "MANIFEST.json"):
        (folder / name).write_text("{}")
    attempt.write_result(Phase.REGISTER, {"merged_sha256": "c" * 64, "base_model": "merged/c"})
    tracker.end(attempt)
    tracker.close()
    run = attempt.tracking()["run"]
    names = {one.path for one in client.list_artifacts(run, "model")}
    assert names == {"model/config.json", "model/MANIFEST.json"}
    (version,) = client.search_model_versions(f"run_id = '{run}'")
    assert version.tags["attune.merged_sha256"] == "c" * 64


@pytest.mark.parametrize(
    ("outcome", "status"), [("FAILED", "FAILED"), ("CANCELLED", "KILLED"), ("LOST", "FAILED")]
)
def test_other_outcomes_close_the_run_as_such(client, mlflow_url, tmp_path, outcome, status):
    attempt = an_attempt(tmp_path)
    tracker = Tracker(mlflow_url)
    tracker.begin(attempt)
    attempt.write_error("DIVERGED", "loss is nan")
    attempt.write_outcome(outcome)
    tracker.end(attempt)
    tracker.close()
    run = client.get_run(attempt.tracking()["run"])
    assert run.info.status == status
    assert run.data.tags["attune.error"] == "DIVERGED: loss is nan"


def test_a_run_that_a_dead_trainer_left_open_is_closed_by_the_next(client, mlflow_url, tmp_path):
    attempt = an_attempt(tmp_path)
    first = Tracker(mlflow_url)
    first.begin(attempt)
    first.close()
    run_id = attempt.tracking()["run"]
    assert client.get_run(run_id).info.status == "RUNNING"
    attempt.write_outcome("LOST")
    second = Tracker(mlflow_url)
    second.end(attempt)
    second.close()
    assert client.get_run(run_id).info.status == "FAILED"


def test_a_run_that_mlflow_missed_is_written_when_the_trainer_starts_again(
    client, mlflow_url, tmp_path
):
    attempt = an_attempt(tmp_path)
    attempt.log_metrics(1, {"loss": 2.0})
    attempt.write_outcome("CANCELLED")
    settings = TrainerSettings(home=tmp_path, artefacts=tmp_path / "artefacts", node="node-test")
    for _ in range(2):
        tracker = Tracker(mlflow_url)
        close_orphans(settings, tracker)
        tracker.close()
    run_id = attempt.tracking()["run"]
    assert attempt.tracking()["closed"]
    assert client.get_run(run_id).info.status == "KILLED"
    (experiment,) = {one.info.experiment_id for one in [client.get_run(run_id)]}
    query = f"tags.`attune.spec_hash` = '{attempt.manifest().spec_hash}'"
    found = client.search_runs([experiment], query)
    assert [one.info.run_id for one in found].count(run_id) == 1


def test_a_tracker_without_mlflow_says_so_once_and_stops_nothing(tmp_path, caplog):
    attempt = an_attempt(tmp_path)
    tracker = Tracker("http://127.0.0.1:1")
    tracker.begin(attempt)
    attempt.write_outcome("SUCCEEDED")
    tracker.end(attempt)
    tracker.close()
    assert attempt.tracking() is None
    assert len([one for one in caplog.records if "MLflow at" in one.message]) == 1
