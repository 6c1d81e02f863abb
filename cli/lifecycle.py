"""The commands `up`, `status` and `down`."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict

import click

from cli.home import Home
from cli.launcher.bring_up import bring_up
from cli.launcher.status import ENGINE, ProcessStatus, all_healthy, process_statuses
from cli.launcher.teardown import end_all, living
from cli.options import (
    engine_option,
    json_option,
    model_option,
    port_base_option,
    ray_address_option,
)
from cli.views.screen import Screen


@click.command(epilog="Example:  attune up --port-base 0")
@model_option
@port_base_option
@engine_option
@ray_address_option
@json_option
def up(
    model: str,
    port_base: int | None,
    engine: str | None,
    ray_address: str | None,
    as_json: bool,
) -> None:
    """Start everything and leave it running.

    Single ports are set by ATTUNE_PLANNER_PORT and the like.
    """
    screen = Screen(as_json)
    running = bring_up(
        Home.read(), model, port_base, screen, engine=engine, ray_address=ray_address
    )
    if as_json:
        print(json.dumps(asdict(running.endpoints), indent=2))
        return
    screen.heading("Where everything is")
    screen.table(("", ""), list(asdict(running.endpoints).items()))
    screen.say()
    screen.say("vLLM warms in the background where it is not ready yet: `attune status`.")
    screen.next_steps("attune demo", 'attune ask "What I want"', "attune down")


@click.command(epilog="Example:  attune status")
@json_option
def status(as_json: bool) -> None:
    """Show what runs, and how it is.

    Exits with 0 when everything is healthy, else with 1.
    """
    statuses = asyncio.run(process_statuses(Home.read()))
    well = all_healthy(statuses)
    if as_json:
        print(json.dumps([asdict(status) for status in statuses], indent=2))
    else:
        _show(statuses, well)
    raise SystemExit(0 if well else 1)


def _show(statuses: list[ProcessStatus], well: bool) -> None:
    screen = Screen()
    rows = [
        (
            "vLLM" if one.name == ENGINE else one.name,
            "warming" if one.name == ENGINE and one.state == "starting" else one.state,
            str(one.pid or "-"),
            one.address or "-",
            one.since or "-",
            str(one.restarts),
            one.reason,
        )
        for one in statuses
    ]
    screen.table(("name", "state", "pid", "address", "since", "restarts", "last words"), rows)
    if well:
        screen.next_steps("attune demo", "attune down")
    elif all(one.pid == 0 for one in statuses):
        screen.next_steps("attune up")
    else:
        screen.next_steps("attune up    (starts what is missing)", "attune down")


@click.command(epilog="Example:  attune down")
@json_option
def down(as_json: bool) -> None:
    """End everything that runs here.

    Works whatever was killed before, and ends the engine and training runs too.
    """
    home = Home.read()
    screen = Screen(as_json)
    names = sorted({record.name for record in living(home)})
    with screen.busy("ending " + ", ".join(names)):
        left = end_all(home)
    if as_json:
        print(json.dumps({"ended": names, "left": left}))
    elif left:
        screen.say(f"Still running: {', '.join(left)}. Run `attune down` again.")
    elif names:
        screen.say(f"Ended: {', '.join(names)}. Nothing is left running.")
        screen.next_steps("attune up")
    else:
        screen.say("Nothing was running.")
        screen.next_steps("attune up")
    raise SystemExit(1 if left else 0)
