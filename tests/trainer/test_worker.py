"""The worker with real runs, against a scheduler behind real gRPC."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from attune.scheduler.v1.scheduler_pb2 import PHASE_TRAIN
from attune.scheduler.v1.worker_pb2 import FinishRunRequest
from attune.spec.v1.stage_pb2 import Method, Technique

from services.common.artefacts import Artefacts
from services.common.processes import ProcessFolder
from services.scheduler.outcome import check_outcome
from services.trainer import supervisor as supervisor_module
from services.trainer.attempt import METRICS, Attempt
from services.trainer.devices import offered
from services.trainer.engine.local import LocalEngine
from services.trainer.fork_server import ForkServer
from services.trainer.peers import SchedulerPeer
from services.trainer.run import Phase
from services.trainer.settings import TrainerSettings
from services.trainer.supervisor import Supervisor
from services.trainer.worker import Worker, close_orphans
from tests.servers import free_port
from tests.trainer import tiny
from tests.trainer.scheduler_server import SchedulerServer

pytestmark = pytest.mark.system

TIMEOUT_S = 120.0


class Bench:
    """A worker at its scheduler."""

    def __init__(self, root: Path, forks: ForkServer, revision: str) -> None:
        self.artefacts = Artefacts(root / "artefacts")
        self.forks = forks
        self.revision = revision
        self.scheduler = SchedulerServer()
        self.settings = TrainerSettings(
            home=root / "home", artefacts=root / "artefacts", node="node-test", cpus="0"
        )

    def lease(self, fence: int = 1, **changes: object):
        train = tiny.put_rows(self.artefacts, tiny.rows(72))
        holdout = tiny.put_rows(self.artefacts, tiny.rows(6))
        return tiny.a_lease(tiny.a_spec(self.revision, train, holdout, **changes), fence)

    @asynccontextmanager
    async def working(self, address: str):
        peer = SchedulerPeer(address)
        engine = LocalEngine(self.forks, offered("cpu"))
        supervisor = Supervisor(self.settings, peer, engine, tracker=None)
        worker = Worker(self.settings, peer, supervisor, engine)
        task = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            task.cancel()
            await worker.stop()
            await peer.close()

    def attempt(self, fence: int = 1) -> Attempt:
        return Attempt(self.artefacts.attempt("j1-s0", fence))

    def run_pid(self) -> int:
        record = ProcessFolder(self.settings.home).find("run-j1-s0")
        assert record is not None
        return record.pid

    async def outcome(self) -> FinishRunRequest:
        return await asyncio.wait_for(self.scheduler.outcomes.get(), TIMEOUT_S)

    async def in_training(self, done: int = 2) -> None:
        await asyncio.wait_for(self.scheduler.until_phase(PHASE_TRAIN, done), TIMEOUT_S)


@pytest.fixture
def bench(tmp_path: Path, forks: ForkServer, revision: str) -> Bench:
    return Bench(tmp_path, forks, revision)


async def test_a_leased_run_is_executed_and_its_result_handed_in(bench):
    async with bench.scheduler.serving() as address, bench.working(address):
        lease = bench.lease()
        await bench.scheduler.queue.put(lease)
        request = await bench.outcome()
    assert (request.run, request.fence) == (lease.run, 1)
    assert request.outcome == FinishRunRequest.OUTCOME_SUCCEEDED
    assert bench.artefacts.adapter(request.result.adapter_sha256).is_dir()
    assert request.result.lora_rank == 8
    assert request.result.report.holdout_row_count == 6
    assert bench.attempt().outcome() == "SUCCEEDED"
    # Every phase was told of when it began, though the interval is longer than some last.
    phases = [renewal.progress.phase for renewal in bench.scheduler.renewals]
    assert set(phases) >= {int(phase) for phase in Phase}
    assert phases == sorted(phases)
    training = [one.progress for one in bench.scheduler.renewals if one.progress.phase == 3]
    assert training[-1].total_count == 18
    assert training[-1].loss > 0
    assert any(one.remaining_duration.ToMilliseconds() > 0 for one in training)


async def test_a_run_that_asks_hands_in_its_question_and_a_waiver_lets_it_go_on(bench):
    async with bench.scheduler.serving() as address, bench.working(address):
        lease = bench.lease()
        # A random model scores nothing, which is all that is wanted here.
        lease.spec.objective.success_criteria[0].target = 0.0
        await bench.scheduler.queue.put(lease)
        request = await bench.outcome()
        assert request.outcome == FinishRunRequest.OUTCOME_PAUSED
        check_outcome(request)
        assert request.question.reason == "TARGET_MET"
        assert {one.name for one in request.question.figures} >= {"base_score", "target"}
        assert bench.attempt().outcome() == "PAUSED"

        lease.fence = 2
        lease.waived_reasons.append(request.question.reason)
        await bench.scheduler.queue.put(lease)
        assert (await bench.outcome()).outcome == FinishRunRequest.OUTCOME_SUCCEEDED


async def test_the_node_says_what_it_has_and_whether_it_is_free(bench):
    async with bench.scheduler.serving() as address, bench.working(address):
        await bench.scheduler.queue.put(bench.lease(epoch_count=100.0))
        await bench.in_training()
        async with asyncio.timeout(TIMEOUT_S):
            while len(bench.scheduler.nodes) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    first, second = bench.scheduler.nodes[:2]
    assert (first.id, first.core_count, first.free_slot_count) == ("node-test", 1, 1)
    assert second.free_slot_count == 0
    assert first.instance == second.instance
    assert set(first.techniques) >= {Technique.TECHNIQUE_SFT, Technique.TECHNIQUE_DPO}
    # No QLoRA: there is no GPU.
    assert list(first.methods) == [Method.METHOD_LORA, Method.METHOD_DORA, Method.METHOD_FULL]
    assert [one.profile for one in first.devices] == ["cpu"]
    (model,) = first.base_models
    assert (model.id, model.revision) == (tiny.MODEL, bench.revision)
    assert 50_000 < model.parameter_count < 200_000


async def test_a_lost_lease_stops_the_run_and_nothing_more_is_written(bench):
    async with bench.scheduler.serving() as address, bench.working(address):
        await bench.scheduler.queue.put(bench.lease(epoch_count=100.0))
        await bench.in_training()
        pid = bench.run_pid()
        bench.scheduler.lost = True
        async with asyncio.timeout(TIMEOUT_S):
            while psutil.pid_exists(pid) or bench.attempt().outcome() is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert bench.attempt().outcome() == "LOST"
    assert bench.attempt().result(Phase.TRAIN) is None
    assert bench.scheduler.outcomes.empty()


async def test_cancel_in_an_answer_ends_the_run_as_cancelled(bench):
    async with bench.scheduler.serving() as address, bench.working(address):
        await bench.scheduler.queue.put(bench.lease(epoch_count=100.0))
        await bench.in_training()
        bench.scheduler.cancel = True
        request = await bench.outcome()
    assert request.outcome == FinishRunRequest.OUTCOME_CANCELLED
    assert not request.HasField("error")
    assert bench.attempt().outcome() == "CANCELLED"


async def test_pause_in_an_answer_ends_the_run_as_paused_and_a_later_lease_completes_it(bench):
    async with bench.scheduler.serving() as address, bench.working(address):
        await bench.scheduler.queue.put(bench.lease(epoch_count=4.0))
        await bench.in_training()
        bench.scheduler.pause = True
        request = await bench.outcome()
        assert request.outcome == FinishRunRequest.OUTCOME_PAUSED
        assert not request.HasField("error")
        assert bench.attempt().outcome() == "PAUSED"
        bench.scheduler.pause = False
        await bench.scheduler.queue.put(bench.lease(fence=2, epoch_count=4.0))
        request = await bench.outcome()
    assert (request.fence, request.outcome) == (2, FinishRunRequest.OUTCOME_SUCCEEDED)
    assert bench.attempt(2).result(Phase.TRAIN)["resumed_step"] > 0


async def test_a_killed_run_is_handed_back_as_lost_and_the_next_attempt_succeeds(bench):
    async with bench.scheduler.serving() as address, bench.working(address):
        await bench.scheduler.queue.put(bench.lease(epoch_count=4.0))
        await bench.in_training()
        os.kill(bench.run_pid(), signal.SIGKILL)
        request = await bench.outcome()
        assert request.outcome == FinishRunRequest.OUTCOME_LOST
        assert "signal 9" in request.error.message
        await bench.scheduler.queue.put(bench.lease(fence=2, epoch_count=4.0))
        request = await bench.outcome()
    assert (request.fence, request.outcome) == (2, FinishRunRequest.OUTCOME_SUCCEEDED)


async def test_a_failed_run_is_handed_in_with_its_reason(bench):
    lease = bench.lease()
    lease.placement.parallel_plan.micro_batch_size = 3
    async with bench.scheduler.serving() as address, bench.working(address):
        await bench.scheduler.queue.put(lease)
        request = await bench.outcome()
    assert request.outcome == FinishRunRequest.OUTCOME_FAILED
    assert "approved batch has 8" in request.error.message
    assert b"BATCH_MISMATCH" in request.error.details[0].value


async def test_stopping_the_service_lets_the_run_save_and_hands_it_back(bench):
    async with bench.scheduler.serving() as address:
        async with bench.working(address):
            await bench.scheduler.queue.put(bench.lease(epoch_count=100.0))
            await bench.in_training()
            pid = bench.run_pid()
        request = await bench.outcome()
    assert request.outcome == FinishRunRequest.OUTCOME_LOST
    assert request.error.message == "The trainer stops."
    assert not psutil.pid_exists(pid)
    assert ProcessFolder(bench.settings.home).find("run-j1-s0") is None
    # Every step that was told of lies before a checkpoint: nothing will be done twice.
    lines = bench.attempt().lines(METRICS, 0)[0]
    last = max(line["step"] for line in lines if "loss" in line["values"])
    newest = max(bench.attempt().checkpoints.glob("step-*"))
    assert newest.name >= f"step-{last:08d}"


async def test_a_run_outlives_a_scheduler_that_restarts(bench):
    port = free_port()
    async with bench.working(f"127.0.0.1:{port}"):
        async with bench.scheduler.serving(port):
            await bench.scheduler.queue.put(bench.lease())
            await asyncio.wait_for(bench.scheduler.until_phase(1), TIMEOUT_S)
        async with asyncio.timeout(TIMEOUT_S):
            while bench.attempt().outcome() is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        async with bench.scheduler.serving(port):
            request = await bench.outcome()
    assert request.outcome == FinishRunRequest.OUTCOME_SUCCEEDED


async def test_a_run_is_given_up_when_the_scheduler_stays_away(bench, monkeypatch):
    async with bench.working("127.0.0.1:1") as worker:
        monkeypatch.setattr(supervisor_module, "AWAY_MAX_S", 1.0)
        await asyncio.wait_for(
            worker._supervisor.execute(bench.lease(epoch_count=100.0)), TIMEOUT_S
        )
    assert bench.attempt().outcome() == "LOST"
    assert bench.attempt().result(Phase.REGISTER) is None


async def test_what_an_earlier_service_left_behind_is_ended_and_closed(bench):
    lease = bench.lease(epoch_count=100.0)
    manifest = tiny.a_manifest(bench.artefacts.root.parent, lease.spec)
    attempt = Attempt.create(bench.artefacts.attempt("j1-s0", 1), manifest)
    run = await bench.forks.start_run(attempt.folder)
    async with asyncio.timeout(TIMEOUT_S):
        while not attempt.phases():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await asyncio.to_thread(close_orphans, bench.settings, None)
    await asyncio.wait_for(run.wait(), TIMEOUT_S)
    assert attempt.outcome() == "LOST"
    assert ProcessFolder(bench.settings.home).find("run-j1-s0") is None


async def test_attempts_of_other_machines_are_left_alone(bench):
    spec = bench.lease().spec
    manifest = tiny.a_manifest(bench.artefacts.root.parent, spec)
    other = Attempt.create(bench.artefacts.attempt("j1-s0", 1), manifest)
    settings = bench.settings.model_copy(update={"node": "node-other"})
    close_orphans(settings, None)
    assert other.outcome() is None
