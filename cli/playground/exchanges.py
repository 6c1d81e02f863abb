"""The commands of `exchange`: what was asked and answered, and what people think of it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import click
from attune.serving.v1 import playground_pb2 as pb

from cli.client import PAGES_MAX, Client, new_request_id, with_client
from cli.options import author_option, json_option
from cli.playground.asking import STDIN
from cli.playground.model_names import short_model
from cli.resource_names import PROJECT, short, whole_name
from cli.version_names import find_version, short_version
from cli.views.exchange import preference_of, show_exchange, summary_of
from cli.views.figures import moment
from cli.views.listing import show_list
from cli.views.screen import Screen, print_json
from services.common.errors import NotFound
from services.common.peers import call

LISTED = 20
PAGE_SIZE = 200
EXPORT_TIMEOUT_S = 120.0
SHAPES = ("pairs", "demonstrations")


@click.group(epilog="Example:  attune exchange list")
def exchange() -> None:
    """See what models answered, say what is good, make a dataset of it."""


@exchange.command("list", epilog="Example:  attune exchange list --judged")
@click.option("--judged", is_flag=True, help="Only those that somebody judged.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=LISTED,
    help=f"Most of them; default {LISTED}.",
)
@json_option
def list_exchanges(judged: bool, limit: int, as_json: bool) -> None:
    """List what was asked of models and what people think of the answers, newest first."""
    request = pb.ListExchangesRequest(parent=PROJECT, with_preference=judged)
    found = with_client(lambda client: _newest(client, request, limit))
    rows = (
        (
            short(one.name),
            summary_of(one),
            ", ".join(short_model(answer.model) for answer in one.answers),
            preference_of(one),
            moment(one.create_time),
        )
        for one in found.exchanges
    )
    headers = ("name", "asked", "models", "judgement", "when")
    then = ("attune exchange show NAME", "attune exchange prefer NAME --better N")
    show_list(found, as_json, headers, rows, then, 'attune compare MODEL MODEL "A prompt"')


@exchange.command(epilog="Example:  attune exchange show exchanges/a01h8c")
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show one exchange: what was asked, every answer, and what somebody thinks of them."""
    found = with_client(lambda client: _find(client, whole_name("exchanges", name)))
    if as_json:
        print_json(found)
        return
    screen = Screen()
    show_exchange(screen, found, [short_model(one.model) for one in found.answers])
    screen.next_steps(f"attune exchange prefer {short(found.name)} --better N")


@exchange.command(epilog="Example:  attune exchange prefer exchanges/a01h8c --better 2")
@click.argument("name")
@click.option("--better", type=click.IntRange(1), metavar="N", help="Answer N is the best one.")
@click.option("--worse", type=click.IntRange(1), metavar="N", help="Answer N is the worst one.")
@click.option("--all-bad", is_flag=True, help="No answer is good.")
@click.option("--correct", default="", metavar="TEXT", help="The right answer; - reads it.")
@author_option
@json_option
def prefer(
    name: str,
    better: int | None,
    worse: int | None,
    all_bad: bool,
    correct: str,
    author: str,
    as_json: bool,
) -> None:
    """Say which answer of an exchange is good, counted from 1; a later word replaces this one.

    Where there is one answer, --better 1 calls it good and --worse 1 bad.
    """
    if (better is not None) + (worse is not None) + all_bad != 1:
        raise click.UsageError("Give one of --better N, --worse N and --all-bad.")
    verdict = (
        pb.Preference.VERDICT_BETTER
        if better
        else pb.Preference.VERDICT_WORSE
        if worse
        else pb.Preference.VERDICT_ALL_BAD
    )
    request = pb.RecordPreferenceRequest(
        exchange=whole_name("exchanges", name),
        preference=pb.Preference(
            verdict=verdict,
            answer_index=(better or worse or 1) - 1,
            corrected_answer=sys.stdin.read() if correct == STDIN else correct,
            author=author,
        ),
        request_id=new_request_id(),
    )
    found = with_client(lambda client: call(client.playground.RecordPreference, request))
    if as_json:
        print_json(found)
        return
    screen = Screen()
    screen.say(f"Of {short(found.name)}: {preference_of(found)}.")
    screen.next_steps("attune exchange export --shape pairs", "attune exchange list --judged")


@exchange.command(epilog="Example:  attune exchange export --shape pairs --version tickets/2")
@click.option(
    "--shape",
    type=click.Choice(SHAPES),
    required=True,
    help="pairs: a better and a worse answer, for DPO; demonstrations: good answers, for SFT.",
)
@click.option("--version", default="", help="Only exchanges in which this version answered.")
@json_option
def export(shape: str, version: str, as_json: bool) -> None:
    """Make a dataset of what people think, which the next plan can learn from."""

    async def work(client: Client) -> pb.ExportPreferencesResponse:
        only = (await find_version(client, version)).name if version else ""
        request = pb.ExportPreferencesRequest(
            parent=PROJECT,
            shape=pb.ExportPreferencesRequest.Shape.Value(f"SHAPE_{shape.upper()}"),
            model_version=only,
            request_id=new_request_id(),
        )
        made: pb.ExportPreferencesResponse = await call(
            client.playground.ExportPreferences, request, timeout_s=EXPORT_TIMEOUT_S
        )
        return made

    made = with_client(work)
    if as_json:
        print_json(made)
        return
    screen, name = Screen(), short(made.dataset)
    versions = ", ".join(short_version(one) for one in made.model_versions)
    from_them = f"; answers of {versions} are in them" if versions else ""
    screen.say(f"{name} has {made.row_count:,} {shape}{from_them}.")
    if made.left_out_count:
        screen.say(f"{made.left_out_count:,} judgements make no row; `--correct` would help.")
    screen.next_steps(f"attune spec propose --dataset {name}", f"attune dataset show {name}")


async def _newest(
    client: Client, request: pb.ListExchangesRequest, limit: int
) -> pb.ListExchangesResponse:
    """Return the newest exchanges, as many as are wanted."""
    whole = pb.ListExchangesResponse()
    request.page_size = min(PAGE_SIZE, limit)
    async for page in _pages(client, request):
        whole.exchanges.extend(page.exchanges)
        if len(whole.exchanges) >= limit:
            break
    del whole.exchanges[limit:]
    return whole


async def _find(client: Client, name: str) -> pb.Exchange:
    """Return one exchange by its whole name.

    Raises:
        NotFound: If there is none.
    """
    request = pb.ListExchangesRequest(parent=PROJECT, page_size=PAGE_SIZE)
    async for page in _pages(client, request):
        for one in page.exchanges:
            if one.name == name:
                return one
    raise NotFound(
        f"There is no {short(name)}. `attune exchange list` shows those that are kept.",
        reason="NO_SUCH_EXCHANGE",
        exchange=name,
    )


async def _pages(
    client: Client, request: pb.ListExchangesRequest
) -> AsyncIterator[pb.ListExchangesResponse]:
    for _ in range(PAGES_MAX):
        page: pb.ListExchangesResponse = await call(client.playground.ListExchanges, request)
        yield page
        request.page_token = page.next_page_token
        if not request.page_token:
            return
