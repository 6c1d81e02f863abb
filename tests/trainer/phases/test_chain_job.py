"""A job of SFT and then DPO: a real scheduler, a real worker, real runs over real gRPC."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from attune.scheduler.v1 import worker_pb2, worker_pb2_grpc
from attune.scheduler.v1.scheduler_pb2 import PHASE_TRAIN
from attune.spec.v1.evaluation_pb2 import EvaluationReport

from services.common import rpc
from services.common.artefacts import Artefacts, read_manifest
from services.common.clock import SystemClock
from services.common.processes import ProcessFolder
from services.scheduler.approval import new_job
from services.scheduler.servicer_worker import WorkerServicer
from services.scheduler.state import FINAL, State
from services.trainer.attempt import LOG, MESSAGES, Attempt
from services.trainer.devices import offered
from services.trainer.engine.local import LocalEngine
from services.trainer.peers import SchedulerPeer
from services.trainer.run import Phase
from services.trainer.settings import TrainerSettings
from services.trainer.supervisor import Supervisor
from services.trainer.worker import Worker
from tests.scheduler.factories import a_scheduler, sqlite_url
from tests.trainer import tiny

pytestmark = pytest.mark.system

TIMEOUT_S = 180.0
JOB = "c1"


@pytest.fixture
async def site(tmp_path, forks):
    """A scheduler that listens, and a trainer at it."""
    scheduler = await a_scheduler(sqlite_url(tmp_path), SystemClock())
    settings = TrainerSettings(
        home=tmp_path / "home", artefacts=tmp_path / "artefacts", node="node-test", cpus="0"
    )
    async with _listening(scheduler) as address:
        peer = SchedulerPeer(address)
        engine = LocalEngine(forks, offered("cpu"))
        worker = Worker(settings, peer, Supervisor(settings, peer, engine, tracker=None), engine)
        task = asyncio.create_task(worker.run())
        yield SimpleNamespace(scheduler=scheduler, settings=settings)
        task.cancel()
        await worker.stop()
        await peer.close()
    await scheduler.database.close()


@asynccontextmanager
async def _listening(scheduler):
    server = rpc.Server("scheduler.attune")
    server.add(
        worker_pb2_grpc.add_WorkerServiceServicer_to_server,
        WorkerServicer(scheduler.dispatcher),
        worker_pb2.DESCRIPTOR.services_by_name["WorkerService"].full_name,
    )
    port = await server.start("127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        scheduler.changes.close()
        await server.stop()


def a_chain(artefacts, revision):
    train = tiny.put_rows(artefacts, tiny.pairs(72))
    holdout = tiny.put_rows(artefacts, tiny.pairs(9))
    spec = tiny.a_preference_spec(revision, train, holdout, after_sft=True)
    spec.data.train_row_count, spec.data.holdout_row_count = 72, 9
    spec.stages[0].hyperparameters.learning_rate = 1e-2
    spec.stages[1].hyperparameters.learning_rate = 1e-3
    spec.approval.revision = 1
    spec = tiny.approved(spec)
    spec.approval.revision = 1
    return spec


async def until(scheduler, name, holds):
    async with asyncio.timeout(TIMEOUT_S):
        while not holds(job := await scheduler.jobs.get(name)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return job


async def test_a_job_of_two_stages_ends_with_one_adapter_though_its_second_run_is_killed(
    site, artefacts, revision
):
    spec, scheduler = a_chain(artefacts, revision), site.scheduler
    job = new_job(spec, JOB, scheduler.clock.now())
    assert await scheduler.jobs.add(job, None)

    def is_trained(job):
        progress = job.progress
        at = job.stage_index == 1 and progress is not None and progress.phase == PHASE_TRAIN
        return at or job.state in FINAL

    await until(scheduler, job.name, is_trained)
    record = ProcessFolder(site.settings.home).find(f"run-{JOB}-s1")
    assert record is not None, logs(artefacts)
    os.kill(record.pid, signal.SIGKILL)
    ended = await until(scheduler, job.name, lambda job: job.state in FINAL)
    assert ended.state is State.SUCCEEDED, ended.state_reason + logs(artefacts)
    # The first stage ran once, the second one twice.
    assert (ended.stage_index, ended.attempt_count, ended.loss_count) == (1, 3, 1)
    sft, dpo = (one.adapter_sha256 for one in ended.stage_results)
    assert ended.result.adapter_sha256 == dpo != sft
    check_lineage(artefacts, sft, dpo)
    second = Attempt(artefacts.attempt(f"{JOB}-s1", 3))
    assert second.result(Phase.VALIDATE)["train_row_count"] == 65
    check_scores(second, ended.result.report, ended.stage_results[0].report, sft)


def check_lineage(artefacts, sft, dpo):
    """Both are whole adapters over the original base; the second names the first."""
    first, second = (read_manifest(artefacts.adapter(one)) for one in (sft, dpo))
    assert "base_adapter_sha256" not in first
    assert second["base_adapter_sha256"] == sft
    assert (first["stage_index"], second["stage_index"]) == (0, 1)
    assert first["base_model_revision"] == second["base_model_revision"]
    assert (artefacts.adapter(dpo) / "adapter_model.safetensors").is_file()


def check_scores(attempt, report, first_report, sft):
    """The report compares with the base and with the stage before."""
    assert report.base_score == first_report.base_score
    before = report.previous_stage
    assert (before.adapter_sha256, before.score) == (sft, first_report.tuned_score)
    assert before.difference == pytest.approx(report.tuned_score - before.score)
    assert before.verdict != EvaluationReport.VERDICT_WORSE
    begun = attempt.result(Phase.BASELINE)["preference"]
    tuned = attempt.result(Phase.EVALUATE)["preference"]
    assert begun["pair_count"] == tuned["pair_count"] == 9
    assert tuned["reward_accuracy"] > 0.5
    assert tuned["reward_margin"] > 0
    said = "\n".join(line["text"] for line in attempt.lines(MESSAGES, 0)[0])
    assert "Of 9 unseen pairs the preferred answer is the likelier one" in said


def logs(artefacts: Artefacts) -> str:
    """Return what the runs have logged last."""
    found = sorted((artefacts.root / "runs").rglob(LOG))
    return "".join(f"\n{path}\n{path.read_text()[-2000:]}" for path in found)
