import asyncio
from contextlib import AsyncExitStack

import pytest

from services.common.errors import ResourceExhausted, Unavailable
from services.serving.engines import adapters
from tests.serving.parts import Parts, a_base_model, an_adapter, running

PLACES = 4


@pytest.fixture
async def parts(tmp_path, monkeypatch):
    """Without proofs and reconciler, which would load adapters too; with few places."""
    monkeypatch.setattr(adapters, "LORAS_MAX", PLACES)
    made = Parts(tmp_path)
    a_base_model(made.artefacts)
    async with running(made, loops=False):
        await made.at_generation(1)
        yield made


def made(parts, count):
    return [an_adapter(parts.artefacts) for _ in range(count)]


async def touch(parts, adapter):
    async with parts.adapters.hold(adapter):
        pass


async def test_the_base_needs_no_place(parts):
    await touch(parts, "")
    assert (await parts.test())["loads"] == []


async def test_many_at_once_load_it_once(parts):
    (adapter,) = made(parts, 1)
    await asyncio.gather(*(touch(parts, adapter) for _ in range(20)))
    assert (await parts.test())["loads"] == [adapter]


async def test_the_least_recently_used_makes_room_and_there_are_never_too_many(parts):
    a, b, c, d, e = made(parts, 5)
    for adapter in (a, b, c, d, a, e):
        await touch(parts, adapter)
    state = await parts.test()
    assert state["loaded"] == [a, c, d, e]
    assert state["most"] == PLACES


async def test_what_is_deployed_stays(parts):
    a, b, c, d, e = made(parts, 5)
    parts.adapters.set_deployed({a})
    for adapter in (a, b, c, d, e):
        await touch(parts, adapter)
    assert (await parts.test())["loaded"] == [a, c, d, e]


async def test_when_all_are_deployed_it_is_refused_at_once(parts):
    *deployed, last = made(parts, PLACES + 1)
    for adapter in deployed:
        await touch(parts, adapter)
    parts.adapters.set_deployed(set(deployed))
    with pytest.raises(ResourceExhausted, match="deployed"):
        await touch(parts, last)


async def test_what_is_in_use_is_never_unloaded(parts):
    *used, last = made(parts, PLACES + 1)
    async with AsyncExitStack() as stack:
        for adapter in used:
            await stack.enter_async_context(parts.adapters.hold(adapter))
        waiting = asyncio.create_task(touch(parts, last))
        # Four more users come and go while it waits, none of which gives it a place.
        for adapter in used:
            await touch(parts, adapter)
        assert not waiting.done()
        assert (await parts.test())["loaded"] == used
    await waiting
    assert last in (await parts.test())["loaded"]


async def test_waiting_for_a_place_has_a_bound(parts, monkeypatch):
    monkeypatch.setattr(adapters, "ROOM_WAIT_S", 0.05)
    *used, last = made(parts, PLACES + 1)
    async with AsyncExitStack() as stack:
        for adapter in used:
            await stack.enter_async_context(parts.adapters.hold(adapter))
        with pytest.raises(ResourceExhausted, match="in use"):
            await touch(parts, last)


async def test_a_new_engine_gets_everything_again(parts):
    (adapter,) = made(parts, 1)
    await touch(parts, adapter)
    parts.processes.end(parts.processes.find("engine"), 0)
    with pytest.raises(Unavailable):
        while True:  # Until the engine's end is noticed.
            async with parts.adapters.hold(adapter) as client:
                await client.answer(adapter, [{"role": "user", "content": "hello"}], 48)
    await parts.at_generation(2)
    await touch(parts, adapter)
    assert (await parts.test())["loads"] == [adapter]


async def test_what_another_serving_loaded_is_known_and_counted(parts):
    first = made(parts, PLACES)
    for adapter in first:
        await touch(parts, adapter)
    parts.member().adapters = adapters.Adapters(parts.engine, parts.artefacts)
    (last,) = made(parts, 1)
    await touch(parts, last)
    state = await parts.test()
    assert state["most"] == PLACES
    await touch(parts, first[-1])
    assert state["loads"].count(first[-1]) == 1


async def test_a_lost_adapter_is_loaded_again(parts):
    (adapter,) = made(parts, 1)
    await touch(parts, adapter)
    await parts.test(loaded={})
    parts.adapters.forget(adapter)
    await touch(parts, adapter)
    assert (await parts.test())["loads"] == [adapter, adapter]
