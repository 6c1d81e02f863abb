"""A deployment outside, through the services: decided, waited for, asked, taken back."""

import asyncio
import json
from uuid import uuid4

import openai
import pytest
from attune.serving.v1 import deployment_pb2

from services.common.errors import InvalidArgument
from services.serving.deployments.deployment import DeploymentState
from services.serving.targets.aws import Aws, AwsRefused
from services.serving.targets.pace import Pace
from services.serving.targets.sagemaker import SageMaker
from tests.serving.parts import WAIT_S
from tests.serving.targets.cloud import NAME, OPTIONS, an_account, answering, endpoints
from tests.serving.targets.runtime import a_runtime

MESSAGES = [{"role": "user", "content": "hello"}]


@pytest.fixture
def account(monkeypatch):
    with an_account():
        yield answering(monkeypatch)


@pytest.fixture
async def deployed(account, parts):
    """A version at SageMaker, asked about as often as the reconciler looks."""
    parts.targets["sagemaker"] = SageMaker(
        Aws(OPTIONS), parts.merging, parts.artefacts, Pace(waiting_s=0.0)
    )
    version = await parts.ready()
    request = deployment_pb2.CreateDeploymentRequest(
        parent="projects/default",
        deployment_id="support",
        deployment={"model_version": version.name, "target": "sagemaker"},
        request_id=str(uuid4()),
    )
    await parts.deployer.create(request, "default")
    await parts.until(
        lambda: parts.deployments.get(NAME), lambda one: one.state is not DeploymentState.PENDING
    )
    return version


async def test_two_targets_are_offered_and_the_one_outside_answers_our_clients(
    parts, deployed, base_url
):
    found = await parts.deployments.get(NAME)
    assert (found.state, found.external_name) == (DeploymentState.READY, *endpoints())
    offered = await parts.deployer.offers(deployed.name)
    assert [one.offer.target for one in offered] == ["shared", "sagemaker"]
    async with openai.AsyncOpenAI(base_url=base_url, api_key="none") as client:
        raw = await client.chat.completions.with_raw_response.create(
            model="support", messages=MESSAGES
        )
        assert raw.headers["x-attune-model-version"] == deployed.name
        answer = raw.parse()
    assert (answer.model, answer.choices[0].message.content) == ("support", "good day")


async def test_an_answer_streams_through_and_a_refusal_of_the_model_stays_one(
    parts, deployed, base_url, monkeypatch
):
    chunks = [
        {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]}
        for text, reason in (("good", None), (" day", "stop"))
    ]
    text = "".join(f"data: {json.dumps(one)}\n\n" for one in chunks) + "data: [DONE]\n\n"
    with a_runtime(text.encode()) as (address, bodies):
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", address)
        parts.targets["sagemaker"]._aws = Aws(OPTIONS)
        async with openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
            stream = await client.chat.completions.create(
                model="support", messages=MESSAGES, stream=True
            )
            told = [chunk.choices[0].delta.content async for chunk in stream]
            with pytest.raises(openai.BadRequestError, match="too long"):
                await client.chat.completions.create(model="support", messages=MESSAGES)
    assert told == ["good", " day"]
    assert bodies[0]["stream"] is True
    assert "model" not in bodies[0]


async def test_deleting_it_gives_back_what_is_there_and_says_what_stands_in_the_way(
    parts, deployed, monkeypatch
):
    call = Aws.call

    async def refuse(self, service, operation, **arguments):
        if operation == "delete_endpoint":
            raise AwsRefused("AccessDeniedException", "Not for you.", {})
        return await call(self, service, operation, **arguments)

    with monkeypatch.context() as refused:
        refused.setattr(Aws, "call", refuse)
        await parts.deployer.delete(
            deployment_pb2.DeleteDeploymentRequest(name=NAME, request_id=str(uuid4()))
        )
        found = await parts.until(
            lambda: parts.deployments.get(NAME), lambda one: "Not for you" in one.state_reason
        )
        assert found.state is DeploymentState.DELETING
    async with asyncio.timeout(WAIT_S):
        while await parts.deployments.list_all():
            await parts.deployments.wait_for_commit(0.05)
    assert endpoints() == {}


async def test_a_target_that_is_not_configured_is_refused(parts):
    version = await parts.ready()
    request = deployment_pb2.CreateDeploymentRequest(
        parent="projects/default",
        deployment_id="support",
        deployment={"model_version": version.name, "target": "bedrock"},
        request_id=str(uuid4()),
    )
    with pytest.raises(InvalidArgument, match="'bedrock' is not a deploy target here"):
        await parts.deployer.create(request, "default")
