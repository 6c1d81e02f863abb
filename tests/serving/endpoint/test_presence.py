"""Work that ends when its client goes away, and not otherwise."""

import asyncio
import gc

import pytest

from services.serving.endpoint.event_stream import EventStream
from services.serving.endpoint.presence import ClientGone, while_there


class Client:
    """The two ends of an ASGI request."""

    def __init__(self):
        self.leaves = asyncio.Event()
        self.sent = []

    async def receive(self):
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)


@pytest.fixture
def client():
    return Client()


async def test_work_that_ends_first_is_left_alone(client):
    async with while_there(client.receive):
        await asyncio.sleep(0)
    client.leaves.set()
    await asyncio.sleep(0)
    assert asyncio.current_task().cancelling() == 0


async def test_work_is_cancelled_when_the_client_goes_away(client):
    async def work():
        async with while_there(client.receive):
            client.leaves.set()
            await asyncio.Event().wait()

    with pytest.raises(ClientGone):
        await work()
    assert asyncio.current_task().cancelling() == 0


async def test_who_cancels_from_outside_has_their_way_also_when_the_client_goes(client):
    begun = asyncio.Event()

    async def work():
        async with while_there(client.receive):
            begun.set()
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await begun.wait()
    client.leaves.set()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


async def test_what_fails_before_the_first_event_sends_nothing(client):
    async def events():
        raise ValueError("refused")
        yield b""

    with pytest.raises(ValueError, match="refused"):
        await EventStream(events(), {})({}, client.receive, client.send)
    assert client.sent == []


async def test_events_are_closed_when_the_client_goes_away(client):
    closed = asyncio.Event()

    async def events():
        try:
            yield b"data: 1\n\n"
            client.leaves.set()
            await asyncio.Event().wait()
        finally:
            closed.set()

    gc.disable()  # It would close them too, some time.
    try:
        await EventStream(events(), {"x-a": "b"})({}, client.receive, client.send)
        assert closed.is_set()
    finally:
        gc.enable()
    start, first = client.sent
    assert (start["status"], first["body"], first["more_body"]) == (200, b"data: 1\n\n", True)
    assert (b"x-a", b"b") in start["headers"]
