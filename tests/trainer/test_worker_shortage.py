"""A run that takes more memory than it may, through the real scheduler and the real trainer."""

import asyncio
from pathlib import Path

import psutil
import pytest
from attune.scheduler.v1 import worker_pb2, worker_pb2_grpc

from services.common import rpc
from services.common.artefacts import Artefacts
from services.common.clock import SystemClock
from services.common.processes import ProcessFolder
from services.scheduler.approval import new_job
from services.scheduler.servicer_worker import WorkerServicer
from services.scheduler.state import FINAL, State
from services.trainer.attempt import PROGRESS, Attempt
from services.trainer.devices import offered
from services.trainer.engine.local import LocalEngine
from services.trainer.fork_server import ForkServer
from services.trainer.peers import SchedulerPeer
from services.trainer.run import Phase
from services.trainer.settings import TrainerSettings
from services.trainer.supervisor import Supervisor
from services.trainer.worker import Worker
from tests.scheduler.factories import a_scheduler, sqlite_url
from tests.trainer import tiny

pytestmark = pytest.mark.system

TIMEOUT_S = 300.0
WORKER = worker_pb2.DESCRIPTOR.services_by_name["WorkerService"].full_name


def an_approved_spec(artefacts: Artefacts, revision: str):
    """Return a spec whose rows are long, so that a large micro-batch takes much."""
    rows = tiny.rows(150)
    for row in rows:
        row["messages"][1]["content"] = " ".join([tiny.WORDS] * 10)
    train, holdout = tiny.put_rows(artefacts, rows), tiny.put_rows(artefacts, tiny.rows(6))
    spec = tiny.a_spec(
        revision, train, holdout, effective_batch_size=64, max_length=256, epoch_count=4.0
    )
    spec.data.train_row_count, spec.data.holdout_row_count = 150, 6
    spec.approval.revision = 1
    return spec


async def test_a_run_that_gets_too_little_memory_goes_on_with_a_smaller_plan_and_ends_well(
    tmp_path: Path, forks: ForkServer, artefacts: Artefacts, revision: str
):
    settings = TrainerSettings(
        home=tmp_path / "home", artefacts=artefacts.root, node="node-test", cpus="0"
    )
    scheduler = await a_scheduler(sqlite_url(tmp_path), SystemClock())
    server = rpc.Server("scheduler.attune")
    server.add(
        worker_pb2_grpc.add_WorkerServiceServicer_to_server,
        WorkerServicer(scheduler.dispatcher),
        WORKER,
    )
    peer = SchedulerPeer(f"127.0.0.1:{await server.start('127.0.0.1', 0)}")
    engine = LocalEngine(forks, offered("cpu"))
    worker = Worker(settings, peer, Supervisor(settings, peer, engine, tracker=None), engine)
    job = new_job(an_approved_spec(artefacts, revision), "j1", SystemClock().now())
    await scheduler.jobs.add(job, None)
    task = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(TIMEOUT_S):
            attempt = Attempt(artefacts.attempt("j1-s0", 1))
            while not in_training(attempt):  # noqa: ASYNC110  # Another process does it.
                await asyncio.sleep(0.01)
            first = await scheduler.jobs.get(job.name)
            record = ProcessFolder(settings.home).find("run-j1-s0")
            process = psutil.Process(record.pid)
            # It may have what it has and no byte more: the next large allocation fails.
            held = process.memory_info().vms
            process.rlimit(psutil.RLIMIT_AS, (held, held))
            ended = first
            while ended.state not in FINAL:
                await asyncio.sleep(0.05)
                ended = await scheduler.jobs.get(job.name)
    finally:
        task.cancel()
        await worker.stop()
        await peer.close()
        await server.stop()
        await scheduler.database.close()
    assert ended.state is State.SUCCEEDED, ended.state_reason
    (failed,) = ended.failed
    assert failed.micro_batch_size == first.layout.micro_batch_size
    assert "Ran out of memory" in failed.reason
    assert f"goes on with {failed.micro_batch_size // 2} x " in failed.reason
    assert ended.attempt_count == 2


def in_training(attempt: Attempt) -> bool:
    progress = attempt.lines(PROGRESS, 0)[0]
    return bool(progress) and progress[-1]["phase"] == Phase.TRAIN and progress[-1]["done"] > 0
