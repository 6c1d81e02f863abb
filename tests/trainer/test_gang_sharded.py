"""FSDP2 over gloo in two real processes, against one process that holds everything."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from attune.spec.v1.compute_pb2 import ParallelPlan

from services.trainer.attempt import MESSAGES, Attempt
from services.trainer.gang import Gang
from services.trainer.phases.train import SHARDED, _resumable
from services.trainer.runtime.checkpoint import Checkpoint
from tests.servers import free_port

pytestmark = pytest.mark.system

SCRIPT = "tests.trainer.sharded_rank"
TIMEOUT_S = 120.0
TOLERANCE = 1e-4


def train(folder: Path, size: int, resume_from: Path | None = None) -> dict:
    port, given = str(free_port()), [str(resume_from)] if resume_from else []
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", SCRIPT, str(rank), str(size), str(folder), port, *given],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    try:
        said = [process.communicate(timeout=TIMEOUT_S)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * size, said[0][-3000:]
    return json.loads((folder / f"notes-{size}.json").read_text())


def test_sharded_training_has_the_losses_of_one_process_and_goes_on(tmp_path, saved_model):
    shutil.copytree(saved_model, tmp_path / "model")
    whole = train(tmp_path, 1)
    sharded = train(tmp_path, 2)
    assert sharded["losses"] == pytest.approx(whole["losses"], abs=TOLERANCE)
    assert len(sharded["losses"]) == 10
    # The mark by which TRAIN tells the two kinds of checkpoints apart.
    assert all(SHARDED in names for names in sharded["checkpoints"].values())
    assert not any(SHARDED in names for names in whole["checkpoints"].values())
    assert all("adapter_model.safetensors" in names for names in sharded["checkpoints"].values())

    (tmp_path / "scratch-2" / "checkpoint-4").rename(tmp_path / "checkpoint-4")
    again = train(tmp_path, 2, tmp_path / "checkpoint-4")
    assert again["begin"] == 4
    rest = {step: loss for step, loss in whole["losses"].items() if int(step) > 4}
    assert again["losses"] == pytest.approx(rest, abs=TOLERANCE)


def test_a_checkpoint_laid_out_otherwise_is_passed_over_with_a_word(tmp_path):
    found = []
    for step, name in ((8, SHARDED), (4, "optimizer.pt")):
        folder = tmp_path / f"step-{step}"
        folder.mkdir()
        (folder / name).touch()
        found.append(Checkpoint(folder, step, 1, 0.5))
    attempt = Attempt(tmp_path)
    alone = SimpleNamespace(gang=None, plan=ParallelPlan(), attempt=attempt)
    assert [one.step for one in _resumable(alone, found)] == [4]
    (said,) = attempt.lines(MESSAGES, 0)[0]
    assert "step 8 was written with weights sharded" in said["text"]
    assert "goes on from step 4" in said["text"]
    plan = ParallelPlan(sharding=ParallelPlan.SHARDING_FSDP)
    both = SimpleNamespace(gang=Gang(0, 2, 0, "h"), plan=plan, attempt=attempt)
    assert [one.step for one in _resumable(both, found)] == [8]
    assert len(attempt.lines(MESSAGES, 0)[0]) == 1
