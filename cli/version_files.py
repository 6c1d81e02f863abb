"""The commands `model export` and `model delete`."""

from __future__ import annotations

import sys

import click
from attune.serving.v1 import model_pb2

from cli.client import Client, with_client
from cli.options import json_option
from cli.resource_names import version_name
from cli.version_names import find_version, short_version
from cli.views.figures import size
from cli.views.screen import Screen, print_json
from services.common.errors import FailedPrecondition, Violation, invalid
from services.common.peers import call

EXPORT_TIMEOUT_S = 3600.0
"""Every byte of a large model is read."""


@click.command(epilog="Example:  attune model export support-tickets/1")
@click.argument("version")
@json_option
def export(version: str, as_json: bool) -> None:
    """Write VERSION as a folder that runs without Attune: weights, card, licence, Compose file."""

    async def work(client: Client) -> model_pb2.ExportModelVersionResponse:
        found = await find_version(client, version)
        request = model_pb2.ExportModelVersionRequest(name=found.name)
        made: model_pb2.ExportModelVersionResponse = await call(
            client.versions.ExportModelVersion, request, timeout_s=EXPORT_TIMEOUT_S
        )
        return made

    screen = Screen(as_json)
    with screen.busy("exporting"):
        made = with_client(work)
    if as_json:
        print_json(made)
        return
    folder = made.uri.removeprefix("file://")
    screen.say(f"{folder} has {size(made.size_bytes)} in all; its README.md says how it is used.")
    screen.next_steps(f"cd {folder}", made.command)


@click.command(epilog="Example:  attune model delete support-tickets/1 --yes")
@click.argument("version")
@click.option("--yes", is_flag=True, help="Delete it without asking.")
@json_option
def delete(version: str, yes: bool, as_json: bool) -> None:
    """Take VERSION out of use for ever and its weights off the disk.

    VERSION is MODEL/NUMBER. What a deployment or another version needs is refused.
    """
    model, number = version_name(version)
    if not number:
        text = f"'{version[:200]}' has no number. Say which version, such as {version[:200]}/1."
        raise invalid([Violation("VERSION", "NUMBER", text)])
    name = f"{model}/versions/{number}"
    screen = Screen(as_json)
    if not yes:
        _confirm(screen, short_version(name))
    request = model_pb2.DeleteModelVersionRequest(name=name)
    freed = with_client(lambda client: call(client.versions.DeleteModelVersion, request))
    if as_json:
        print_json(freed)
        return
    screen.say(f"{short_version(name)} is deleted; {size(freed.freed_bytes)} are free again.")
    for text in freed.kept:
        screen.say(text)
    screen.next_steps("attune model list")


def _confirm(screen: Screen, version: str) -> None:
    """Ask for consent.

    Raises:
        FailedPrecondition: If the answer is no, or nobody can be asked.
    """
    if not sys.stdin.isatty():
        raise FailedPrecondition(
            "A deletion is a person's, and there is no terminal to ask at. Pass --yes to delete.",
            reason="NOBODY_TO_ASK",
        )
    screen.say(
        "Its weights are lost; lineage and report stay. A plan that is not approved yet and begins "
        "from it can be approved no more."
    )
    if not click.confirm(f"Delete {version}?", err=screen.as_json):
        raise FailedPrecondition("Not deleted; nothing changed.", reason="NOT_DELETED")
