"""Under load while adapters come and go and aliases move: who answers is who is named."""

import asyncio
import random
from collections import Counter
from uuid import uuid4

import openai
import pytest
from attune.serving.v1 import deployment_pb2

from services.serving.deployments.route import Route
from services.serving.endpoint.http import VERSION_HEADER
from services.serving.engines import adapters
from services.serving.playground.generation import Generations
from services.serving.playground.prompt import Message, Prompt
from services.serving.targets import shared
from tests.serving.parts import WAIT_S, Parts, a_base_model, endpoint, running

PLACES = 4
VERSIONS = 9
ANSWERS_MIN = 10
"""Of each version that may answer after a decision, before the next one."""
ASK = {"messages": [{"role": "user", "content": "how are you"}]}


@pytest.fixture
async def parts(tmp_path, monkeypatch):
    """With an engine of few places, which evicts by itself when it is given more."""
    monkeypatch.setattr(adapters, "LORAS_MAX", PLACES)
    monkeypatch.setattr(shared, "DEPLOYED_MAX", PLACES - 1)
    made = Parts(tmp_path)
    a_base_model(made.artefacts)
    async with running(made):
        await made.at_generation(1)
        await made.test(places=PLACES)
        yield made


@pytest.fixture
async def client(parts):
    async with (
        endpoint(parts) as url,
        openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as opened,
    ):
        yield opened


async def ask(client, alias, *, stream):
    """Return the version that an answer names, and the adapter that gave it."""
    raw = await client.chat.completions.with_raw_response.create(model=alias, stream=stream, **ASK)
    named = raw.headers[VERSION_HEADER]
    answer = raw.parse()
    if not stream:
        return named, answer.choices[0].message.content[:8]
    pieces = [chunk.choices[0].delta.content or "" async for chunk in answer if chunk.choices]
    return named, "".join(pieces)[:8]


async def try_out(parts, version):
    """Return the same of an answer in the playground."""
    answer = Generations(parts.engines).stream(
        Route(version.weights, version.name), Prompt((Message("user", "how are you"),))
    )
    *pieces, end = [piece async for piece in answer]
    return end.model_version, "".join(pieces)[:8]


async def deploy(parts, version, alias):
    request = deployment_pb2.CreateDeploymentRequest(
        parent="projects/default",
        deployment_id=alias,
        deployment={"model_version": version.name, "target": "shared"},
        request_id=str(uuid4()),
    )
    await parts.deployer.create(request, "default")


async def update(parts, alias, path, **fields):
    request = deployment_pb2.UpdateDeploymentRequest(
        deployment={"name": f"projects/default/deployments/{alias}", **fields},
        update_mask={"paths": [path]},
        request_id=str(uuid4()),
    )
    return await parts.deployer.update(request)


async def test_every_answer_names_the_version_that_gave_it_while_adapters_come_and_go(
    parts, client
):
    versions = [await parts.ready() for _ in range(VERSIONS)]
    adapter_of = {one.name: one.adapter_sha256[:8] for one in versions}
    await deploy(parts, versions[0], "steady")
    await deploy(parts, versions[1], "moving")
    seen, chance = [], random.Random(3)

    async def call_alias(alias):
        for number in range(50):
            seen.append(await ask(client, alias, stream=number % 2 == 0))

    async def try_versions():
        for _ in range(30):
            seen.append(await try_out(parts, chance.choice(versions)))

    async def move():
        for _ in range(12):
            version = chance.choice(versions[1:])
            await update(parts, "moving", "model_version", model_version=version.name)

    await asyncio.gather(
        *(call_alias(alias) for alias in ("steady", "moving") * 2),
        *(try_versions() for _ in range(3)),
        move(),
    )
    wrong = [(named, gave) for named, gave in seen if adapter_of[named] != gave]
    assert (len(seen), wrong) == (290, [])
    assert len({named for named, _ in seen}) == VERSIONS
    state = await parts.test()
    assert len(state["loads"]) > 2 * VERSIONS  # Else nothing came and went.
    assert (state["most"], state["evicted"], state["evicted_in_use"]) == (PLACES, 0, 0)


async def test_a_canary_is_tried_promoted_and_taken_back_under_load_without_a_failed_request(
    parts, client
):
    old, new, third = [await parts.ready() for _ in range(3)]
    adapter_of = {one.name: one.adapter_sha256[:8] for one in (old, new, third)}
    await deploy(parts, old, "tickets")
    await deploy(parts, third, "other")
    seen, stop = asyncio.Queue(), asyncio.Event()
    phases = [{old.name}]
    """Which versions may answer, from the beginning on."""

    async def load(stream):
        while not stop.is_set():
            begun = len(phases)
            named, gave = await ask(client, "tickets", stream=stream)
            assert gave == adapter_of[named]
            # A request that began before a decision may end after it.
            assert named in set().union(*phases[begun - 1 :])
            seen.put_nowait((begun, named))

    async def phase(answering, decision=None):
        """Decide; until that is done those before may answer too, afterwards only these."""
        if decision is not None:
            phases.append(phases[-1] | answering)
            await decision
            phases.append(answering)
        counts = Counter()
        async with asyncio.timeout(WAIT_S):
            while any(counts[name] < ANSWERS_MIN for name in answering):
                begun, named = await seen.get()
                counts[named] += begun == len(phases)

    def request_of(kind):
        name = "projects/default/deployments/tickets"
        return kind(name=name, request_id=str(uuid4()))

    async with asyncio.TaskGroup() as loading:
        for stream in (False, True) * 2:
            loading.create_task(load(stream))
        await phase({old.name})
        for _ in range(3):
            canary = {"model_version": new.name, "percent": 50}
            await phase({old.name, new.name}, update(parts, "tickets", "canary", canary=canary))
            promotion = request_of(deployment_pb2.PromoteDeploymentRequest)
            await phase({new.name}, parts.deployer.promote(promotion))
            rollback = request_of(deployment_pb2.RollbackDeploymentRequest)
            await phase({old.name}, parts.deployer.roll_back(rollback))
        stop.set()
    found = await parts.deployments.get("projects/default/deployments/tickets")
    (figures,) = await parts.arm_meter.figures([found])
    assert figures[old.name].request_count > 0
    assert figures[old.name].error_count == 0
    assert (await parts.test())["evicted_in_use"] == 0
