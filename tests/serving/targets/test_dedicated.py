"""Whole models on engines of their own, through the services: deployed, answering, taken back."""

import asyncio
from uuid import uuid4

import pytest
from attune.serving.v1 import deployment_pb2, playground_pb2

from services.common.errors import FailedPrecondition
from services.serving.deployments.deployment import DeploymentState
from tests.serving.parts import WAIT_S

CHAT = [{"role": "user", "content": "how are you"}]
NAME = "projects/default/deployments/own"


def creation(version):
    return deployment_pb2.CreateDeploymentRequest(
        parent="projects/default",
        deployment_id="own",
        deployment={"model_version": version.name, "target": "dedicated"},
        request_id=str(uuid4()),
    )


async def settled(parts):
    return await parts.until(
        lambda: parts.deployments.get(NAME), lambda one: one.state != DeploymentState.PENDING
    )


async def answer(stubs):
    call = stubs[1].Generate(playground_pb2.GenerateRequest(model=NAME, prompt={"messages": CHAT}))
    return "".join([piece.text_delta async for piece in call])


async def test_an_adapter_is_merged_loaded_and_proved_before_it_answers(parts, stubs):
    version = await parts.ready()
    made = await stubs[2].CreateDeployment(creation(version))
    assert made.state == deployment_pb2.Deployment.STATE_PENDING
    found = await settled(parts)
    assert found.state is DeploymentState.READY
    assert (await parts.versions.get(version.name)).merged_sha256
    assert (await answer(stubs)).startswith("merged/")


async def test_a_whole_model_needs_no_merge_and_the_shared_target_refuses_it(parts, stubs):
    version = await parts.ready(use_dora=True)
    await parts.deployer.create(creation(version), "default")
    assert (await settled(parts)).state is DeploymentState.READY
    request = creation(version)
    request.deployment.target, request.deployment_id = "shared", "other"
    with pytest.raises(FailedPrecondition, match="dedicated"):
        await parts.deployer.create(request, "default")


async def test_what_cannot_be_merged_fails_with_the_reason_and_can_be_deleted(parts, stubs):
    version = await parts.ready()
    parts.trainer.refusal = FailedPrecondition("It holds no numbers.", reason="NO_NUMBERS")
    await parts.deployer.create(creation(version), "default")
    found = await settled(parts)
    assert found.state is DeploymentState.FAILED
    assert "It holds no numbers." in found.state_reason
    await parts.deployer.delete(
        deployment_pb2.DeleteDeploymentRequest(name=NAME, request_id=str(uuid4()))
    )
    async with asyncio.timeout(WAIT_S):
        while await parts.deployments.list_all():
            await parts.deployments.wait_for_commit(0.05)
