"""The commands of `compute`: what a plan needs, which devices are known, which nodes are here."""

from __future__ import annotations

import click
from attune.scheduler.v1 import fleet_pb2
from attune.spec.v1 import spec_pb2

from cli.client import all_pages, with_client
from cli.options import json_option
from cli.resource_names import short, whole_name
from cli.spec_reading import read_spec
from cli.views.fleet import show_nodes, show_profiles
from cli.views.placement import show_placement
from cli.views.screen import Screen, print_json
from services.common.errors import FailedPrecondition


@click.group(epilog="Example:  attune compute show specs/a01h8c")
def compute() -> None:
    """See what a plan needs to run, and what there is."""


@compute.command(epilog="Example:  attune compute show specs/a01h8c")
@click.argument("spec")
@json_option
def show(spec: str, as_json: bool) -> None:
    """Show the hardware that was inferred for a plan, its memory, and what was not chosen."""
    found = with_client(lambda client: read_spec(client, whole_name("specs", spec)))
    if not found.compute.stages:
        raise _nothing_inferred(found)
    if as_json:
        print_json(found.compute)
        return
    screen = Screen()
    show_placement(screen, found.compute)
    screen.next_steps(*_next_of(found))


@compute.command(epilog="Example:  attune compute profiles --json")
@json_option
def profiles(as_json: bool) -> None:
    """List the kinds of device that plans are reckoned with; --json has every figure's source."""
    request = fleet_pb2.ListComputeProfilesRequest()
    found = with_client(lambda client: all_pages(client.scheduler.ListComputeProfiles, request))
    if as_json:
        print_json(found)
        return
    screen = Screen()
    show_profiles(screen, found.profiles)
    screen.next_steps("attune compute nodes", "attune compute show SPEC")


@compute.command(epilog="Example:  attune compute nodes")
@json_option
def nodes(as_json: bool) -> None:
    """List the nodes that ever asked for runs: what each has, and whether it is live."""
    request = fleet_pb2.ListNodesRequest()
    found = with_client(lambda client: all_pages(client.scheduler.ListNodes, request))
    if as_json:
        print_json(found)
        return
    screen = Screen()
    show_nodes(screen, found.nodes)
    if any(node.live for node in found.nodes):
        screen.next_steps("attune job list", "attune compute profiles")
    else:
        screen.next_steps("attune up")


def _nothing_inferred(spec: spec_pb2.Spec) -> FailedPrecondition:
    name, missing = short(spec.name), " ".join(spec.compute.missing)
    if not spec.stages:
        text = f"{name} trains nothing, so it needs no hardware; see `attune spec show {name}`."
    elif missing:
        text = f"No hardware could be inferred for {name}: {missing}"
    else:
        text = f"No hardware is inferred for {name} yet; `attune status` shows what runs."
    return FailedPrecondition(text, reason="NO_COMPUTE")


def _next_of(spec: spec_pb2.Spec) -> list[str]:
    """Return what can be done with a plan as its hardware is."""
    name = short(spec.name)
    if spec.state == spec_pb2.Spec.STATE_APPROVED:
        return ["attune job list"]
    if spec.compute.available:
        return [f"attune spec approve {name}", f"attune spec show {name}"]
    return ["attune compute nodes", f"attune spec set {name} PATH VALUE"]
