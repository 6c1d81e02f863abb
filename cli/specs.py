"""The commands `spec show`, `approve` and `set`, and the group of all others."""

from __future__ import annotations

import sys

import click
from attune.planner.v1 import planner_pb2
from attune.scheduler.v1 import scheduler_pb2
from attune.spec.v1 import spec_pb2

from cli.client import Client, new_request_id, with_client
from cli.job_watch import job_of_spec
from cli.options import json_option
from cli.resource_names import short, whole_name
from cli.spec_edit import set_field
from cli.spec_history import diff, list_specs, restore, revisions
from cli.spec_proposals import propose, suggest
from cli.spec_reading import read_spec
from cli.views.changes import show_notices
from cli.views.screen import Screen, print_json
from cli.views.spec import show_spec
from services.common.errors import FailedPrecondition, Unavailable
from services.common.peers import call

APPROVE_TIMEOUT_S = 30.0


@click.group(epilog="Example:  attune spec show specs/a01h8c")
def spec() -> None:
    """Read a plan, change it, approve it."""


for command in (list_specs, propose, revisions, diff, restore, suggest):
    spec.add_command(command)


@spec.command(epilog="Example:  attune spec show specs/a01h8c --revision 1")
@click.argument("name")
@click.option("--revision", type=click.IntRange(1), help="An earlier revision.")
@json_option
def show(name: str, revision: int | None, as_json: bool) -> None:
    """Show every block of a plan: each value, who chose it, and why."""
    found = with_client(lambda client: read_spec(client, whole_name("specs", name), revision or 0))
    if as_json:
        print_json(found)
        return
    screen = Screen()
    show_spec(screen, found)
    if found.state == spec_pb2.Spec.STATE_APPROVED:
        screen.next_steps("attune job list")
    else:
        screen.next_steps(
            f"attune spec approve {short(found.name)} --hash {found.hash}",
            f"attune spec set {short(found.name)} PATH VALUE",
        )


@spec.command(epilog="Example:  attune spec approve specs/a01h8c")
@click.argument("name")
@click.option("--hash", "wanted", default="", help="Approve exactly the plan with this hash.")
@click.option("--yes", is_flag=True, help="Approve the newest revision without asking.")
@json_option
def approve(name: str, wanted: str, yes: bool, as_json: bool) -> None:
    """Approve a plan, which starts its job."""
    whole, screen = whole_name("specs", name), Screen(as_json)
    if not wanted:
        found = with_client(lambda client: read_spec(client, whole))
        if not yes:
            check_somebody_can_approve("--yes")
            show_spec(screen, found)
            confirm_approval(screen)
        wanted = found.hash
    approved, job = with_client(lambda client: _approve_and_find_job(client, whole, wanted))
    if as_json:
        print_json(approved)
        return
    screen.say(f"Approved revision {approved.approval.revision}, hash {approved.hash}.")
    if job is None:
        screen.say("Its job is not there yet; `attune job list` will show it.")
    screen.next_steps(f"attune job watch {short(job.name)}" if job else "attune job list")


@spec.command("set", epilog="Example:  attune spec set a01h8c stages.0.hyperparameters.seed 7")
@click.argument("name")
@click.argument("path")
@click.argument("value")
@json_option
def set_value(name: str, path: str, value: str, as_json: bool) -> None:
    """Set the field at PATH of a plan to VALUE, which makes a new revision.

    An approval of the revision before ends.
    """
    changed = with_client(lambda client: _set(client, whole_name("specs", name), path, value))
    if as_json:
        print_json(changed)
        return
    screen = Screen()
    screen.say(f"Revision {changed.revision} of {short(changed.name)}, hash {changed.hash}.")
    show_notices(screen, changed.notices)
    screen.next_steps(
        f"attune spec show {short(changed.name)}", f"attune spec approve {short(changed.name)}"
    )


async def approve_spec(client: Client, name: str, wanted: str) -> spec_pb2.Spec:
    """Approve exactly the plan with this hash.

    Raises:
        Conflict: If that is no longer the newest revision.
        FailedPrecondition: If nothing here can run it.
    """
    request = planner_pb2.ApproveSpecRequest(name=name, hash=wanted, request_id=new_request_id())
    approved: spec_pb2.Spec = await call(
        client.planner.ApproveSpec, request, timeout_s=APPROVE_TIMEOUT_S
    )
    return approved


def check_somebody_can_approve(flag: str) -> None:
    """Refuse to go on where nobody can be asked.

    Args:
        flag: The option that approves without asking.

    Raises:
        FailedPrecondition: If standard input is no terminal.
    """
    if not sys.stdin.isatty():
        raise FailedPrecondition(
            f"Approval is a person's, and there is no terminal to ask at. Pass {flag} to approve.",
            reason="NOBODY_TO_ASK",
        )


def confirm_approval(screen: Screen) -> None:
    """Ask for consent to the plan that was just shown.

    Raises:
        FailedPrecondition: If the answer is no.
    """
    screen.say()
    if not click.confirm("Approve exactly this plan?", err=screen.as_json):
        raise FailedPrecondition(
            "Not approved; nothing runs. The plan is kept: change it with `attune spec set` or "
            "`attune ask`, approve it with `attune spec approve`.",
            reason="NOT_APPROVED",
        )


async def _approve_and_find_job(
    client: Client, name: str, wanted: str
) -> tuple[spec_pb2.Spec, scheduler_pb2.Job | None]:
    approved = await approve_spec(client, name, wanted)
    try:
        return approved, await job_of_spec(client, approved)
    except Unavailable:
        return approved, None


async def _set(client: Client, name: str, path: str, value: str) -> spec_pb2.Spec:
    found = await read_spec(client, name)
    set_field(found, path, value)
    request = planner_pb2.UpdateSpecRequest(spec=found, request_id=new_request_id())
    request.update_mask.paths.append(path)
    changed: spec_pb2.Spec = await call(client.planner.UpdateSpec, request)
    return changed
