"""The commands `spec list`, `revisions`, `diff` and `restore`."""

from __future__ import annotations

import click
from attune.planner.v1 import planner_pb2
from attune.spec.v1 import spec_pb2

from cli.client import Client, all_pages, new_request_id, with_client
from cli.options import json_option
from cli.resource_names import PROJECT, short, whole_name
from cli.spec_reading import read_spec
from cli.views.changes import show_changes
from cli.views.figures import moment, words
from cli.views.listing import show_list
from cli.views.screen import Screen, print_json
from services.common.peers import call

HASH_SHOWN = 12


@click.command("list", epilog="Example:  attune spec list --json")
@json_option
def list_specs(as_json: bool) -> None:
    """List all plans, newest first."""
    request = planner_pb2.ListSpecsRequest(parent=PROJECT)
    found = with_client(lambda client: all_pages(client.planner.ListSpecs, request))
    rows = ((short(one.name), one.display_name, *_facts(one)) for one in found.specs)
    headers = ("name", "plan", "revision", "state", "advice", "hash", "made")
    then = ("attune spec show NAME",)
    show_list(found, as_json, headers, rows, then, 'attune ask "What I want"')


@click.command(epilog="Example:  attune spec revisions specs/a01h8c")
@click.argument("name")
@json_option
def revisions(name: str, as_json: bool) -> None:
    """List the revisions of a plan, newest first."""
    request = planner_pb2.ListSpecRevisionsRequest(name=whole_name("specs", name))
    found = with_client(lambda client: all_pages(client.planner.ListSpecRevisions, request))
    if as_json:
        print_json(found)
        return
    screen = Screen()
    screen.table(("revision", "state", "advice", "hash", "made"), [_facts(s) for s in found.specs])
    shown = short(request.name)
    screen.next_steps(f"attune spec diff {shown}", f"attune spec restore {shown} REVISION")


@click.command(epilog="Example:  attune spec diff specs/a01h8c --from 1 --to 3")
@click.argument("name")
@click.option("--from", "before", type=click.IntRange(1), help="Default: the one before --to.")
@click.option("--to", "after", type=click.IntRange(1), help="Default: the newest.")
@json_option
def diff(name: str, before: int | None, after: int | None, as_json: bool) -> None:
    """Compare two revisions of a plan, field by field."""
    request = planner_pb2.DiffSpecsRequest(
        name=whole_name("specs", name), from_revision=before or 0, to_revision=after or 0
    )

    async def work(client: Client) -> planner_pb2.DiffSpecsResponse:
        found: planner_pb2.DiffSpecsResponse = await call(client.planner.DiffSpecs, request)
        return found

    found = with_client(work)
    if as_json:
        print_json(found)
        return
    screen = Screen()
    if found.changes:
        screen.say(f"From revision {found.from_revision} to {found.to_revision}:")
        show_changes(screen, found.changes)
    else:
        screen.say(f"Revisions {found.from_revision} and {found.to_revision} decide the same.")
    shown = short(request.name)
    screen.next_steps(
        f"attune spec show {shown}", f"attune spec restore {shown} {found.from_revision}"
    )


@click.command(epilog="Example:  attune spec restore specs/a01h8c 1")
@click.argument("name")
@click.argument("revision", type=click.IntRange(1))
@json_option
def restore(name: str, revision: int, as_json: bool) -> None:
    """Make a new revision of a plan with the decisions of an earlier REVISION.

    An approval of the revision before ends.
    """
    restored = with_client(lambda client: _restore(client, whole_name("specs", name), revision))
    if as_json:
        print_json(restored)
        return
    screen, shown = Screen(), short(restored.name)
    screen.say(f"Revision {restored.revision} of {shown} is revision {revision} again.")
    screen.say(f"Hash: {restored.hash}")
    screen.next_steps(f"attune spec show {shown}", f"attune spec approve {shown}")


async def _restore(client: Client, name: str, revision: int) -> spec_pb2.Spec:
    newest = await read_spec(client, name)
    request = planner_pb2.RestoreSpecRequest(
        name=name, revision=revision, etag=newest.etag, request_id=new_request_id()
    )
    restored: spec_pb2.Spec = await call(client.planner.RestoreSpec, request)
    return restored


def _facts(spec: spec_pb2.Spec) -> tuple[str, ...]:
    advice = spec_pb2.Verdict.Recommendation.Name(spec.verdict.recommendation)
    return (
        str(spec.revision),
        words(spec_pb2.Spec.State.Name(spec.state), "STATE_"),
        words(advice, "RECOMMENDATION_"),
        spec.hash[:HASH_SHOWN],
        moment(spec.update_time),
    )
