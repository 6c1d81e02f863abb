"""Which engines run, where, and who answers: real processes of the test engine."""

import asyncio
import os
import random
import signal
import sys
from contextlib import asynccontextmanager

import pytest

from services.common.errors import FailedPrecondition, ResourceExhausted, Unavailable
from services.common.processes import ProcessFolder
from services.serving.engines import adapters, engine, group, pool, process_host
from services.serving.engines.weights import Weights
from tests.servers import free_port
from tests.serving.parts import (
    BASE,
    ENGINE_SERVER,
    REVISION,
    WAIT_S,
    Parts,
    a_base_model,
    an_adapter,
    running,
)

OTHER = "team/other"
HELLO = [{"role": "user", "content": "how are you"}]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Make the pool look often, so that no test waits for it."""
    monkeypatch.setattr(pool, "SETTLE_S", 0.05)
    monkeypatch.setattr(engine, "HEALTH_S", 0.05)
    monkeypatch.setattr(engine, "START_POLL_S", 0.02)
    monkeypatch.setattr(engine, "BACKOFF_S", (0.05,))
    monkeypatch.setattr(process_host, "END_GRACE_S", 1.0)


@asynccontextmanager
async def a_pool(tmp_path, **options):
    """Yield parts with two models at hand, and nothing that loads adapters by itself."""
    parts = Parts(tmp_path, **options)
    for model in (BASE, OTHER):
        if not parts.artefacts.model(model).exists():
            a_base_model(parts.artefacts, model_id=model)
    async with running(parts, loops=False):
        await parts.at_generation(1)
        yield parts


async def answered(parts, weights):
    """Return what answers to weights, once an engine does."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                async with parts.engines.hold(weights) as client:
                    return (await client.answer(weights.engine_model, HELLO, 48)).text
            except Unavailable:
                await parts.engines.wait_for_change(0.05)


async def until(parts, holds):
    async with asyncio.timeout(WAIT_S):
        while not holds():
            await parts.engines.wait_for_change(0.05)


def other(adapter=""):
    return Weights(OTHER, REVISION, adapter)


async def test_a_second_model_is_started_when_it_is_asked_for_and_ended_when_nobody_asks(tmp_path):
    async with a_pool(tmp_path, idle_s=0.5) as parts:
        assert await answered(parts, other()) == "team/oth heard how are you"
        parts.engines.want(())
        await until(parts, lambda: ProcessFolder(tmp_path).find("engine-1") is None)
        assert parts.member(OTHER) is None
        assert parts.engine.state == "READY"  # The warm one stays.


async def test_what_is_deployed_stays_however_long_nobody_asks(tmp_path):
    async with a_pool(tmp_path, idle_s=0.2) as parts:
        parts.engines.want([other()])
        assert await answered(parts, other())
        first = parts.member(OTHER)
        for _ in range(20):
            await parts.engines.wait_for_change(0.05)
        assert parts.member(OTHER) is first


async def test_a_model_that_is_not_at_hand_is_refused_with_the_way_to_get_it(tmp_path):
    async with a_pool(tmp_path) as parts:
        with pytest.raises(FailedPrecondition, match="ensure nobody/has"):
            await answered(parts, Weights("nobody/has", "r1"))


async def test_without_a_place_a_model_is_refused_with_the_remedy(tmp_path):
    async with a_pool(tmp_path, process_max=1) as parts:
        with pytest.raises(ResourceExhausted, match="ATTUNE_SERVING_ENGINE_PROCESSES_MAX"):
            await answered(parts, other())


async def test_a_model_at_rest_makes_room_for_another_one(tmp_path, monkeypatch):
    monkeypatch.setattr(group, "REST_S", 0.0)
    async with a_pool(tmp_path) as parts:
        a_base_model(parts.artefacts, model_id="team/third")
        await answered(parts, other())
        assert (
            await answered(parts, Weights("team/third", REVISION)) == "team/thi heard how are you"
        )
        assert parts.member(OTHER) is None


async def test_replicas_share_requests_and_one_answers_while_the_other_is_away(tmp_path):
    async with a_pool(tmp_path, replica_count=2) as parts:
        await until(parts, lambda: parts.member(index=1) is not None)
        await until(parts, lambda: parts.member(index=1).engine.state == "READY")
        adapter = an_adapter(parts.artefacts)
        weights = Weights(BASE, REVISION, adapter)
        await parts.engines.keep(weights)
        assert all(parts.member(index=index).adapters.holds(adapter) for index in (0, 1))
        async with parts.engines.hold(weights) as one, parts.engines.hold(weights) as two:
            assert one is not two
        os.kill(ProcessFolder(tmp_path).find("engine").pid, signal.SIGKILL)
        await until(parts, lambda: parts.engine.state != "READY")
        assert (await answered(parts, weights)).startswith(adapter[:8])


async def test_wanting_what_is_wanted_wakes_nobody(tmp_path, monkeypatch):
    async with a_pool(tmp_path) as parts:
        changed = asyncio.Event()
        monkeypatch.setattr(pool, "SETTLE_S", WAIT_S)
        parts.engines.want([other()])
        await answered(parts, other())
        monkeypatch.setattr(parts.engines._changes, "tell", changed.set)
        parts.engines.want([other()])
        for _ in range(100):
            await asyncio.sleep(0)
        assert not changed.is_set()
        parts.engines.want([])
        await asyncio.wait_for(changed.wait(), WAIT_S)


async def test_an_engine_that_others_look_after_is_asked_and_never_ended(tmp_path):
    port = free_port()
    command = [sys.executable, str(ENGINE_SERVER), str(port), OTHER, str(tmp_path)]
    process = await asyncio.create_subprocess_exec(*command)
    try:
        addresses = {OTHER: [f"http://127.0.0.1:{port}"]}
        async with a_pool(tmp_path, addresses=addresses) as parts:
            assert await answered(parts, other()) == "team/oth heard how are you"
            assert parts.member(OTHER).engine.host.external
        assert process.returncode is None
    finally:
        process.kill()
        await process.wait()


async def test_the_engines_of_a_killed_serving_are_adopted_or_ended(tmp_path):
    first = Parts(tmp_path, process_max=3)
    for model in (BASE, OTHER, "team/third"):
        a_base_model(first.artefacts, model_id=model)
    supervising = asyncio.create_task(first.engines.run())
    await first.at_generation(1)
    for model in (OTHER, "team/third"):
        await answered(first, Weights(model, REVISION))
    members = [first.member(model) for model in (BASE, OTHER, "team/third")]
    for task in (supervising, *(member.task for member in members)):
        task.cancel()
    folder = ProcessFolder(tmp_path)
    pids = [folder.find(name).pid for name in ("engine", "engine-1", "engine-2")]
    try:
        async with a_pool(tmp_path, process_max=3) as parts:
            parts.engines.want([Weights("team/third", REVISION)])
            await answered(parts, Weights("team/third", REVISION))
            await until(parts, lambda: members[1].engine.host._child.poll() is not None)
            found = [folder.find(name).pid for name in ("engine", "engine-2")]
            assert found == [pids[0], pids[2]]
    finally:
        for member in members:
            member.engine.host._child.kill()
            member.engine.host._child.wait()
        await first.engines._session.close()


async def test_no_answer_comes_from_another_adapter_however_they_come_and_go(tmp_path, monkeypatch):
    monkeypatch.setattr(adapters, "LORAS_MAX", 4)
    async with a_pool(tmp_path) as parts:
        made = [an_adapter(parts.artefacts) for _ in range(8)]
        draw = random.Random(0)

        async def ask_some():
            for _ in range(40):
                adapter = draw.choice(made)
                text = await answered(parts, Weights(BASE, REVISION, adapter))
                assert text == f"{adapter[:8]} heard how are you"

        await asyncio.gather(*(ask_some() for _ in range(5)))
        state = await parts.test()
        assert state["most"] <= 4
        assert state["evicted_in_use"] == 0
        assert len(state["loads"]) > 8
