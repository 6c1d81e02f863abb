"""The command `model merge`."""

from __future__ import annotations

import click
from attune.serving.v1 import model_pb2
from attune.trainer.v1 import trainer_pb2

from cli.client import Client, with_client
from cli.options import json_option
from cli.version_names import find_version, short_version
from cli.views.screen import Screen, print_json
from services.common.errors import FailedPrecondition
from services.common.peers import call

MERGE_TIMEOUT_S = 3600.0


@click.command(epilog="Example:  attune model merge support-tickets/1")
@click.argument("version")
@json_option
def merge(version: str, as_json: bool) -> None:
    """Make the adapter of VERSION and its base one model, which plans may begin from."""

    async def work(client: Client) -> tuple[str, trainer_pb2.MergeAdapterResponse]:
        found = await find_version(client, version)
        return short_version(found.name), await _merged(client, found)

    screen = Screen(as_json)
    with screen.busy("merging"):
        name, made = with_client(work)
    if as_json:
        print_json(made)
        return
    screen.say(f"{name} is at hand as the base model {made.base_model}.")
    screen.next_steps(f'attune ask "Use {made.base_model}"', "attune model bases")


async def _merged(
    client: Client, version: model_pb2.ModelVersion
) -> trainer_pb2.MergeAdapterResponse:
    if version.merged_sha256:
        raise FailedPrecondition(
            f"{short_version(version.name)} is a whole model already, at hand as the base model "
            f"merged/{version.merged_sha256[:12]}.",
            reason="WHOLE_ALREADY",
            model_version=version.name,
        )
    request = trainer_pb2.MergeAdapterRequest(adapter_sha256=version.adapter_sha256)
    made: trainer_pb2.MergeAdapterResponse = await call(
        client.trainer.MergeAdapter, request, timeout_s=MERGE_TIMEOUT_S
    )
    return made
