import asyncio
from contextlib import suppress

import pytest

from services.common.errors import Unavailable
from services.serving.keys.gate import Gate

LONG_S = 60


async def queued(gate, count):
    """Return tasks that wait at the gate."""
    tasks = [asyncio.create_task(gate.enter()) for _ in range(count)]
    await asyncio.sleep(0)  # Each runs until it waits.
    assert gate.waiting == count
    return tasks


async def test_who_waits_longest_enters_first():
    gate = Gate(1, 3, LONG_S)
    await gate.enter()
    tasks = await queued(gate, 3)
    for index, task in enumerate(tasks):
        assert [one.done() for one in tasks] == [True] * index + [False] * (3 - index)
        gate.leave()
        await task
    assert (gate.running, gate.waiting) == (1, 0)
    gate.leave()
    assert gate.running == 0


async def test_a_full_queue_refuses_at_once_and_says_when_to_try_again():
    gate = Gate(1, 1, LONG_S)
    await gate.enter()
    (waiting,) = await queued(gate, 1)
    with pytest.raises(Unavailable) as caught:
        await gate.enter()
    assert caught.value.reason == "ENDPOINT_OVERLOADED"
    assert caught.value.retry_after_s > 0
    gate.leave()
    await waiting


async def test_a_wait_that_is_too_long_is_refused_and_leaves_the_queue():
    gate = Gate(1, 1, 0.01)
    await gate.enter()
    with pytest.raises(Unavailable, match="waited"):
        await gate.enter()
    assert gate.waiting == 0
    gate.leave()
    assert gate.running == 0


async def test_who_goes_away_leaves_the_queue_and_the_next_moves_up():
    gate = Gate(1, 2, LONG_S)
    await gate.enter()
    first, second = await queued(gate, 2)
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    assert gate.waiting == 1
    gate.leave()
    await second
    assert gate.running == 1


async def test_a_turn_that_comes_as_its_owner_goes_away_is_not_lost():
    gate = Gate(1, 2, LONG_S)
    await gate.enter()
    first, second = await queued(gate, 2)
    gate.leave()
    first.cancel()  # In the moment in which it was let in.
    with suppress(asyncio.CancelledError):
        await first
    await second
    assert (gate.running, gate.waiting) == (1, 0)


async def test_one_that_was_cancelled_is_passed_over():
    gate = Gate(1, 2, LONG_S)
    await gate.enter()
    first, second = await queued(gate, 2)
    first.cancel()
    gate.leave()  # Before it could leave the queue by itself.
    await second
    with suppress(asyncio.CancelledError):
        await first
    gate.leave()
    assert (gate.running, gate.waiting) == (0, 0)
