"""The command `model bases`."""

from __future__ import annotations

import click
from attune.planner.v1 import catalogue_pb2

from cli.client import Client, with_client
from cli.options import json_option
from cli.views.figures import number
from cli.views.screen import Screen, print_json
from services.common.peers import call

BILLION = 1_000_000_000
LANGUAGES_SHOWN = 8


@click.command(epilog="Example:  attune model bases --json")
@json_option
def bases(as_json: bool) -> None:
    """List the base models that a plan may name, smallest first."""

    async def work(client: Client) -> catalogue_pb2.ListBaseModelsResponse:
        found: catalogue_pb2.ListBaseModelsResponse = await call(
            client.planner.ListBaseModels, catalogue_pb2.ListBaseModelsRequest()
        )
        return found

    found = with_client(work)
    if as_json:
        print_json(found)
        return
    screen = Screen()
    rows = [
        (
            one.id,
            _size(one),
            number(one.context_length),
            one.licence or "unknown",
            _languages(one),
            ", ".join(one.strengths),
            "here" if one.at_hand else "asks for access" if one.gated else "to be fetched",
        )
        for one in found.models
    ]
    headers = ("model", "parameters", "context", "licence", "languages", "good at", "")
    screen.table(headers, rows)
    screen.next_steps('attune ask "Use MODEL" --conversation NAME')


def _size(one: catalogue_pb2.CatalogueModel) -> str:
    whole = f"{one.parameter_count / BILLION:.3g} B"
    if 0 < one.active_parameter_count < one.parameter_count:
        return f"{whole} ({one.active_parameter_count / BILLION:.3g} B active)"
    return whole


def _languages(one: catalogue_pb2.CatalogueModel) -> str:
    shown = ", ".join(one.languages[:LANGUAGES_SHOWN])
    more = len(one.languages) - LANGUAGES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
