"""The command `usage`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
from attune.serving.v1 import key_pb2 as pb

from cli.client import Client, all_pages, with_client
from cli.options import json_option
from cli.resource_names import PROJECT
from cli.version_names import short_version
from cli.views.figures import number
from cli.views.listing import show_list
from services.common.peers import call

DAYS_MAX = 400


@click.command(epilog="Example:  attune usage --days 30")
@click.option(
    "--days",
    type=click.IntRange(1, DAYS_MAX),
    default=1,
    show_default=True,
    help="How far back, to the hour.",
)
@json_option
def usage(days: int, as_json: bool) -> None:
    """Show what was used by key, model and version.

    Requests that reached a model, and their tokens; most tokens first.
    """
    request = pb.GetUsageRequest(parent=PROJECT)
    request.start_time.FromDatetime(datetime.now(UTC) - timedelta(days=days))

    async def work(client: Client) -> tuple[pb.Usage, pb.ListApiKeysResponse]:
        listing = pb.ListApiKeysRequest(parent=PROJECT)
        found = await call(client.keys.GetUsage, request)
        return found, await all_pages(client.keys.ListApiKeys, listing)

    found, keys = with_client(work)
    titles = {one.name: one.title for one in keys.api_keys} | {"": "(without a key)"}
    rows = (
        (
            titles.get(one.api_key, one.api_key.rsplit("/", 1)[-1]),
            one.model,
            short_version(one.model_version) if one.model_version else "-",
            number(one.request_count),
            number(one.error_count),
            number(one.prompt_token_count),
            number(one.answer_token_count),
        )
        for one in found.rows
    )
    headers = ("key", "model", "version", "requests", "errors", "prompt tokens", "answer tokens")
    then = (f"attune usage --days {min(DAYS_MAX, 30 * days)}", "attune key list")
    show_list(found, as_json, headers, rows, then, "attune key list")
