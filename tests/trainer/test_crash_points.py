"""A run killed at each named point, and the one that takes it up."""

import json
import os
import signal
from hashlib import sha256
from pathlib import Path

import pytest

from services.common.artefacts import Artefacts, read_manifest
from services.trainer import crash_points
from services.trainer.attempt import LOG, METRICS, Attempt, list_attempts
from services.trainer.crash_points import VARIABLE, CrashPoint, reach
from services.trainer.fork_server import ForkServer
from services.trainer.register import WEIGHTS
from services.trainer.run import ExitCode, Phase
from tests.trainer import crashing, tiny

LATER = [
    f"{CrashPoint.TRAIN_STEP}:4",
    f"{CrashPoint.CHECKPOINT_STAGED}:2",
    f"{CrashPoint.CHECKPOINT_SEALED}:2",
    f"{CrashPoint.CHECKPOINT_PRUNED}:4",
]
"""Places that a run comes by again, with checkpoints behind it."""


class Runs:
    """Attempts at one short run: four steps, a checkpoint after each."""

    def __init__(self, root: Path, saved_model: Path) -> None:
        self.root = root
        self.artefacts = Artefacts(root / "artefacts")
        revision = tiny.put_model(self.artefacts, saved_model)
        train = tiny.put_rows(self.artefacts, tiny.rows(36))
        holdout = tiny.put_rows(self.artefacts, tiny.rows(4))
        self.spec = tiny.a_spec(revision, train, holdout, epoch_count=1.0, evaluations_per_epoch=4)
        # So that a wrong random state after resuming would show in the weights.
        self.spec.stages[0].hyperparameters.lora.dropout = 0.2
        self.spec.evaluation.max_answer_tokens = 2
        self.spec.evaluation.bootstrap_resample_count = 100

    def attempt(self, job: str, fence: int, crash_at: str = "") -> tuple[Attempt, int]:
        manifest = tiny.a_manifest(self.root, self.spec, fence, job=job)
        folder = self.artefacts.attempt(manifest.run_id, fence)
        attempt = Attempt.create(folder, manifest)
        return attempt, crashing.finish(crashing.run, folder, crash_at)

    def weights_sha256(self, attempt: Attempt) -> str:
        folder = self.artefacts.adapter(attempt.result(Phase.REGISTER)["adapter_sha256"])
        assert read_manifest(folder) is not None
        return sha256((folder / WEIGHTS).read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, forks: ForkServer, saved_model: Path) -> Runs:
    return Runs(tmp_path_factory.mktemp("crashes"), saved_model)


@pytest.fixture(scope="module")
def unkilled(runs: Runs) -> str:
    """Hash of the weights of a run that nothing happened to."""
    attempt, code = runs.attempt("whole", 1)
    assert code == ExitCode.SUCCEEDED, (attempt.folder / LOG).read_text()
    return runs.weights_sha256(attempt)


def trained_steps(attempt: Attempt) -> list[int]:
    return [one["step"] for one in attempt.lines(METRICS, 0)[0] if "loss" in one["values"]]


@pytest.mark.system
@pytest.mark.parametrize("point", [*map(str, CrashPoint), *LATER])
def test_a_run_killed_at_a_point_is_taken_up_to_the_same_weights(runs, unkilled, point):
    job = point.replace(".", "-").replace(":", "-")
    first, code = runs.attempt(job, 1, point)
    assert code == -signal.SIGKILL, f"{point} was not reached: {code}"
    whatever_is_there_is_whole(runs, first)

    second, code = runs.attempt(job, 2)
    assert code == ExitCode.SUCCEEDED, (second.folder / LOG).read_text()
    whatever_is_there_is_whole(runs, second)
    assert runs.weights_sha256(second) == unkilled
    # A checkpoint follows each step, so at most one step is done twice.
    assert len(set(trained_steps(first)) & set(trained_steps(second))) <= 1
    assert second.result(Phase.TRAIN)["step_count"] == 4


def whatever_is_there_is_whole(runs: Runs, attempt: Attempt) -> None:
    """Look at all that others read: nothing half written has a name that they look for."""
    for one in list_attempts(attempt.folder.parent):
        for folder in one.checkpoints.glob("step-*"):
            assert read_manifest(folder) is not None, folder
        for phase in Phase:
            path = one.folder / f"{phase.key}.json"
            assert not path.exists() or isinstance(json.loads(path.read_text()), dict)
    for folder in (runs.artefacts.root / "adapters").glob("[!.]*"):
        assert read_manifest(folder) is not None, folder
        assert sha256((folder / "MANIFEST.json").read_bytes()).hexdigest() == folder.name


def test_a_point_kills_at_the_time_that_is_asked_for_and_no_other(monkeypatch):
    killed = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((pid, number)))
    monkeypatch.setattr(crash_points, "_reached", crash_points.Counter())
    reach(CrashPoint.TRAIN_STEP)
    monkeypatch.setenv(VARIABLE, "train.step:2")
    reach(CrashPoint.TRAIN_STEP)
    reach(CrashPoint.TRAIN_PLANNED)
    assert killed == []
    reach(CrashPoint.TRAIN_STEP)
    assert killed == [(os.getpid(), signal.SIGKILL)]


def test_a_point_that_does_not_exist_is_refused(monkeypatch):
    monkeypatch.setenv(VARIABLE, "train.lunch")
    with pytest.raises(ValueError, match=r"train\.lunch"):
        reach(CrashPoint.TRAIN_STEP)
