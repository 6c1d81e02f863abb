"""Streams of an engine: how its bytes become chunks, and its connections."""

import asyncio
import json

import pytest

from services.common.errors import Unavailable
from services.serving.engines.engine_client import (
    CHAT,
    LINE_BYTES_MAX,
    EngineClient,
    EngineRefused,
    new_session,
)

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def event(text):
    return b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"


class Wire:
    """An engine that sends exactly these bytes, one piece after another."""

    def __init__(self, pieces, ends=True):
        self.pieces, self.ends = pieces, ends
        self.connection_count = 0

    async def talk(self, reader, writer):
        self.connection_count += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(size)
                writer.write(HEAD)
                for piece in self.pieces:
                    writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    await writer.drain()
                    await asyncio.sleep(0.01)  # So that each is read for itself.
                if not self.ends:
                    break
                writer.write(b"0\r\n\r\n")
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def ask():
    """Return the batches of texts that a client makes of a wire's bytes."""
    async with new_session() as session:

        async def asking(wire, times=1):
            server = await asyncio.start_server(wire.talk, "127.0.0.1", 0)
            address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            client = EngineClient(session, address, "attune/starter", lambda: None)
            found = []
            for _ in range(times):
                async with client.stream(CHAT, {}) as batches:
                    async for batch in batches:
                        found.append([one["choices"][0]["delta"]["content"] for one in batch])
            server.close()
            return found

        yield asking


async def test_chunks_that_come_together_are_given_together(ask):
    wire = Wire([event("a") + event("b"), event("ü"), DONE])
    assert await ask(wire) == [["a", "b"], ["ü"]]


@pytest.mark.parametrize("size", [1, 7, 50])
async def test_a_chunk_may_be_cut_anywhere(ask, size):
    data = event("ab") + b": a comment\r\n\r\n" + event("ü") + DONE
    pieces = [data[index : index + size] for index in range(0, len(data), size)]
    assert [text for batch in await ask(Wire(pieces)) for text in batch] == ["ab", "ü"]


async def test_a_connection_is_used_again(ask):
    wire = Wire([event("a"), DONE])
    assert await ask(wire, times=3) == [["a"]] * 3
    assert wire.connection_count == 1


async def test_an_error_in_a_stream_comes_after_what_was_said_before_it(ask):
    error = {"error": {"message": "broken", "type": "server_error"}}
    data = event("a") + b"data: " + json.dumps(error).encode() + b"\n\n"
    with pytest.raises(EngineRefused, match="broken"):
        await ask(Wire([data]))


@pytest.mark.parametrize(
    "pieces", [[event("a")], [b"data: {\n\n"], [b"data: 3\n\n"], [b"x" * (LINE_BYTES_MAX + 1)]]
)
@pytest.mark.parametrize("ends", [True, False])
async def test_a_stream_that_is_none_is_an_engine_that_is_away(ask, pieces, ends):
    with pytest.raises(Unavailable):
        await ask(Wire(pieces, ends))
