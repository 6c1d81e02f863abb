"""Streams of models at AWS, however they are cut, are chunks in OpenAI's shape."""

import asyncio
import json

import pytest

from services.common.errors import Unavailable
from services.serving.engines.engine_client import EngineRefused
from services.serving.targets.aws import Aws
from services.serving.targets.aws_client import AwsClient
from tests.serving.parts import WAIT_S
from tests.serving.targets.cloud import OPTIONS

CHUNKS = [
    {"choices": [{"delta": {"content": "gö"}}]},
    {"choices": [{"delta": {"content": "od"}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"completion_tokens": 2}},
]
LINES = [json.dumps(one, ensure_ascii=False).encode() for one in CHUNKS]
EVENTS = b"".join(b"data: " + line + b"\n\n" for line in LINES) + b"data: [DONE]\n\n"


class Events:
    is_closed = False

    def close(self):
        self.is_closed = True


def client(pieces, events=None):
    async def begin(body):
        return events or Events(), iter(pieces)

    return AwsClient(Aws(OPTIONS), None, begin)


async def read(one):
    async with one.stream("/v1/chat/completions", {"stream": True}) as batches:
        return [chunk async for batch in batches for chunk in batch]


@pytest.mark.parametrize("size", [1, 7, 40, 10_000])
async def test_server_sent_events_may_be_cut_anywhere(size):
    pieces = [EVENTS[start : start + size] for start in range(0, len(EVENTS), size)]
    assert await read(client(pieces)) == CHUNKS


async def test_lines_of_json_are_chunks_too():
    assert await read(client([b"\n".join(LINES)])) == CHUNKS


async def test_events_of_bedrock_have_one_chunk_each_and_no_line_ends():
    assert await read(client(LINES)) == CHUNKS


async def test_a_stream_that_ends_early_is_an_error_and_not_a_short_answer():
    with pytest.raises(Unavailable, match="ended before the answer did"):
        await read(client(LINES[:1]))


async def test_an_error_in_the_stream_is_the_models_refusal():
    with pytest.raises(EngineRefused, match="no room"):
        await read(client([LINES[0], b'data: {"error": {"message": "no room"}}\n\n']))


async def test_leaving_a_stream_closes_it():
    events = Events()
    async with client(LINES, events).stream("/v1/chat/completions", {}) as batches:
        assert await anext(batches) == CHUNKS[:1]
    assert events.is_closed


async def test_a_stream_that_opens_after_its_client_has_gone_is_closed():
    events, opening, closed = Events(), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    events.close = lambda: loop.call_soon_threadsafe(closed.set)

    async def begin(body):
        await opening.wait()
        return events, iter(LINES)

    asking = asyncio.create_task(read(AwsClient(Aws(OPTIONS), None, begin)))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    opening.set()
    await asyncio.wait_for(closed.wait(), WAIT_S)
