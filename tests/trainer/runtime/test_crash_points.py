"""A run killed at each named point, and the one that takes it up."""

import json
import os
import signal
from hashlib import sha256

import pytest

from services.common.artefacts import read_manifest
from services.trainer.attempt import LOG, METRICS, Attempt, list_attempts
from services.trainer.run import ExitCode, Phase
from services.trainer.runtime import crash_points
from services.trainer.runtime.crash_points import VARIABLE, CrashPoint, reach
from tests.trainer.short_runs import ShortRuns

LATER = [
    f"{CrashPoint.TRAIN_STEP}:4",
    f"{CrashPoint.CHECKPOINT_STAGED}:2",
    f"{CrashPoint.CHECKPOINT_SEALED}:2",
    f"{CrashPoint.CHECKPOINT_PRUNED}:4",
]
"""Places that a run comes by again, with checkpoints behind it."""


def trained_steps(attempt: Attempt) -> list[int]:
    return [one["step"] for one in attempt.lines(METRICS, 0)[0] if "loss" in one["values"]]


@pytest.mark.system
@pytest.mark.parametrize("point", [*map(str, CrashPoint), *LATER])
def test_a_run_killed_at_a_point_is_taken_up_to_the_same_weights(short_runs, whole_run, point):
    job = point.replace(".", "-").replace(":", "-")
    first, code = short_runs.finish(job, 1, crash_at=point)
    assert code == -signal.SIGKILL, f"{point} was not reached: {code}"
    whatever_is_there_is_whole(short_runs, first)

    second, code = short_runs.finish(job, 2)
    assert code == ExitCode.SUCCEEDED, (second.folder / LOG).read_text()
    whatever_is_there_is_whole(short_runs, second)
    assert short_runs.weights_sha256(second) == short_runs.weights_sha256(whole_run)
    assert list((short_runs.artefacts.root / "adapters").glob(".*.tmp")) == []
    # A checkpoint follows each step, so at most one step is done twice.
    assert len(set(trained_steps(first)) & set(trained_steps(second))) <= 1
    assert second.result(Phase.TRAIN)["step_count"] == 4


def whatever_is_there_is_whole(runs: ShortRuns, attempt: Attempt) -> None:
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
