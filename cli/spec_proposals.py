"""The commands `spec propose` and `spec suggest`."""

from __future__ import annotations

import click
from attune.planner.v1 import planner_pb2
from attune.spec.v1 import spec_pb2

from cli.client import Client, new_request_id, with_client
from cli.options import json_option
from cli.resource_names import PROJECT, short, whole_name
from cli.views.changes import show_changes
from cli.views.screen import Screen, print_json
from cli.views.spec import show_spec
from services.common.peers import call

PROPOSE_TIMEOUT_S = 120.0


@click.command(epilog="Example:  attune spec propose --dataset datasets/a01h8c --json")
@click.option("--dataset", "datasets", multiple=True, help="Examples to learn from; up to 4.")
@click.option("--objective", default="", help="What the model should do; default: as the rows do.")
@json_option
def propose(datasets: tuple[str, ...], objective: str, as_json: bool) -> None:
    """Make a complete plan from a dataset, an objective, or both, with no conversation."""
    if not datasets and not objective.strip():
        raise click.UsageError("Give --dataset, --objective, or both.")
    request = planner_pb2.ProposeSpecRequest(
        parent=PROJECT,
        datasets=[whole_name("datasets", one) for one in datasets],
        objective=objective,
        request_id=new_request_id(),
    )

    async def work(client: Client) -> spec_pb2.Spec:
        made: spec_pb2.Spec = await call(
            client.planner.ProposeSpec, request, timeout_s=PROPOSE_TIMEOUT_S
        )
        return made

    proposed = with_client(work)
    if as_json:
        print_json(proposed)
        return
    screen = Screen()
    show_spec(screen, proposed)
    screen.next_steps(
        f"attune spec approve {short(proposed.name)} --hash {proposed.hash}",
        f"attune spec set {short(proposed.name)} PATH VALUE",
    )


@click.command(epilog="Example:  attune spec suggest jobs/a01h8c")
@click.argument("job")
@json_option
def suggest(job: str, as_json: bool) -> None:
    """Read curves and evaluation of a finished JOB and propose changes to its plan."""
    request = planner_pb2.SuggestRevisionsRequest(job=whole_name("jobs", job))

    async def work(client: Client) -> planner_pb2.SuggestRevisionsResponse:
        found: planner_pb2.SuggestRevisionsResponse = await call(
            client.planner.SuggestRevisions, request, timeout_s=PROPOSE_TIMEOUT_S
        )
        return found

    found = with_client(work)
    if as_json:
        print_json(found)
        return
    screen = Screen()
    steps = []
    for suggestion in found.suggestions:
        screen.heading(f"{suggestion.title} ({suggestion.code})")
        for sentence in suggestion.evidence:
            screen.say(f"  {sentence}")
        show_changes(screen, suggestion.changes)
        name = short(suggestion.spec.name)
        steps += [
            f"attune spec set {name} {change.field_path} {change.after}"
            for change in suggestion.changes
        ]
    if not found.suggestions:
        screen.say("Nothing in curves and evaluation speaks for a change.")
    screen.next_steps(*(steps or ["attune model list"]))
