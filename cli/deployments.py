"""The commands of `deployment`: what answers under which name, and how that changes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import click
from attune.serving.v1 import deployment_pb2 as pb
from google.protobuf.field_mask_pb2 import FieldMask

from cli.client import Client, all_pages, new_request_id, with_client
from cli.options import author_option, json_option, override_option, reason_option
from cli.resource_names import PROJECT, short, whole_name
from cli.version_names import find_version, short_version
from cli.views.deployment import arms_of, show_deployment, show_targets, state_of
from cli.views.figures import moment, words
from cli.views.listing import show_list
from cli.views.screen import Screen, json_of, print_json
from services.common.peers import call, stream

WATCH_TIMEOUT_S = 3600.0


@click.group(epilog="Example:  attune deployment list")
def deployment() -> None:
    """See what is deployed, try a new version, take it back."""


@deployment.command("list", epilog="Example:  attune deployment list --json")
@json_option
def list_deployments(as_json: bool) -> None:
    """List all aliases with what answers under them."""
    request = pb.ListDeploymentsRequest(parent=PROJECT)
    found = with_client(lambda client: all_pages(client.deployments.ListDeployments, request))
    rows = (
        (alias_of(one.name), state_of(one), arms_of(one), one.target, moment(one.update_time))
        for one in found.deployments
    )
    headers = ("alias", "state", "answers", "target", "changed")
    then = ("attune deployment show ALIAS", 'attune chat ALIAS "Hello"')
    show_list(found, as_json, headers, rows, then, "attune model list")


@deployment.command(epilog="Example:  attune deployment show support-tickets")
@click.argument("alias")
@json_option
def show(alias: str, as_json: bool) -> None:
    """Show one alias: what was decided, what answers, and the way back."""
    request = pb.GetDeploymentRequest(name=whole_name("deployments", alias))
    _tell(with_client(lambda client: call(client.deployments.GetDeployment, request)), as_json)


@deployment.command(epilog="Example:  attune deployment watch support-tickets")
@click.argument("alias")
@json_option
def watch(alias: str, as_json: bool) -> None:
    """Follow one alias until it answers with what was decided.

    With --json, one line for every change.
    """
    request = pb.WatchDeploymentRequest(name=whole_name("deployments", alias))
    screen = Screen(as_json)

    async def work(client: Client) -> pb.Deployment | None:
        last = None
        async with asyncio.timeout(WATCH_TIMEOUT_S):
            async for item in stream(
                client.deployments.WatchDeployment, request, timeout_s=WATCH_TIMEOUT_S
            ):
                last = item.deployment
                if as_json:
                    print(json_of(last, indent=None), flush=True)
                screen.say(f"{state_of(last)}: {last.state_reason}")
                if last.state in (pb.Deployment.STATE_READY, pb.Deployment.STATE_FAILED):
                    return last  # type: ignore[no-any-return]
        return last

    last = with_client(work)
    screen.next_steps(f"attune deployment show {alias_of(last.name) if last else alias}")


@deployment.command(epilog="Example:  attune deployment targets support-tickets/2")
@click.argument("version")
@json_option
def targets(version: str, as_json: bool) -> None:
    """Show where a version can be deployed, with what each place means and costs."""

    async def work(client: Client) -> tuple[str, pb.ListDeployTargetsResponse]:
        found = await find_version(client, version)
        request = pb.ListDeployTargetsRequest(model_version=found.name)
        return found.name, await call(client.deployments.ListDeployTargets, request)

    name, found = with_client(work)
    if as_json:
        print_json(found)
        return
    screen = Screen()
    show_targets(screen, found.targets)
    best = next((one.target for one in found.targets if one.recommended), "shared")
    screen.next_steps(f"attune deploy {short_version(name)} --target {best}")


@deployment.command(epilog="Example:  attune deployment canary support-tickets 3 --percent 10")
@click.argument("alias")
@click.argument("version")
@click.option(
    "--percent",
    type=click.FloatRange(0, 100),
    default=10.0,
    show_default=True,
    help="Share of the requests; 0 leaves it to the header x-attune-canary: always.",
)
@author_option
@reason_option
@override_option
@json_option
def canary(
    alias: str,
    version: str,
    percent: float,
    author: str,
    reason: str,
    override: str,
    as_json: bool,
) -> None:
    """Try another VERSION on a share of the requests.

    VERSION is MODEL/NUMBER.
    """

    async def work(client: Client) -> pb.Deployment:
        found = await find_version(client, version)
        wanted = pb.Deployment(
            name=whole_name("deployments", alias),
            canary=pb.Canary(model_version=found.name, percent=percent),
        )
        return await _update(client, wanted, "canary", _decision(author, reason, override))

    _tell(
        with_client(work), as_json, "attune deployment promote {}", "attune deployment rollback {}"
    )


@deployment.command(epilog="Example:  attune deployment promote support-tickets")
@click.argument("alias")
@author_option
@reason_option
@override_option
@json_option
def promote(alias: str, author: str, reason: str, override: str, as_json: bool) -> None:
    """Let the canary answer all requests."""
    request = pb.PromoteDeploymentRequest(
        name=whole_name("deployments", alias),
        request_id=new_request_id(),
        decision=_decision(author, reason, override),
    )
    changed = with_client(lambda client: call(client.deployments.PromoteDeployment, request))
    _tell(changed, as_json, "attune deployment rollback {}")


@deployment.command(epilog="Example:  attune deployment rollback support-tickets")
@click.argument("alias")
@author_option
@reason_option
@json_option
def rollback(alias: str, author: str, reason: str, as_json: bool) -> None:
    """Take back the last change: end the canary, or return to the version before."""
    request = pb.RollbackDeploymentRequest(
        name=whole_name("deployments", alias),
        request_id=new_request_id(),
        decision=_decision(author, reason, ""),
    )
    changed = with_client(lambda client: call(client.deployments.RollbackDeployment, request))
    _tell(changed, as_json, "attune deployment history {}")


@deployment.command(epilog="Example:  attune deployment delete support-tickets")
@click.argument("alias")
@author_option
@reason_option
@json_option
def delete(alias: str, author: str, reason: str, as_json: bool) -> None:
    """Take an alias down; it stops answering at once."""
    request = pb.DeleteDeploymentRequest(
        name=whole_name("deployments", alias),
        request_id=new_request_id(),
        decision=_decision(author, reason, ""),
    )
    gone = with_client(lambda client: call(client.deployments.DeleteDeployment, request))
    if as_json:
        print_json(gone)
        return
    screen = Screen()
    screen.say(f"{alias_of(gone.name)} does not answer any more.")
    screen.next_steps("attune deployment list")


@deployment.command(epilog="Example:  attune deployment history support-tickets")
@click.argument("alias")
@json_option
def history(alias: str, as_json: bool) -> None:
    """List what was decided about an alias, by whom and why, newest first."""
    request = pb.ListDeploymentChangesRequest(parent=whole_name("deployments", alias))
    found = with_client(lambda client: all_pages(client.deployments.ListDeploymentChanges, request))
    rows = (
        (
            moment(one.create_time),
            words(pb.DeploymentChange.Kind.Name(one.kind), "KIND_"),
            arms_of(one),
            one.author or "-",
            "; ".join(filter(None, (one.reason, one.override_reason))) or "-",
        )
        for one in found.changes
    )
    headers = ("when", "what", "version", "who", "why")
    then = (f"attune deployment show {alias_of(request.parent)}",)
    show_list(found, as_json, headers, rows, then, "attune deployment list")


async def _update(
    client: Client, wanted: pb.Deployment, path: str, decision: pb.Decision
) -> pb.Deployment:
    request = pb.UpdateDeploymentRequest(
        deployment=wanted,
        update_mask=FieldMask(paths=[path]),
        request_id=new_request_id(),
        decision=decision,
    )
    changed: pb.Deployment = await call(client.deployments.UpdateDeployment, request)
    return changed


def _decision(author: str, reason: str, override: str) -> pb.Decision:
    return pb.Decision(author=author, reason=reason, override_reason=override)


def alias_of(name: str) -> str:
    """Return the alias in a deployment's name."""
    return short(name).removeprefix("deployments/")


def _tell(found: pb.Deployment, as_json: bool, *then: str) -> None:
    if as_json:
        print_json(found)
        return
    screen = Screen()
    show_deployment(screen, found)
    alias = alias_of(found.name)
    steps: Sequence[str] = [one.format(alias) for one in then]
    screen.next_steps(*(steps or (f'attune chat {alias} "Hello"',)))
