"""The command `deploy`."""

from __future__ import annotations

import asyncio
import time

import click
from attune.serving.v1 import deployment_pb2

from cli.client import Client, new_request_id, with_client
from cli.options import author_option, json_option, override_option, reason_option
from cli.resource_names import PROJECT, short
from cli.version_names import find_version, short_version
from cli.views.figures import words
from cli.views.screen import Screen, print_json
from services.common.errors import AlreadyExists, FailedPrecondition, Unavailable
from services.common.peers import call

READY_TIMEOUT_S = 600.0
POLL_S = 0.2


@click.command(epilog="Example:  attune deploy support-tickets/1 --alias support-tickets")
@click.argument("version")
@click.option("--alias", default="", help="Name that applications call; the model's by default.")
@click.option(
    "--target",
    default="",
    help="Where, as `attune deployment targets VERSION` shows; the recommended one by default.",
)
@author_option
@reason_option
@override_option
@json_option
def deploy(
    version: str,
    alias: str,
    target: str,
    author: str,
    reason: str,
    override: str,
    as_json: bool,
) -> None:
    """Put a model version behind an alias.

    The alias is new or existing; it answers at the OpenAI-compatible endpoint.
    """

    async def work(client: Client) -> deployment_pb2.Deployment:
        found = await find_version(client, version)
        decision = deployment_pb2.Decision(author=author, reason=reason, override_reason=override)
        name = alias or found.name.split("/")[3]
        return await deploy_version(client, found.name, name, target=target, decision=decision)

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


async def deploy_version(
    client: Client,
    version: str,
    alias: str,
    *,
    target: str = "",
    decision: deployment_pb2.Decision | None = None,
) -> deployment_pb2.Deployment:
    """Point an alias at a version and return the deployment when it answers.

    Args:
        client: Of the services.
        version: Name of the version.
        alias: A new one, or one that is pointed elsewhere and keeps its target.
        target: Of a new one; the recommended one when empty.
        decision: Who decides, and why.

    Raises:
        FailedPrecondition: If the version may not be deployed, or its target gave up.
        Unavailable: If the target does not hold it within ten minutes.
    """
    wanted = deployment_pb2.Deployment(
        model_version=version, target=target or await _recommended(client, version)
    )
    request = deployment_pb2.CreateDeploymentRequest(
        parent=PROJECT,
        deployment_id=alias,
        deployment=wanted,
        request_id=new_request_id(),
        decision=decision,
    )
    try:
        deployed = await call(client.deployments.CreateDeployment, request)
    except AlreadyExists:
        wanted.name = f"{PROJECT}/deployments/{alias}"
        update = deployment_pb2.UpdateDeploymentRequest(
            deployment=wanted, request_id=new_request_id(), decision=decision
        )
        update.update_mask.paths.append("model_version")
        deployed = await call(client.deployments.UpdateDeployment, update)
    return await _until_ready(client, deployed)


async def _recommended(client: Client, version: str) -> str:
    request = deployment_pb2.ListDeployTargetsRequest(model_version=version)
    found = await call(client.deployments.ListDeployTargets, request)
    best = (one.target for one in found.targets if one.recommended)
    return str(next(best, found.targets[0].target))


async def _until_ready(
    client: Client, deployed: deployment_pb2.Deployment
) -> deployment_pb2.Deployment:
    deadline = time.monotonic() + READY_TIMEOUT_S
    request = deployment_pb2.GetDeploymentRequest(name=deployed.name)
    while deployed.state != deployment_pb2.Deployment.STATE_READY:
        if deployed.state == deployment_pb2.Deployment.STATE_FAILED:
            raise FailedPrecondition(
                f"{short(deployed.name)} failed: {deployed.state_reason}",
                reason="DEPLOYMENT_FAILED",
                deployment=deployed.name,
            )
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
