"""Two real processes that train one run, against one process."""

import asyncio
from pathlib import Path

import pytest
from attune.spec.v1.compute_pb2 import ParallelPlan

from services.common.artefacts import Artefacts
from services.trainer.attempt import LOG, METRICS, Attempt
from services.trainer.fork_server import ForkServer
from services.trainer.gang import Gang, take_gang
from services.trainer.run import ExitCode, Phase
from tests.trainer import tiny

pytestmark = pytest.mark.system

TIMEOUT_S = 120.0
TOLERANCE = 1e-4
"""Of losses of about 6 nats in float32: sums are taken in another order."""


class Runs:
    """Starts attempts at one run, in as many processes as their placement has devices."""

    waived_reasons: tuple[str, ...] = ()

    def __init__(self, root: Path, forks: ForkServer, revision: str) -> None:
        self.root = root
        self.artefacts = Artefacts(root / "artefacts")
        self.forks = forks
        self.revision = revision

    def spec(self, **changes: object):
        train = tiny.put_rows(self.artefacts, tiny.rows(72))
        holdout = tiny.put_rows(self.artefacts, tiny.rows(4))
        return tiny.a_spec(self.revision, train, holdout, **changes)

    async def start(
        self, spec, size: int, fence: int = 1, job: str = "j1", sharding=None, rows: int = 8
    ):
        placement = tiny.a_placement(size=2, steps=rows // (2 * size))
        placement.device_count = size
        if sharding is not None:
            placement.parallel_plan.sharding = sharding
        waived = self.waived_reasons
        manifest = tiny.a_manifest(self.root, spec, fence, placement, waived_reasons=waived)
        manifest = type(manifest)(**{**vars(manifest), "run": f"projects/default/runs/{job}-s0"})
        attempt = Attempt.create(self.artefacts.attempt(manifest.run_id, fence), manifest)
        gangs = [Gang(rank, size, 0, "127.0.0.1") for rank in range(size)] if size > 1 else []
        environments = [gang.environment() for gang in gangs] or [{}]
        return attempt, [await self.forks.start_run(attempt.folder, one) for one in environments]

    async def finish(self, *args, **options):
        attempt, processes = await self.start(*args, **options)
        async with asyncio.timeout(TIMEOUT_S):
            codes = await asyncio.gather(*(one.wait() for one in processes))
        assert codes == [ExitCode.SUCCEEDED] * len(codes), logs(attempt)
        return attempt


@pytest.fixture
def runs(tmp_path: Path, forks: ForkServer, revision: str) -> Runs:
    return Runs(tmp_path, forks, revision)


def logs(attempt: Attempt) -> str:
    return "\n".join(path.read_text()[-3000:] for path in attempt.folder.rglob(LOG))


def curve(attempt: Attempt, name: str) -> dict[int, float]:
    lines, _ = attempt.lines(METRICS, 0)
    return {line["step"]: line["values"][name] for line in lines if name in line["values"]}


async def test_two_processes_have_the_loss_curve_of_one(runs):
    # 65 rows are learnt: neither a micro-batch nor a step divides them.
    spec = runs.spec()
    alone = await runs.finish(spec, 1, job="j1")
    both = await runs.finish(spec, 2, job="j2")
    expected, found = curve(alone, "loss"), curve(both, "loss")
    assert len(found) == 18
    assert found == pytest.approx(expected, abs=TOLERANCE)
    assert curve(both, "eval_loss") == pytest.approx(curve(alone, "eval_loss"), abs=TOLERANCE)
    # One process writes what is kept; the other one has a folder of its own.
    assert [timing.phase for timing in both.phases()] == list(Phase)
    follower = Attempt(both.folder / "rank-1")
    assert curve(follower, "loss") == {}
    assert [timing.phase for timing in follower.phases()] == [Phase.TRAIN]
    assert not follower.checkpoints.exists()
    assert not (both.folder / "scratch").exists()


async def test_a_halted_run_goes_on_with_another_number_of_processes(runs):
    spec = runs.spec()
    expected = curve(await runs.finish(spec, 1, job="j2"), "loss")
    attempts = []
    for fence, size in ((1, 2), (2, 1)):
        attempt, processes = await runs.start(spec, size, fence)
        await until(lambda attempt=attempt: len(curve(attempt, "loss")) >= 3)
        processes[0].pause()
        followers = [ExitCode.CANCELLED] * (size - 1)
        assert await ended(processes) == [ExitCode.PAUSED, *followers], logs(attempt)
        attempts.append(attempt)
    attempts.append(await runs.finish(spec, 2, fence=3))
    # Whatever the number of processes, the order of the rows is that of the seed.
    pieces = [curve(attempt, "loss") for attempt in attempts]
    assert attempts[2].result(Phase.TRAIN)["resumed_step"] == max(pieces[1]) < 18
    assert min(pieces[1]) == max(pieces[0]) + 1
    assert min(pieces[2]) == max(pieces[1]) + 1
    found = {**pieces[0], **pieces[1], **pieces[2]}
    assert found == pytest.approx(expected, abs=TOLERANCE)


async def test_cancelling_the_first_process_ends_all_within_the_step(runs):
    attempt, processes = await runs.start(runs.spec(epoch_count=100.0), 2)
    await until(lambda: len(curve(attempt, "loss")) >= 2)
    processes[0].cancel()
    assert await ended(processes) == [ExitCode.CANCELLED, ExitCode.CANCELLED]
    assert attempt.result(Phase.TRAIN) is None


async def test_a_gang_of_another_size_than_the_placement_is_refused(runs):
    attempt, processes = await runs.start(runs.spec(), 2)
    for one in processes:
        await one.stop()
    process = await runs.forks.start_run(attempt.folder)
    assert await ended([process]) == [ExitCode.FAILED]
    assert attempt.error()["reason"] == "GANG_MISMATCH"


async def test_weights_are_not_sharded_over_processors(runs):
    attempt, processes = await runs.start(runs.spec(), 2, sharding=ParallelPlan.SHARDING_FSDP)
    code = await asyncio.wait_for(processes[0].wait(), TIMEOUT_S)
    await processes[1].stop()
    assert code == ExitCode.FAILED
    assert attempt.error()["reason"] == "UNSUPPORTED_SHARDING"


def test_the_variables_of_a_gang_are_taken_out_of_the_environment():
    gang = Gang(1, 3, 0, "10.0.0.7")
    environ = {"HOME": "/root", **gang.environment()}
    assert take_gang(environ) == gang
    assert environ == {"HOME": "/root"}
    assert take_gang({"RANK": "0", "WORLD_SIZE": "1"}) is None
    assert take_gang({}) is None


def test_an_epoch_of_a_gang_is_that_of_one_process_with_blank_rows_last():
    from accelerate.data_loader import SeedableRandomSampler

    from services.trainer.recipes.order import Order

    alone = SeedableRandomSampler(range(65), data_seed=5)
    order = Order(65, 5, 4)
    for epoch in (0, 1, 3):
        alone.set_epoch(epoch)
        order.set_epoch(epoch)
        expected = list(alone)
        assert list(order) == [*expected, 65, 65, 65]
    assert len(order) == 68
    assert len(Order(64, 5, 4)) == 64


async def until(condition) -> None:
    """Wait for what another process does; there is no event to await."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def ended(processes) -> list[int]:
    async with asyncio.timeout(TIMEOUT_S):
        return await asyncio.gather(*(one.wait() for one in processes))
