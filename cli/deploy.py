"""The command `deploy`."""

from __future__ import annotations

import asyncio
import time

import click
from attune.serving.v1 import deployment_pb2

from cli.client import Client, new_request_id, with_client
from cli.options import json_option
from cli.resource_names import PROJECT, short
from cli.version_names import find_version, short_version
from cli.views.figures import words
from cli.views.screen import Screen, print_json
from services.common.errors import AlreadyExists, Unavailable
from services.common.peers import call

TARGET = "shared"
READY_TIMEOUT_S = 120.0
POLL_S = 0.2


@click.command(epilog="Example:  attune deploy support-tickets/1 --alias support-tickets")
@click.argument("version")
@click.option("--alias", default="", help="Name that applications call; the model's by default.")
@json_option
def deploy(version: str, alias: str, as_json: bool) -> None:
    """Put a model version behind an alias.

    The alias is new or existing; it answers at the OpenAI-compatible endpoint.
    """

    async def work(client: Client) -> deployment_pb2.Deployment:
        found = await find_version(client, version)
        return await deploy_version(client, found.name, alias or found.name.split("/")[3])

    screen = Screen(as_json)
    with screen.busy("deploying"):
        deployed = with_client(work)
    if as_json:
        print_json(deployed)
        return
    name = short(deployed.name).removeprefix("deployments/")
    state = words(deployment_pb2.Deployment.State.Name(deployed.state), "STATE_")
    screen.say(
        f"{short_version(deployed.model_version)} is {state} at {deployed.endpoint} "
        f"under the model name {name}."
    )
    screen.next_steps(f'attune chat {name} "Hello"')


async def deploy_version(client: Client, version: str, alias: str) -> deployment_pb2.Deployment:
    """Point an alias at a version and return the deployment when it answers.

    Raises:
        FailedPrecondition: If the version is not READY.
        Unavailable: If the engine does not hold it within two minutes.
    """
    wanted = deployment_pb2.Deployment(model_version=version, target=TARGET)
    request = deployment_pb2.CreateDeploymentRequest(
        parent=PROJECT, deployment_id=alias, deployment=wanted, request_id=new_request_id()
    )
    try:
        deployed = await call(client.deployments.CreateDeployment, request)
    except AlreadyExists:
        wanted.name = f"{PROJECT}/deployments/{alias}"
        update = deployment_pb2.UpdateDeploymentRequest(
            deployment=wanted, request_id=new_request_id()
        )
        update.update_mask.paths.append("model_version")
        deployed = await call(client.deployments.UpdateDeployment, update)
    return await _until_ready(client, deployed)


async def _until_ready(
    client: Client, deployed: deployment_pb2.Deployment
) -> deployment_pb2.Deployment:
    deadline = time.monotonic() + READY_TIMEOUT_S
    request = deployment_pb2.GetDeploymentRequest(name=deployed.name)
    while deployed.state != deployment_pb2.Deployment.STATE_READY:
        if time.monotonic() > deadline:
            raise Unavailable(
                f"{short(deployed.name)} is accepted but does not answer yet; the engine may "
                "still be warming (`attune status`). It will answer when the engine is ready.",
                reason="DEPLOYMENT_PENDING",
                deployment=deployed.name,
            )
        await asyncio.sleep(POLL_S)
        deployed = await call(client.deployments.GetDeployment, request)
    return deployed
