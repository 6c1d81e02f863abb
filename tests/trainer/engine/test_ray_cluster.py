"""A real Ray cluster of several machines on this one; their GPUs are made up, runs compute on CPU.

Everything that a run needs is real: actors, placement groups, processes, gloo, checkpoints.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest
import ray
from attune.scheduler.v1.scheduler_pb2 import PHASE_TRAIN
from attune.scheduler.v1.worker_pb2 import FinishRunRequest
from ray.cluster_utils import Cluster
from ray.util.placement_group import (
    placement_group,
    placement_group_table,
    remove_placement_group,
)

from services.common.artefacts import Artefacts
from services.common.errors import Unavailable
from services.trainer import wire
from services.trainer.attempt import LOG, METRICS, Attempt
from services.trainer.engine.cluster_head import ClusterHead
from services.trainer.engine.ray_cluster import NAMESPACE, RayEngine
from services.trainer.peers import SchedulerPeer
from services.trainer.run import ExitCode, Manifest, Phase
from services.trainer.settings import TrainerSettings
from services.trainer.supervisor import Supervisor
from services.trainer.worker import Worker
from tests.trainer import tiny
from tests.trainer.scheduler_server import SchedulerServer

pytestmark = pytest.mark.system

TIMEOUT_S = 240.0
SUPERVISOR = """
import asyncio, sys
from pathlib import Path
from services.trainer.attempt import Attempt
from services.trainer.engine.cluster_head import ClusterHead
from services.trainer.engine.ray_cluster import RayEngine
from services.trainer.settings import TrainerSettings

async def main():
    engine = await RayEngine.connected(TrainerSettings.model_validate_json(sys.argv[1]))
    await engine.devices()
    attempt = Attempt(Path(sys.argv[2]))
    await (await engine.start(attempt, attempt.manifest())).wait()

asyncio.run(main())
"""
STORE_BYTES = 80 * 1024 * 1024
"""Of a machine's object store, near the least that Ray takes; nothing is put there."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A head without devices, and two machines with two GPUs each."""
    head = {"num_cpus": 0, "num_gpus": 0, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head | {"object_store_memory": STORE_BYTES})
    for _ in range(2):
        add_node(made)
    # Every test goes to the cluster; going there and leaving it takes a second each.
    ray.init(address=made.address, namespace=NAMESPACE, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()
    ours = str(tmp_path_factory.getbasetemp())
    lines = [line_of(one) for one in psutil.process_iter()]
    assert not [line for line in lines if "services.trainer.engine" in line and ours in line]


def add_node(cluster: Cluster):
    # Ray makes up no more GPUs than are in sight, and the tests of this folder hide all.
    hidden = os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    try:
        return _add_node(cluster)
    finally:
        if hidden is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = hidden


def _add_node(cluster: Cluster):
    return cluster.add_node(num_cpus=2, num_gpus=2, object_store_memory=STORE_BYTES)


def line_of(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


class Bench:
    """A worker with the engine of the cluster, at its scheduler."""

    def __init__(self, root: Path, revision: str, cluster: Cluster) -> None:
        self.artefacts = Artefacts(root / "artefacts")
        self.revision = revision
        self.scheduler = SchedulerServer()
        self.settings = TrainerSettings(
            home=root / "home",
            artefacts=root / "artefacts",
            node="node-test",
            engine="ray",
            ray_address=cluster.address,
        )

    def spec(self, **changes: object):
        train = tiny.put_rows(self.artefacts, tiny.rows(72))
        holdout = tiny.put_rows(self.artefacts, tiny.rows(4))
        return tiny.a_spec(self.revision, train, holdout, **changes)

    def lease(self, fence: int = 1, size: int = 2, **changes: object):
        lease = tiny.a_lease(self.spec(**changes), fence)
        lease.placement.device_count = size
        lease.placement.parallel_plan.gradient_accumulation_steps //= size
        return lease

    def attempt(self, fence: int = 1) -> Attempt:
        return Attempt(self.artefacts.attempt("j1-s0", fence))

    def prepared(self, lease) -> tuple[Attempt, Manifest]:
        folder = self.artefacts.attempt("j1-s0", lease.fence)
        manifest = wire.manifest_from_lease(lease, self.settings, folder)
        return Attempt.create(folder, manifest), manifest

    @asynccontextmanager
    async def working(self, address: str) -> AsyncIterator[tuple[Worker, asyncio.Task[None]]]:
        peer = SchedulerPeer(address)
        engine = RayEngine(self.settings)
        worker = Worker(
            self.settings, peer, Supervisor(self.settings, peer, engine, tracker=None), engine
        )
        await engine.sweep(await worker.adopt())
        task = asyncio.create_task(worker.run())
        try:
            yield worker, task
        finally:
            task.cancel()
            await worker.stop()
            await peer.close()

    async def outcome(self) -> FinishRunRequest:
        return await asyncio.wait_for(self.scheduler.outcomes.get(), TIMEOUT_S)

    async def in_training(self, done: int = 2) -> None:
        await asyncio.wait_for(self.scheduler.until_phase(PHASE_TRAIN, done), TIMEOUT_S)


@pytest.fixture
def bench(tmp_path: Path, revision: str, cluster: Cluster) -> Bench:
    return Bench(tmp_path, revision, cluster)


async def until(condition) -> None:
    """Wait for what another process does; there is no event to await."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def groups() -> list[dict]:
    return [one for one in placement_group_table().values() if one["state"] != "REMOVED"]


def processes_of(attempt: Attempt) -> list[psutil.Process]:
    return [one for one in psutil.process_iter() if str(attempt.folder) in line_of(one)]


def steps(attempt: Attempt) -> list[int]:
    lines, _ = attempt.lines(METRICS, 0)
    return [line["step"] for line in lines if "loss" in line["values"]]


def logs(attempt: Attempt) -> str:
    return "\n".join(path.read_text()[-3000:] for path in attempt.folder.rglob(LOG))


async def test_a_lost_machine_costs_what_came_after_the_last_checkpoint(bench, cluster):
    # Two are left for the tests that follow.
    add_node(cluster)
    async with bench.scheduler.serving() as address, bench.working(address):
        await bench.scheduler.queue.put(bench.lease(1, epoch_count=5.0))
        await bench.in_training(10)
        # All devices of the cluster are offered, and those of the gang are taken.
        node = bench.scheduler.nodes[-1]
        assert (list(node.engines), len(node.devices)) == (["ray"], 6)
        assert {one.profile for one in node.devices} == {"cpu"}
        (group,) = groups()
        assert group["strategy"] == "STRICT_PACK"
        (machine,) = set(group["bundles_to_node_id"].values())
        assert len(group["bundles"]) == 2

        nodes = {one.node_id: one for one in cluster.worker_nodes}
        cluster.remove_node(nodes[machine], allow_graceful=False)
        lost = await bench.outcome()
        assert lost.outcome == FinishRunRequest.OUTCOME_LOST
        assert "machine of the cluster was lost" in lost.error.message
        assert bench.attempt(1).outcome() == "LOST"
        await until(lambda: not groups() and not processes_of(bench.attempt(1)))

        lease = bench.lease(2, epoch_count=5.0)
        assert lease.spec.hash == bench.attempt(1).manifest().spec_hash
        await bench.scheduler.queue.put(lease)
        done = await bench.outcome()
    assert done.outcome == FinishRunRequest.OUTCOME_SUCCEEDED, logs(bench.attempt(2))
    assert bench.artefacts.adapter(done.result.adapter_sha256).is_dir()
    resumed = bench.attempt(2).result(Phase.TRAIN)["resumed_step"]
    # Evaluations, and with them checkpoints, are 4 steps apart.
    assert max(steps(bench.attempt(1))) - 4 <= resumed <= max(steps(bench.attempt(1)))
    assert min(steps(bench.attempt(2))) > resumed
    assert groups() == []


async def test_a_run_outlives_its_supervisor_and_is_taken_up_by_the_next(bench):
    lease = bench.lease(1, size=1, epoch_count=8.0)
    attempt, _ = bench.prepared(lease)
    command = [sys.executable, "-c", SUPERVISOR, bench.settings.model_dump_json(), attempt.folder]
    supervisor = subprocess.Popen(command)  # noqa: ASYNC220  # It is to be killed.
    await until(lambda: len(steps(attempt)) >= 2)
    supervisor.kill()
    supervisor.wait()
    (process,) = processes_of(attempt)
    async with bench.scheduler.serving() as address, bench.working(address) as (worker, _):
        # Submitted once more while it runs, it is found again.
        engine = RayEngine(bench.settings)
        again = await engine.start(attempt, attempt.manifest())
        await until(lambda: bench.scheduler.renewals)
        assert bench.scheduler.renewals[0].progress.phase == PHASE_TRAIN
        assert processes_of(attempt) == [process]
        assert sum(worker._runs.values()) == 1
        request = await bench.outcome()
        # Whoever looks second finds all given back, and the result.
        assert await asyncio.wait_for(again.wait(), TIMEOUT_S) == ExitCode.SUCCEEDED
    assert request.outcome == FinishRunRequest.OUTCOME_SUCCEEDED, logs(attempt)
    assert (request.run, request.fence) == (lease.run, 1)
    assert steps(attempt) == list(range(1, 73))
    assert groups() == []


async def test_a_run_waits_for_devices_and_can_be_cancelled_meanwhile(bench):
    others = placement_group([{"GPU": 1.0}] * 4)
    engine = RayEngine(bench.settings)
    assert len(await engine.devices()) == 4
    await asyncio.to_thread(others.wait, TIMEOUT_S)
    try:
        await until_free(engine, 0)
        attempt, manifest = bench.prepared(bench.lease(1, size=2))
        run = await engine.start(attempt, manifest)
        await until(lambda: len(groups()) == 2)
        run.cancel()
        assert await asyncio.wait_for(run.wait(), TIMEOUT_S) == ExitCode.CANCELLED
    finally:
        remove_placement_group(others)
    await until(lambda: not groups())
    await until_free(engine, 4)
    # A run that waits for three devices leaves room for one more.
    assert await engine.free_slot_count(held=3) == 1


async def until_free(engine: RayEngine, count: int) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while await engine.free_slot_count(held=0) != count:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_a_head_that_is_away_costs_only_training(bench, cluster):
    engine = RayEngine(bench.settings.model_copy(update={"ray_address": "127.0.0.1:1"}))
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 does not answer.*Start it again"):
        await engine.devices()
    async with bench.scheduler.serving() as address:
        peer = SchedulerPeer(address)
        supervisor = Supervisor(bench.settings, peer, engine, tracker=None)
        worker = Worker(bench.settings, peer, supervisor, engine)
        working = asyncio.create_task(worker.run())
        await until(lambda: worker._trouble == "CLUSTER_AWAY")
        # It comes to itself once the head is there.
        engine._head = ClusterHead(cluster.address)
        await until(lambda: bench.scheduler.nodes)
        working.cancel()
        await worker.stop()
        await peer.close()


async def test_what_listens_but_is_no_cluster_is_refused_in_one_line(bench):
    settings = bench.settings.model_copy(update={"ray_address": "auto"})
    command = [sys.executable, "-c", SUPERVISOR, settings.model_dump_json(), "none"]
    elsewhere = os.environ | {"RAY_TMPDIR": str(bench.settings.home), "RAY_ADDRESS": "nonsense"}
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=False, env=elsewhere
    )
    assert done.returncode == 1
    assert "ATTUNE_TRAINER_RAY_ADDRESS='auto'" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
