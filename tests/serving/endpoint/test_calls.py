import asyncio
import json
from urllib.parse import urlsplit

import aiohttp
import openai
import pytest
import pytest_asyncio

from services.serving.endpoint.http import VERSION_HEADER
from tests.serving.parts import BASE, WAIT_S, Parts, a_base_model, endpoint, running

ASK = {"messages": [{"role": "user", "content": "how are you"}]}
USAGE = {"include_usage": True}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served(tmp_path_factory):
    """Parts with a READY version, and the URLs of a patient and of a hasty endpoint."""
    parts = Parts(tmp_path_factory.mktemp("serving"))
    a_base_model(parts.artefacts)
    async with running(parts), endpoint(parts) as url, endpoint(parts, timeout_s=1.5) as hasty:
        version = await parts.ready()
        yield parts, url, hasty, version


@pytest_asyncio.fixture(loop_scope="module")
async def parts(served):
    """As served, with an engine that behaves and no call that ended."""
    await served[0].test(mode="", aborted=0)
    while not served[0].ended.empty():
        served[0].ended.get_nowait()
    yield served[0]
    await served[0].test(mode="")


@pytest.fixture
def version(served, parts):
    return served[3]


@pytest.fixture
def name(version):
    """The version, as commands and the endpoint write it."""
    _, _, _, model, _, number = version.name.split("/")
    return f"{model}/{number}"


@pytest_asyncio.fixture(loop_scope="module")
async def client(served, parts):
    async with openai.AsyncOpenAI(base_url=served[1], api_key="none", max_retries=0) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def hasty(served, parts):
    async with openai.AsyncOpenAI(base_url=served[2], api_key="none", max_retries=0) as opened:
        yield opened


async def ended(parts):
    """Return the next call that ended."""
    async with asyncio.timeout(WAIT_S):
        return await parts.ended.get()


async def test_a_request_ends_once_with_its_figures(client, parts, version, name):
    raw = await client.chat.completions.with_raw_response.create(model=name, **ASK)
    assert raw.headers[VERSION_HEADER] == version.name
    call = await ended(parts)
    assert (call.status, call.code, call.model, call.project) == (200, "", name, "default")
    assert call.model_version == version.name
    assert (call.prompt_token_count, call.answer_token_count) == (3, 5)
    assert call.first_token_s is None
    assert call.total_s > 0
    assert parts.ended.empty()


async def test_tokens_of_a_stream_are_counted_and_hidden_unless_asked_for(client, parts, name):
    for options in ({}, {"stream_options": USAGE}):
        stream = await client.chat.completions.create(model=name, stream=True, **ASK, **options)
        chunks = [chunk async for chunk in stream]
        told = [chunk.usage for chunk in chunks if chunk.usage]
        assert [usage.completion_tokens for usage in told] == ([5] if options else [])
        assert all(chunk.choices for chunk in chunks if not chunk.usage)
        call = await ended(parts)
        assert (call.prompt_token_count, call.answer_token_count) == (3, 5)
        assert 0 < call.first_token_s <= call.total_s


async def test_a_stream_that_is_left_counts_what_was_seen(client, parts, name):
    await parts.test(mode="endless")
    stream = await client.chat.completions.create(model=name, stream=True, **ASK)
    for _ in range(3):
        await anext(stream)
    await stream.close()
    call = await ended(parts)
    assert (call.status, call.code) == (499, "client_gone")
    assert call.prompt_token_count == 3
    assert call.answer_token_count >= 3
    assert (await parts.test())["aborted"] == 1


async def test_several_answers_of_a_stream_are_counted_together(client, parts, name):
    stream = await client.chat.completions.create(model=name, stream=True, n=2, **ASK)
    texts = {0: "", 1: ""}
    async for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts[0] == texts[1] != ""
    assert (await ended(parts)).answer_token_count == 10


async def test_a_request_that_takes_too_long_is_a_504_in_openais_shape(hasty, parts, name):
    await parts.test(mode="endless")
    with pytest.raises(openai.InternalServerError) as caught:
        await hasty.chat.completions.create(model=name, **ASK)
    assert caught.value.status_code == 504
    assert caught.value.code == "timeout"
    assert "longest time here" in caught.value.message
    call = await ended(parts)
    assert (call.status, call.code) == (504, "timeout")
    assert (await parts.test())["aborted"] == 1


async def test_a_stream_that_takes_too_long_ends_with_an_error(hasty, parts, name):
    await parts.test(mode="endless")
    stream = await hasty.chat.completions.create(model=name, stream=True, **ASK)
    with pytest.raises(openai.APIError, match="longest time here"):
        async for _ in stream:
            continue
    call = await ended(parts)
    assert (call.status, call.code) == (504, "timeout")
    assert call.answer_token_count > 0


async def test_a_stream_whose_first_piece_does_not_come_is_a_504_too(hasty, parts, name, caplog):
    await parts.test(mode="no_tokens")
    with pytest.raises(openai.InternalServerError) as caught:
        await hasty.chat.completions.create(model=name, stream=True, **ASK)
    assert caught.value.status_code == 504
    call = await ended(parts)
    assert (call.status, call.code, call.first_token_s) == (504, "timeout", None)
    assert "failed" not in caplog.text
    assert "Exception" not in caplog.text


async def test_a_client_that_leaves_before_the_first_piece_leaves_nothing_behind(
    client, parts, name, caplog
):
    await parts.test(mode="no_tokens")
    with pytest.raises(openai.APITimeoutError):
        await client.chat.completions.create(model=name, stream=True, timeout=0.5, **ASK)
    call = await ended(parts)
    assert (call.status, call.code) == (499, "client_gone")
    assert parts.gate.running == 0
    assert "Exception" not in caplog.text


async def test_the_clients_own_timeout_raises_and_frees_the_engine(client, parts, name):
    await parts.test(mode="endless")
    with pytest.raises(openai.APITimeoutError):
        await client.chat.completions.create(model=name, timeout=0.3, **ASK)
    assert (await ended(parts)).status == 499
    assert (await parts.test())["aborted"] == 1


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("trace-1:a.b_c", True), ("", False), ("a b", False), ("x" * 129, False), ("a/b", False)],
)
async def test_a_well_formed_request_id_comes_back_and_another_is_replaced(
    client, parts, name, sent, kept
):
    raw = await client.chat.completions.with_raw_response.create(
        model=name, extra_headers={"x-request-id": sent}, **ASK
    )
    assert (raw.headers["x-request-id"] == sent) is kept
    assert raw.headers["x-request-id"].startswith("req_") is not kept
    assert (await ended(parts)).request_id == raw.headers["x-request-id"]


async def test_errors_have_a_request_id_too(client, parts):
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(model="nothing", **ASK)
    call = await ended(parts)
    assert caught.value.request_id == call.request_id
    assert (call.status, call.code, call.model) == (404, "no_such_model", "")


async def test_a_version_of_another_model_or_number_is_not_found(client, parts, name):
    for wrong in ("tickets/999", "other/1", f"{name}/1", "tickets/0", "tickets/x"):
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model=wrong, **ASK)


async def test_what_chat_can_ask_for_passes_both_ways(client, parts, name):
    asked = {
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {}}}],
        "tool_choice": "auto",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": {"type": "object"}},
        },
        "n": 2,
        "logprobs": True,
        "top_logprobs": 1,
        "stop": ["end"],
    }
    answer = await client.chat.completions.create(model=name, **ASK, **asked)
    (seen,) = (await parts.test())["requests"][-1:]
    assert {key: seen[key] for key in asked} == asked
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.choices[0].logprobs.content[0].logprob == -0.5
    assert answer.choices[0].message.tool_calls[0].function.name == "look"


async def test_a_body_that_never_ends_is_given_up(served, parts):
    async def endless():
        yield b'{"model": "'
        await asyncio.sleep(WAIT_S)

    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{served[2]}/chat/completions", data=endless()) as response,
    ):
        assert response.status == 504
        assert json.loads(await response.text())["error"]["code"] == "timeout"


async def test_a_client_that_leaves_before_its_body_is_whole_is_no_error_of_ours(
    served, parts, name, caplog
):
    address = urlsplit(served[1])
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {address.netloc}\r\n"
    writer.write(f'{head}content-length: 99\r\n\r\n{{"model": "{name}"'.encode())
    await writer.drain()
    writer.close()
    call = await ended(parts)
    assert (call.status, call.code) == (499, "client_gone")
    assert "Exception" not in caplog.text


async def test_the_base_counts_without_a_version(client, parts):
    await client.completions.create(model=f"base:{BASE}", prompt="hi")
    call = await ended(parts)
    assert (call.model, call.model_version) == (f"base:{BASE}", "")
