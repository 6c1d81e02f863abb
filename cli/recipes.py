"""The command `recipe list`."""

from __future__ import annotations

import click
from attune.planner.v1 import catalogue_pb2
from attune.spec.v1 import stage_pb2

from cli.client import Client, with_client
from cli.options import json_option
from cli.views.figures import number, words
from cli.views.screen import Screen, print_json
from services.common.peers import call


@click.group(epilog="Example:  attune recipe list")
def recipe() -> None:
    """Look up where recommended hyperparameters come from."""


@recipe.command("list", epilog="Example:  attune recipe list --technique dpo")
@click.option("--technique", default="", help="Only recipes of this one, such as sft or dpo.")
@json_option
def list_recipes(technique: str, as_json: bool) -> None:
    """List every recipe with the source of each of its values."""

    async def work(client: Client) -> catalogue_pb2.ListRecipesResponse:
        found: catalogue_pb2.ListRecipesResponse = await call(
            client.planner.ListRecipes, catalogue_pb2.ListRecipesRequest()
        )
        return found

    found = with_client(work)
    if technique:
        wanted = technique.lower()
        kept = [one for one in found.recipes if _technique(one) == wanted]
        found = catalogue_pb2.ListRecipesResponse(recipes=kept)
    if as_json:
        print_json(found)
        return
    screen = Screen()
    for one in found.recipes:
        method = words(stage_pb2.Method.Name(one.method), "METHOD_")
        largest = f"up to {number(one.parameter_count_max)}" if one.parameter_count_max else "all"
        screen.heading(f"{one.id}: {_technique(one).upper()} with {method}, {largest} parameters")
        rows = [(f"  {v.field_path}", v.value, v.source, v.reason) for v in one.values]
        screen.table(("  field", "value", "source", "why"), rows)
    if not found.recipes:
        screen.say(f"There is no recipe for '{technique}'.")
    screen.next_steps("attune model bases")


def _technique(one: catalogue_pb2.Recipe) -> str:
    return words(stage_pb2.Technique.Name(one.technique), "TECHNIQUE_")
