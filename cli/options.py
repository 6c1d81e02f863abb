"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Write JSON to standard output, and nothing else."
)
model_option = click.option(
    "--model",
    metavar="ID_OR_PATH",
    default="",
    help="Base model: an id of the hub or a folder, instead of attune/starter.",
)
port_base_option = click.option(
    "--port-base",
    type=click.IntRange(0, 65_000),
    help="First of the range of ports, default 7100; 0 picks free ones.",
)
engine_option = click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    help="Where training runs: local, on this machine, or ray, on a cluster. Default "
    "ATTUNE_ENGINE, or local.",
)
ray_address_option = click.option(
    "--ray-address",
    metavar="HOST:PORT",
    help="Head of the Ray cluster that this machine is part of, such as 10.0.0.1:6379, or auto. "
    "Default ATTUNE_RAY_ADDRESS.",
)
author_option = click.option(
    "--author", default="", metavar="NAME", help="Who decides; kept in the history."
)
reason_option = click.option(
    "--reason", default="", metavar="TEXT", help="Why; kept in the history."
)
override_option = click.option(
    "--override",
    default="",
    metavar="TEXT",
    help="Why a version is deployed although it is worse, its parity was rejected or, as a canary, "
    "it fails more often; kept.",
)
system_option = click.option(
    "--system", default="", help="System message before it; use the one of the training rows."
)


def sampling_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say how tokens are drawn; None where one is unset."""
    for option in reversed(SAMPLING):
        command = option(command)
    return command


SAMPLING: tuple[Callable[..., Any], ...] = (
    click.option("--temperature", type=float, help="In [0, 2]; default 0, which is greedy."),
    click.option("--top-p", type=float, help="In (0, 1]; default 1."),
    click.option("--max-tokens", type=int, help="Longest answer in tokens; default 256."),
    click.option("--seed", type=int, help="Of the draw; default 0."),
    click.option("--stop", multiple=True, help="Text that ends an answer; up to 4."),
)
