"""Keys, scopes, limits, the queue and the figures, as the unmodified openai client sees them."""

import asyncio
from contextlib import asynccontextmanager
from uuid import uuid4

import aiohttp
import openai
import pytest
import pytest_asyncio
from attune.serving.v1 import deployment_pb2, key_pb2
from attune.serving.v1.key_pb2_grpc import KeyServiceStub, add_KeyServiceServicer_to_server
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from services.common.clock import SystemClock
from services.common.rpc import Server
from services.serving.endpoint import http
from services.serving.servicer_key import KeyServicer
from tests.serving.parts import BASE, WAIT_S, Parts, a_base_model, endpoint, running

ASK = {"messages": [{"role": "user", "content": "how are you"}]}
PARENT = "projects/default"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served(tmp_path_factory):
    """Parts with a READY version deployed as `tickets`, the endpoint's URL, and KeyService."""
    parts = Parts(tmp_path_factory.mktemp("serving"))
    a_base_model(parts.artefacts)
    server = Server("serving.attune")
    servicer = KeyServicer(parts.keys, parts.usage, parts.meter, SystemClock())
    name = key_pb2.DESCRIPTOR.services_by_name["KeyService"].full_name
    server.add(add_KeyServiceServicer_to_server, servicer, name)
    async with running(parts), endpoint(parts) as url:
        port = await server.start("127.0.0.1", 0)
        version = await parts.ready()
        request = deployment_pb2.CreateDeploymentRequest(
            parent=PARENT,
            deployment_id="tickets",
            deployment={"model_version": version.name, "target": "shared"},
            request_id=str(uuid4()),
        )
        await parts.deployer.create(request, "default")
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield parts, url, KeyServiceStub(channel), version
        await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def parts(served):
    await served[0].test(mode="", aborted=0)
    yield served[0]
    await served[0].test(mode="")


@pytest.fixture
def keys(served, parts):
    return served[2]


@pytest.fixture
def version(served, parts):
    return served[3]


def creation(parent=PARENT, **fields):
    return key_pb2.CreateApiKeyRequest(
        parent=parent, api_key={"title": "App", **fields}, request_id=str(uuid4())
    )


@pytest.fixture
def client_with(served, keys):
    """Open a client with a new key; yields the client and the key."""

    @asynccontextmanager
    async def open_client(parent=PARENT, **fields):
        made = await keys.CreateApiKey(creation(parent, **fields))
        async with openai.AsyncOpenAI(
            base_url=served[1], api_key=made.secret, max_retries=0
        ) as opened:
            yield opened, made.api_key

    return open_client


async def until_busy(parts, count=1):
    async with asyncio.timeout(WAIT_S):
        while (await parts.test())["busy"] < count:
            pass  # Each look is a round trip to the engine.


async def test_a_key_opens_its_project_and_a_revoked_one_nothing(client_with, keys):
    async with client_with() as (client, key):
        assert (await client.chat.completions.create(model="tickets", **ASK)).model == "tickets"
        await keys.RevokeApiKey(key_pb2.RevokeApiKeyRequest(name=key.name, request_id=str(uuid4())))
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.chat.completions.create(model="tickets", **ASK)
        assert caught.value.code == "invalid_api_key"
        assert caught.value.body["type"] == "invalid_request_error"
        assert key.secret_prefix in caught.value.message
        assert client.api_key not in caught.value.message
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()


async def test_a_key_that_would_be_over_is_not_made(keys):
    past = Timestamp(seconds=1_000_000_000)
    with pytest.raises(aio.AioRpcError, match="is over"):
        await keys.CreateApiKey(creation(expire_time=past))


async def test_the_synchronous_client_raises_the_same_classes(served, parts):
    def ask():
        with openai.OpenAI(base_url=served[1], api_key="sk-attune-wrong", max_retries=0) as client:
            client.chat.completions.create(model="tickets", **ASK)

    with pytest.raises(openai.AuthenticationError):
        await asyncio.to_thread(ask)


async def test_a_key_sees_and_calls_the_models_of_its_scope_only(client_with, version):
    async with client_with(models=["tickets"]) as (client, _):
        assert [model.id async for model in client.models.list()] == ["tickets"]
        await client.chat.completions.create(model="tickets", **ASK)
        for other in (f"base:{BASE}", "tickets/1", "nothing"):
            with pytest.raises(openai.PermissionDeniedError) as caught:
                await client.chat.completions.create(model=other, **ASK)
            assert caught.value.code == "model_not_allowed"
            assert caught.value.param == "model"


async def test_a_key_of_another_project_finds_nothing_of_this_one(client_with, version):
    async with client_with("projects/other") as (client, _):
        assert [model.id async for model in client.models.list()] == [f"base:{BASE}"]
        for name in ("tickets", "tickets/1"):
            with pytest.raises(openai.NotFoundError) as caught:
                await client.chat.completions.create(model=name, **ASK)
            assert f"There are: base:{BASE}." in caught.value.message


async def test_the_minutes_requests_are_counted_and_told(client_with, parts):
    limits = {"requests_per_minute": 2, "tokens_per_minute": 1000}
    async with client_with(limits=limits) as (client, _):
        left = []
        for _ in range(2):
            raw = await client.chat.completions.with_raw_response.create(model="tickets", **ASK)
            left.append(raw.headers["x-ratelimit-remaining-requests"])
        assert left == ["1", "0"]
        assert raw.headers["x-ratelimit-limit-tokens"] == "1000"
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(model="tickets", **ASK)
        assert caught.value.code == "rate_limit_exceeded"
        assert caught.value.type == "requests"
        headers = caught.value.response.headers
        assert 0 < int(headers["retry-after"]) <= 30
        assert headers["x-ratelimit-remaining-requests"] == "0"
        assert headers["x-ratelimit-reset-requests"].endswith("s")


@pytest.mark.parametrize("stream", [False, True])
async def test_the_minutes_tokens_are_counted_when_an_answer_ends(client_with, parts, stream):
    async with client_with(limits={"tokens_per_minute": 6}) as (client, _):
        answer = await client.chat.completions.create(model="tickets", stream=stream, **ASK)
        if stream:
            assert [chunk async for chunk in answer]
        async with asyncio.timeout(WAIT_S):  # The end is counted just after the client has it.
            while (await parts.ended.get()).api_key == "":
                continue
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(model="tickets", **ASK)
        assert caught.value.type == "tokens"
        assert int(caught.value.response.headers["retry-after"]) > 1


async def test_requests_at_once_are_bounded_by_key(client_with, parts):
    async with client_with(limits={"concurrent_requests": 1}) as (client, _):
        await parts.test(mode="endless")
        first = asyncio.create_task(client.chat.completions.create(model="tickets", **ASK))
        await until_busy(parts)
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(model="tickets", **ASK)
        assert caught.value.type == "concurrent_requests"
        first.cancel()
        await parts.test(mode="")
        async with asyncio.timeout(WAIT_S):
            while True:  # Until it is noticed that the first client went away.
                try:
                    await client.chat.completions.create(model="tickets", **ASK)
                    break
                except openai.RateLimitError:
                    continue


async def test_a_full_endpoint_queues_then_refuses_and_a_client_that_goes_leaves_the_queue(
    served, parts
):
    await parts.test(mode="endless")
    async with openai.AsyncOpenAI(base_url=served[1], api_key="none", max_retries=0) as client:

        def ask():
            return asyncio.create_task(client.chat.completions.create(model="tickets", **ASK))

        running_max, gate = 20, parts.gate
        asking = [ask() for _ in range(running_max)]
        await until_busy(parts, running_max)
        with pytest.raises(openai.InternalServerError) as caught:
            await ask()
        assert (caught.value.status_code, caught.value.code) == (503, "endpoint_overloaded")
        assert int(caught.value.response.headers["retry-after"]) > 0
        waiting = ask()
        async with asyncio.timeout(WAIT_S):
            while not gate.waiting:
                await parts.test()  # A round trip.
            waiting.cancel()
            while gate.waiting:
                await parts.test()  # A round trip.
        for task in asking:
            task.cancel()
        async with asyncio.timeout(WAIT_S):
            while gate.running:
                await parts.test()  # A round trip.


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example"},
        {"Origin": "https://elsewhere.example"},
        {"X-Forwarded-For": "203.0.113.7"},
        {"Forwarded": "for=203.0.113.7"},
    ],
)
async def test_a_foreign_page_or_proxy_cannot_call_without_a_key(served, parts, headers):
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{served[1]}/models", headers=headers) as response,
    ):
        assert response.status == 401
        assert (await response.json())["error"]["code"] == "invalid_api_key"


async def test_what_was_used_is_told_by_key_model_and_version(client_with, keys, version):
    async with client_with() as (client, key):
        await client.chat.completions.create(model="tickets", **ASK)
        async for _ in await client.chat.completions.create(model="tickets", stream=True, **ASK):
            continue
        with pytest.raises(openai.BadRequestError):
            await client.chat.completions.create(
                model="tickets", messages=[{"role": "user", "content": "x" * 3000}]
            )
        async with asyncio.timeout(WAIT_S):
            while True:
                used = await keys.GetUsage(key_pb2.GetUsageRequest(parent=PARENT))
                rows = [row for row in used.rows if row.api_key == key.name]
                if rows and rows[0].request_count == 3:
                    break
        assert [(row.model, row.model_version) for row in rows] == [("tickets", version.name)]
        assert (rows[0].prompt_token_count, rows[0].answer_token_count) == (6, 10)
        assert rows[0].error_count == 0
        listed = await keys.ListApiKeys(key_pb2.ListApiKeysRequest(parent=PARENT, page_size=1))
        assert listed.api_keys[0].name == key.name
        assert listed.api_keys[0].HasField("last_use_time")
        assert listed.next_page_token


async def test_prometheus_reads_requests_errors_tokens_times_and_queue(
    client_with, served, parts, version
):
    async with client_with() as (client, key):
        async for _ in await client.chat.completions.create(model="tickets", stream=True, **ASK):
            continue
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="nothing-that-exists", **ASK)
    listener = http.listen("127.0.0.1", 0)
    web = http.HttpServer(parts.metrics.app)
    serving = asyncio.create_task(web.serve([listener]))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        text = await response.text()
    web.should_exit = True
    await serving
    labels = f'model="tickets",model_version="{version.name}",project="default"'
    for line in (
        f'attune_serving_requests_total{{{labels},status="200"}}',
        f'attune_serving_tokens_total{{kind="answer",{labels}}}',
        f'attune_serving_first_token_seconds_bucket{{le="+Inf",{labels}}}',
        f"attune_serving_request_seconds_count{{{labels}}}",
        'attune_serving_errors_total{code="no_such_model",model="",',
        "attune_serving_requests_running 0.0",
        "attune_serving_requests_waiting 0.0",
    ):
        assert line in text
    assert "nothing-that-exists" not in text
    assert key.secret_prefix not in text
