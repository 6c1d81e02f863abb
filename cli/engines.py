"""The command `engines`."""

from __future__ import annotations

import click
from attune.serving.v1 import engine_pb2 as pb

from cli.client import with_client
from cli.options import json_option
from cli.version_names import short_version
from cli.views.figures import span, words
from cli.views.listing import show_list
from services.common.peers import call


@click.command(epilog="Example:  attune engines")
@json_option
def engines(as_json: bool) -> None:
    """Show what computes answers.

    Which models are loaded, and the versions that they hold.
    """
    request = pb.ListEnginesRequest()
    found = with_client(lambda client: call(client.engines.ListEngines, request))
    rows = (
        (
            one.id or "-",
            one.base_model,
            _state(one),
            ", ".join(short_version(name) for name in one.model_versions) or "-",
            str(one.request_count),
            one.state_reason,
        )
        for one in found.engines
    )
    headers = ("engine", "model", "state", "versions", "requests", "")
    show_list(found, as_json, headers, rows, ("attune deployment list",), "attune up")


def _state(one: pb.Engine) -> str:
    state = words(pb.Engine.State.Name(one.state), "STATE_")
    if not one.HasField("progress"):
        return state
    rest = span(one.remaining_duration.ToTimedelta().total_seconds())
    return f"{state}, {one.progress:.0%}, {rest} left"
