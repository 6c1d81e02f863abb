"""The command `model list`, and the group of all others."""

from __future__ import annotations

import click
from attune.serving.v1 import model_pb2

from cli.bases import bases
from cli.client import all_pages, with_client
from cli.merging import merge
from cli.options import json_option
from cli.resource_names import PROJECT
from cli.version_files import delete, export
from cli.version_names import short_version
from cli.views.figures import moment, words
from cli.views.report import verdict_of
from cli.views.screen import Screen, print_json


@click.group(epilog="Example:  attune model list")
def model() -> None:
    """List tuned models and bases, make bases of tuned ones, export and delete them."""


model.add_command(bases)
model.add_command(merge)
model.add_command(export)
model.add_command(delete)


@model.command("list", epilog="Example:  attune model list")
@click.option("--all", "with_deleted", is_flag=True, help="Deleted versions too.")
@json_option
def list_versions(with_deleted: bool, as_json: bool) -> None:
    """List all versions of all models, newest first."""
    request = model_pb2.ListModelVersionsRequest(parent=f"{PROJECT}/models/-")
    found = with_client(lambda client: all_pages(client.versions.ListModelVersions, request))
    if not with_deleted:
        living = [
            one for one in found.model_versions if one.state != model_pb2.ModelVersion.STATE_DELETED
        ]
        found = model_pb2.ListModelVersionsResponse(model_versions=living)
    if as_json:
        print_json(found)
        return
    screen = Screen()
    rows = [
        (
            short_version(one.name),
            words(model_pb2.ModelVersion.State.Name(one.state), "STATE_"),
            one.base_model,
            f"{one.report.base_score:.3f}",
            f"{one.report.tuned_score:.3f}",
            verdict_of(one.report),
            moment(one.create_time),
            one.state_reason if one.state == model_pb2.ModelVersion.STATE_REJECTED else "",
        )
        for one in found.model_versions
    ]
    headers = ("version", "state", "base model", "base", "tuned", "verdict", "made", "")
    screen.table(headers, rows)
    if not rows:
        screen.next_steps("attune job list")
        return
    screen.next_steps(f'attune compare {rows[0][0]} "A prompt"', f"attune deploy {rows[0][0]}")
