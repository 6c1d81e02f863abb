"""Real runs that run out of memory, and go on with another layout from their checkpoint."""

import asyncio
import json
import os
import signal
from pathlib import Path

import psutil
import pytest
from attune.scheduler.v1.scheduler_pb2 import PHASE_TRAIN
from attune.scheduler.v1.worker_pb2 import FinishRunRequest

from services.common.artefacts import Artefacts
from services.trainer.attempt import LOG, METRICS, PROGRESS, Attempt
from services.trainer.fork_server import ForkServer
from services.trainer.run import ExitCode, Phase
from services.trainer.supervisor import outcome
from tests.trainer import tiny

pytestmark = pytest.mark.system

TIMEOUT_S = 300.0
MIB = 1024**2


class Runs:
    """Starts attempts at one run, each with its own layout."""

    def __init__(self, root: Path, forks: ForkServer, revision: str) -> None:
        self.root, self.forks, self.revision = root, forks, revision
        self.artefacts = Artefacts(root / "artefacts")

    def spec(self, rows, **changes):
        train = tiny.put_rows(self.artefacts, rows)
        holdout = tiny.put_rows(self.artefacts, tiny.rows(10))
        return tiny.a_spec(self.revision, train, holdout, **changes)

    async def start(self, spec, placement, fence=1):
        manifest = tiny.a_manifest(self.root, spec, fence, placement)
        attempt = Attempt.create(self.artefacts.attempt(manifest.run_id, fence), manifest)
        return attempt, await self.forks.start_run(attempt.folder)

    async def finish(self, spec, placement, fence=1):
        attempt, run = await self.start(spec, placement, fence)
        return attempt, await asyncio.wait_for(run.wait(), TIMEOUT_S)


@pytest.fixture
def runs(tmp_path: Path, forks: ForkServer, revision: str) -> Runs:
    return Runs(tmp_path, forks, revision)


def long_rows(count):
    """Rows of about 200 tokens, nearly all of them learnt."""
    rows = tiny.rows(count)
    for row in rows:
        row["messages"][1]["content"] = " ".join([tiny.WORDS] * 10)
    return rows


def trained_steps(attempt):
    return [one["step"] for one in attempt.lines(METRICS, 0)[0] if "loss" in one["values"]]


def layout_of(attempt, step):
    """Return the rows of a pass as the trainer library wrote them into a checkpoint."""
    file = attempt.checkpoints / f"step-{step:08d}" / "trainer_state.json"
    return json.loads(file.read_text())["train_batch_size"]


async def until(condition):
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110  # Another process does it.
            await asyncio.sleep(0.01)


async def test_another_layout_goes_on_from_the_checkpoint_to_the_same_weights(runs, tmp_path):
    """Were the accumulation new and the micro-batch old, a step would see four times the rows."""
    from safetensors.torch import load_file

    spec = runs.spec(tiny.rows(72))
    whole, code = await runs.finish(spec, tiny.a_placement(8, 1))
    assert code == ExitCode.SUCCEEDED
    expected = whole.result(Phase.TRAIN)
    runs.artefacts.run("j1-s0").rename(tmp_path / "whole")

    first, run = await runs.start(spec, tiny.a_placement(8, 1))
    await until(lambda: (first.checkpoints / "step-00000008" / "MANIFEST.json").exists())
    os.kill(run.pid, signal.SIGKILL)
    await run.wait()
    placement = tiny.a_placement(2, 4, checkpointing=True)
    second, code = await runs.finish(spec, placement, fence=2)
    assert code == ExitCode.SUCCEEDED, (second.folder / LOG).read_text()
    found = second.result(Phase.TRAIN)
    assert found["resumed_step"] >= 8
    assert trained_steps(second) == list(range(found["resumed_step"] + 1, 19))
    assert layout_of(second, 18) == 2
    assert layout_of(first, found["resumed_step"]) == 8
    assert found["best_step"] == expected["best_step"]
    # A loss on the validation rows is a mean over passes, so it depends a little on their size.
    assert found["best_eval_loss"] == pytest.approx(expected["best_eval_loss"], rel=2e-3)
    one, other = (
        load_file(folder / "step-00000018" / "adapter_model.safetensors")
        for folder in (
            tmp_path / "whole" / "attempt-000001" / "checkpoints",
            second.checkpoints,
        )
    )
    assert one.keys() == other.keys()
    assert max(float((one[name] - other[name]).abs().max()) for name in one) < 1e-6


async def test_a_finished_run_says_what_training_took_and_how(runs):
    spec = runs.spec(tiny.rows(72))
    attempt, _ = await runs.finish(spec, tiny.a_placement())
    lease = tiny.a_lease(spec)
    request = outcome(lease, attempt, ExitCode.SUCCEEDED)
    assert request.outcome == FinishRunRequest.OUTCOME_SUCCEEDED
    assert request.memory.phase == PHASE_TRAIN
    assert request.memory.profile == "cpu"
    assert request.memory.parallel_plan == lease.placement.parallel_plan
    assert 200 * MIB < request.memory.peak_bytes < 8000 * MIB
    assert 5 < request.memory.max_token_count <= 64


async def test_a_run_that_gets_too_little_goes_on_smaller_from_its_checkpoint(runs):
    """A real limit on the address space, halfway between what the two layouts need."""
    spec = runs.spec(
        long_rows(150),
        effective_batch_size=128,
        max_length=256,
        epoch_count=4.0,
        evaluations_per_epoch=1,
    )
    first, run = await runs.start(spec, tiny.a_placement(128, 1))
    process, sizes = psutil.Process(run.pid), []

    def trains():
        progress = first.lines(PROGRESS, 0)[0]
        return bool(progress) and progress[-1]["phase"] == Phase.TRAIN

    await until(trains)
    while not (first.checkpoints / "step-00000002" / "MANIFEST.json").exists():
        sizes.append(process.memory_info().vms)
        await asyncio.sleep(0.002)
    limit = (min(sizes) + max(sizes)) // 2
    assert max(sizes) - min(sizes) > 100 * MIB
    process.rlimit(psutil.RLIMIT_AS, (limit, limit))
    code = await asyncio.wait_for(run.wait(), TIMEOUT_S)
    request = outcome(tiny.a_lease(spec), first, code)
    assert request.outcome == FinishRunRequest.OUTCOME_OUT_OF_MEMORY, (
        first.folder / LOG
    ).read_text()
    memory = request.memory
    assert memory.phase == PHASE_TRAIN
    assert memory.step_count >= memory.checkpoint_step_count >= 2
    assert memory.peak_bytes > 200 * MIB
    assert 150 < memory.max_token_count <= 256

    second, run = await runs.start(spec, tiny.a_placement(8, 16), fence=2)
    process = psutil.Process(run.pid)
    process.rlimit(psutil.RLIMIT_AS, (limit, limit))
    code = await asyncio.wait_for(run.wait(), TIMEOUT_S)
    assert code == ExitCode.SUCCEEDED, (second.folder / LOG).read_text()
    result = second.result(Phase.TRAIN)
    assert result["resumed_step"] == memory.checkpoint_step_count
    assert layout_of(second, result["step_count"]) == 8
