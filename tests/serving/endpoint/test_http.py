import asyncio
import json
import socket
from contextlib import suppress
from uuid import uuid4

import aiohttp
import openai
import pytest
import pytest_asyncio
from attune.serving.v1 import deployment_pb2

from services.serving.endpoint.http import BODY_BYTES_MAX, VERSION_HEADER, listen
from tests.serving.parts import BASE, WAIT_S, Parts, a_base_model, endpoint, running

ASK = {"messages": [{"role": "user", "content": "how are you"}]}


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def deploy(parts, version, alias):
    request = deployment_pb2.CreateDeploymentRequest(
        parent="projects/default",
        deployment_id=alias,
        deployment={"model_version": version.name, "target": "shared"},
        request_id=str(uuid4()),
    )
    await parts.deployer.create(request, "default")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served(tmp_path_factory):
    """Parts with a READY version that is deployed as `tickets`, and the endpoint's URL."""
    parts = Parts(tmp_path_factory.mktemp("serving"))
    a_base_model(parts.artefacts)
    async with running(parts), endpoint(parts) as url:
        version = await parts.ready()
        await deploy(parts, version, "tickets")
        yield parts, url, version


@pytest_asyncio.fixture(loop_scope="module")
async def parts(served):
    """As served, with an engine that is well again whatever a test did to it."""
    async with asyncio.timeout(WAIT_S):
        while served[0].engine.state != "READY":
            await served[0].engines.wait_for_change(0.05)
    await served[0].test(mode="", aborted=0)
    yield served[0]
    with suppress(aiohttp.ClientError):
        await served[0].test(mode="")


@pytest.fixture
def base_url(served, parts):
    return served[1]


@pytest.fixture
def version(served, parts):
    return served[2]


@pytest_asyncio.fixture(loop_scope="module")
async def client(base_url):
    async with openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as opened:
        yield opened


async def post(base_url, path, data, **headers):
    async with (
        aiohttp.ClientSession() as session,
        session.post(base_url + path, data=data, headers=headers) as response,
    ):
        return response.status, await response.json(), response.headers


async def test_an_alias_answers_with_its_adapter_under_its_own_name(client, version):
    raw = await client.chat.completions.with_raw_response.create(model="tickets", **ASK)
    answer = raw.parse()
    assert answer.model == "tickets"
    assert answer.choices[0].message.content == f"{version.adapter_sha256[:8]} heard how are you"
    assert raw.headers[VERSION_HEADER] == version.name
    assert answer.usage.prompt_tokens == 3


async def test_a_stream_is_passed_on_piece_by_piece(client, version):
    stream = await client.chat.completions.create(
        model="tickets", stream=True, stream_options={"include_usage": True}, **ASK
    )
    assert stream.response.headers[VERSION_HEADER] == version.name
    chunks = [chunk async for chunk in stream]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == f"{version.adapter_sha256[:8]} heard how are you"
    assert {chunk.model for chunk in chunks} == {"tickets"}
    assert chunks[-1].usage.completion_tokens == 5


async def test_small_pieces_leave_at_once():
    with listen("127.0.0.1", 0) as listener:
        # asyncio turns Nagle's algorithm off only where it sees the protocol's number.
        assert listener.proto == socket.IPPROTO_TCP


async def test_the_synchronous_client_works_too(base_url, version):
    def ask():
        with openai.OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
            answer = client.chat.completions.create(model="tickets", **ASK)
            stream = client.chat.completions.create(model="tickets", stream=True, **ASK)
            text = client.completions.create(model="tickets", prompt="hi")
            return answer, list(stream), text

    answer, chunks, text = await asyncio.to_thread(ask)
    assert answer.model == chunks[0].model == text.model == "tickets"
    assert text.choices[0].text.endswith("heard hi")


async def test_the_base_answers_under_its_own_name_without_a_version(client, parts):
    raw = await client.chat.completions.with_raw_response.create(model=f"base:{BASE}", **ASK)
    assert raw.parse().choices[0].message.content == "attune/s heard how are you"
    assert VERSION_HEADER not in raw.headers


async def test_what_was_asked_reaches_the_engine_unchanged(client, version, parts):
    asked = {"temperature": 0.5, "top_p": 0.9, "seed": 7, "max_tokens": 9, "stop": ["x"]}
    await client.chat.completions.create(model="tickets", **ASK, **asked)
    (seen,) = (await parts.test())["requests"][-1:]
    assert {key: seen[key] for key in asked} == asked
    assert seen["model"] == version.adapter_sha256


async def test_models_are_listed(client, version):
    listed = [model.id async for model in client.models.list()]
    assert listed == ["tickets", f"base:{BASE}"]


@pytest.mark.parametrize("name", ["nothing", "base:other/model", "../x", "a" * 64, BASE])
async def test_an_unknown_model_is_not_found_and_told_what_there_is(client, version, name):
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(model=name, **ASK)
    assert caught.value.param == "model"
    assert caught.value.code == "no_such_model"
    assert f"There are: tickets, base:{BASE}." in caught.value.message


async def test_the_hash_of_an_adapter_is_no_model_name(client, version):
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.create(model=version.adapter_sha256, **ASK)


async def test_an_engine_that_is_not_ready_says_when_to_try_again(client, version, parts):
    parts.processes.end(parts.processes.find("engine"), 0)
    with pytest.raises(openai.InternalServerError) as caught:
        while True:  # Until the engine's end is noticed.
            await client.chat.completions.create(model="tickets", **ASK)
    assert caught.value.status_code == 503
    assert int(caught.value.response.headers["retry-after"]) > 0
    assert caught.value.body["type"] == "server_error"
    patient = client.with_options(max_retries=10)
    assert (await patient.chat.completions.create(model="tickets", **ASK)).model == "tickets"


async def test_an_engine_that_dies_in_a_stream_ends_it_with_an_error(client, version, parts):
    generation = parts.engine.generation
    await parts.test(mode="die_in_stream")
    stream = await client.chat.completions.create(model="tickets", stream=True, **ASK)
    with pytest.raises(openai.APIError, match="engine did not answer"):
        async for _ in stream:
            pass
    await parts.at_generation(generation + 1)


async def counted(parts, alias, request_count):
    """Return the figures of an alias once so many requests have ended."""
    found = await parts.deployments.get(f"projects/default/deployments/{alias}")
    async with asyncio.timeout(WAIT_S):
        while True:
            ((_, figures),) = (await parts.arm_meter.figures([found]))[0].items()
            if figures.request_count == request_count:
                return figures


async def test_what_becomes_of_requests_is_counted_by_version(client, version, parts):
    await deploy(parts, version, "counted")
    await client.chat.completions.create(model="counted", **ASK)
    stream = await client.chat.completions.create(model="counted", stream=True, **ASK)
    assert [chunk async for chunk in stream]
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(
            model="counted", messages=[{"role": "user", "content": "x" * 3000}]
        )
    figures = await counted(parts, "counted", 2)
    assert figures.error_count == 0
    assert (figures.first_token.total, figures.total.total) == (1, 2)
    generation = parts.engine.generation
    await parts.test(mode="die_in_stream")
    stream = await client.chat.completions.create(model="counted", stream=True, **ASK)
    with pytest.raises(openai.APIError):
        async for _ in stream:
            pass
    assert (await counted(parts, "counted", 3)).error_count == 1
    await parts.at_generation(generation + 1)


async def test_an_adapter_that_the_engine_lost_is_loaded_again(client, version, parts):
    await client.chat.completions.create(model="tickets", **ASK)
    await parts.test(loaded={})
    with pytest.raises(openai.InternalServerError) as caught:
        await client.chat.completions.create(model="tickets", **ASK)
    assert caught.value.status_code == 503
    assert (await client.chat.completions.create(model="tickets", **ASK)).model == "tickets"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"not json", 400, "invalid_json"),
        (b"[]", 400, "invalid_json"),
        (b"\xff\xfe", 400, "invalid_json"),
        (b"[" * 100_000, 400, "invalid_json"),
        (b'{"model": "\\ud800"}', 400, "invalid_json"),
        (b"{}", 400, "missing_model"),
        (b'{"model": 3}', 400, "missing_model"),
        (b'{"model": "tickets", "stream": "yes"}', 400, "invalid_stream"),
        (b'{"model": "tickets", "n": "500"}', 400, "invalid_n"),
        (b'{"model": "tickets", "n": 129}', 400, "too_many_answers"),
        (b'{"model": "tickets", "n": 43, "prompt": ["a", "b", "c"]}', 400, "too_many_answers"),
        (b'"' + b"x" * BODY_BYTES_MAX + b'"', 413, "body_too_large"),
    ],
)
async def test_a_bad_body_gets_openais_error(base_url, body, status, code):
    got, answer, _ = await post(base_url, "/chat/completions", body)
    assert (got, answer["error"]["code"]) == (status, code)
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert answer["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_engine_refuses_is_passed_on(client, version, stream):
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(
            model="tickets", messages=[{"role": "user", "content": "x" * 3000}], stream=stream
        )
    assert "maximum context length" in caught.value.message
    assert caught.value.param == "input_tokens"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_goes_away_cancels_the_engines_work(base_url, version, parts, stream):
    await parts.test(mode="endless")
    body = json.dumps({"model": "tickets", "stream": stream, **ASK})
    async with aiohttp.ClientSession() as session:
        asking = asyncio.create_task(session.post(base_url + "/chat/completions", data=body))
        if stream:
            async with await asking as response:
                await response.content.readline()
                response.close()
        else:
            while not (await parts.test())["busy"]:
                pass  # Until the request has reached the engine; each look awaits an answer.
            asking.cancel()
    assert await aborted(parts) == 1


async def aborted(parts):
    async with asyncio.timeout(WAIT_S):
        while not (count := (await parts.test())["aborted"]):
            pass  # Each look is a round trip to the engine.
        return count


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/load_lora_adapter", 404),
        ("POST", "/tokenize", 404),
        ("GET", "/metrics", 404),
        ("GET", "/docs", 404),
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
    ],
)
async def test_nothing_else_exists(base_url, method, path, status):
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, base_url.removesuffix("/v1") + path) as response,
    ):
        assert response.status == status
        assert set((await response.json())["error"]) == {"message", "type", "param", "code"}


async def test_an_alias_is_switched_without_a_failed_request(client, version, parts):
    second = await parts.ready()
    await deploy(parts, version, "moving")
    seen, stop = asyncio.Queue(), asyncio.Event()

    async def ask():
        while not stop.is_set():
            answer = await client.chat.completions.create(model="moving", **ASK)
            seen.put_nowait(answer.choices[0].message.content[:8])

    asking = [asyncio.create_task(ask()) for _ in range(3)]
    request = deployment_pb2.UpdateDeploymentRequest(
        deployment={"name": "projects/default/deployments/moving", "model_version": second.name},
        update_mask={"paths": ["model_version"]},
        request_id=str(uuid4()),
    )
    assert await seen.get() == version.adapter_sha256[:8]
    await parts.deployer.update(request)
    async with asyncio.timeout(WAIT_S):
        while await seen.get() != second.adapter_sha256[:8]:
            continue
    stop.set()
    await asyncio.gather(*asking)
    assert seen.get_nowait() == second.adapter_sha256[:8]


async def test_a_header_chooses_the_canary_and_the_answer_names_its_version(client, version, parts):
    second = await parts.ready()
    await deploy(parts, version, "tried")
    await parts.deployer.update(
        deployment_pb2.UpdateDeploymentRequest(
            deployment={
                "name": "projects/default/deployments/tried",
                "canary": {"model_version": second.name, "percent": 0},
            },
            update_mask={"paths": ["canary"]},
            request_id=str(uuid4()),
        )
    )
    for header, expected in (("always", second), ("never", version), ("", version)):
        raw = await client.chat.completions.with_raw_response.create(
            model="tried", extra_headers={"x-attune-canary": header}, **ASK
        )
        assert raw.headers[VERSION_HEADER] == expected.name
        content = raw.parse().choices[0].message.content
        assert content.startswith(expected.adapter_sha256[:8])


async def test_a_rollback_under_load_fails_no_request_and_no_third_version_answers(
    client, version, parts
):
    second = await parts.ready()
    await deploy(parts, version, "rolled")
    name = "projects/default/deployments/rolled"
    seen, stop = asyncio.Queue(), asyncio.Event()

    async def ask():
        while not stop.is_set():
            answer = await client.chat.completions.create(model="rolled", **ASK)
            seen.put_nowait(answer.choices[0].message.content[:8])

    async def until_answered_by(expected):
        async with asyncio.timeout(WAIT_S):
            while (answered := await seen.get()) != expected.adapter_sha256[:8]:
                assert answered in (version.adapter_sha256[:8], second.adapter_sha256[:8])

    asking = [asyncio.create_task(ask()) for _ in range(4)]
    for _ in range(5):
        await parts.deployer.update(
            deployment_pb2.UpdateDeploymentRequest(
                deployment={"name": name, "model_version": second.name},
                update_mask={"paths": ["model_version"]},
                request_id=str(uuid4()),
            )
        )
        await until_answered_by(second)
        rolled = await parts.deployer.roll_back(
            deployment_pb2.RollbackDeploymentRequest(name=name, request_id=str(uuid4()))
        )
        assert rolled.serving_model_version == version.name
        await until_answered_by(version)
    stop.set()
    await asyncio.gather(*asking)
