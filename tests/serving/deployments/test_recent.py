"""What the database said a moment ago, and when it is asked again."""

import asyncio

import pytest

from services.common.errors import NotFound
from services.serving.deployments import recent
from services.serving.deployments.recent import Recent


class Shelf:
    """What is read from."""

    def __init__(self):
        self.things = {"a": 1}
        self.reads = 0
        self.begun, self.gate = asyncio.Event(), None

    async def read(self, name, field):
        self.reads += 1
        self.begun.set()
        found = self.things.get(name)
        if self.gate is not None:
            await self.gate.wait()
        if found is None:
            raise NotFound(f"{field}: no {name}", reason="NO_SUCH_THING")
        return found


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def known(shelf):
    return Recent(shelf.read)


async def test_what_was_read_is_not_read_again_until_something_is_committed(shelf, known):
    assert [await known.get("a"), await known.get("a")] == [1, 1]
    assert shelf.reads == 1
    shelf.things["a"] = 2
    known.forget()
    assert await known.get("a") == 2


async def test_what_another_process_commits_is_seen_after_a_while(shelf, known, monkeypatch):
    await known.get("a")
    shelf.things["a"] = 2
    monkeypatch.setattr(recent, "AGE_MAX_S", 0.0)
    assert await known.get("a") == 2


async def test_what_was_read_before_a_commit_is_not_kept_after_it(shelf, known):
    shelf.gate = asyncio.Event()
    reading = asyncio.create_task(known.get("a"))
    await shelf.begun.wait()
    shelf.things["a"] = 2
    known.forget()
    shelf.gate.set()
    assert await reading == 1
    assert await known.get("a") == 2


async def test_what_is_not_there_is_looked_for_each_time(shelf, known):
    with pytest.raises(NotFound, match="model: no b"):
        await known.get("b", "model")
    shelf.things["b"] = 3
    assert await known.get("b") == 3


async def test_no_more_is_kept_than_the_bound(shelf, known, monkeypatch):
    monkeypatch.setattr(recent, "ENTRIES_MAX", 2)
    shelf.things = {name: name for name in "abc"}
    for name in "abcc":
        await known.get(name)
    assert shelf.reads == 3
    await known.get("a")
    assert shelf.reads == 4
