"""The commands of `key`: who may call the endpoint."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
from attune.serving.v1 import key_pb2 as pb

from cli.client import all_pages, new_request_id, with_client
from cli.options import json_option
from cli.resource_names import PROJECT, whole_name
from cli.views.figures import moment, number
from cli.views.listing import show_list
from cli.views.screen import Screen, print_json
from services.common.peers import call

DAYS_MAX = 3650


@click.group(epilog="Example:  attune key list")
def key() -> None:
    """Make keys for applications, list them, end them."""


@key.command(epilog='Example:  attune key create "Support desk" --model support-tickets --days 90')
@click.argument("title")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="What it may call: an alias, MODEL/NUMBER or base:ID; repeat it for several. All if none.",
)
@click.option(
    "--requests-per-minute", type=click.IntRange(1), help="Most requests; 10,000 by default."
)
@click.option(
    "--tokens-per-minute",
    type=click.IntRange(1),
    help="Most tokens of prompts and answers; 10,000,000 by default.",
)
@click.option(
    "--concurrent-requests", type=click.IntRange(1), help="Most requests at once; 200 by default."
)
@click.option(
    "--days", type=click.IntRange(1, DAYS_MAX), help="How long it lives; for ever by default."
)
@json_option
def create(
    title: str,
    models: tuple[str, ...],
    requests_per_minute: int | None,
    tokens_per_minute: int | None,
    concurrent_requests: int | None,
    days: int | None,
    as_json: bool,
) -> None:
    """Make a key and show its secret, this once.

    TITLE says what the key is for. Applications send the secret as `Authorization: Bearer`; to an
    OpenAI client it is the api_key.
    """
    wanted = pb.ApiKey(
        title=title,
        models=models,
        limits=pb.Limits(
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            concurrent_requests=concurrent_requests,
        ),
    )
    if days is not None:
        wanted.expire_time.FromDatetime(datetime.now(UTC) + timedelta(days=days))
    request = pb.CreateApiKeyRequest(parent=PROJECT, api_key=wanted, request_id=new_request_id())
    made = with_client(lambda client: call(client.keys.CreateApiKey, request))
    if as_json:
        print_json(made)
        return
    screen = Screen()
    screen.say(made.secret)
    screen.say("This secret is shown only now; keep it where your application finds it.")
    screen.next_steps("attune key list", f"attune key revoke {_id(made.api_key)}")


@key.command("list", epilog="Example:  attune key list --json")
@json_option
def list_keys(as_json: bool) -> None:
    """List all keys, newest first, ended ones included."""
    request = pb.ListApiKeysRequest(parent=PROJECT)
    found = with_client(lambda client: all_pages(client.keys.ListApiKeys, request))
    rows = (
        (
            _id(one),
            one.title,
            f"{one.secret_prefix}...",
            ", ".join(one.models) or "all",
            _limits(one.limits),
            _state(one),
            moment(one.last_use_time) or "never",
        )
        for one in found.api_keys
    )
    headers = ("key", "for", "secret", "models", "limits", "state", "last used")
    then = ("attune key revoke KEY", "attune usage")
    show_list(found, as_json, headers, rows, then, 'attune key create "My application"')


@key.command(epilog="Example:  attune key revoke a01kep3v2m4x6q8s0t2w4y6z8b0")
@click.argument("name")
@json_option
def revoke(name: str, as_json: bool) -> None:
    """End a key at once and for good.

    NAME is its id, as `attune key list` shows it.
    """
    request = pb.RevokeApiKeyRequest(name=whole_name("apiKeys", name), request_id=new_request_id())
    ended = with_client(lambda client: call(client.keys.RevokeApiKey, request))
    if as_json:
        print_json(ended)
        return
    screen = Screen()
    screen.say(f"{ended.title} ({ended.secret_prefix}...) lets no request in any more.")
    screen.next_steps("attune key list")


def _id(one: pb.ApiKey) -> str:
    return one.name.rsplit("/", 1)[1]


def _limits(limits: pb.Limits) -> str:
    """Return the limits of its own that a key has."""
    named = (
        ("requests_per_minute", "requests/min"),
        ("tokens_per_minute", "tokens/min"),
        ("concurrent_requests", "at once"),
    )
    told = [
        f"{number(getattr(limits, field))} {words}"
        for field, words in named
        if limits.HasField(field)  # type: ignore[arg-type]
    ]
    return ", ".join(told) or "default"


def _state(one: pb.ApiKey) -> str:
    if one.HasField("revoke_time"):
        return f"revoked {moment(one.revoke_time)}"
    if not one.HasField("expire_time"):
        return "lives"
    over = one.expire_time.ToDatetime(UTC) <= datetime.now(UTC)
    return f"{'over since' if over else 'lives until'} {moment(one.expire_time)}"
