"""The commands `model list` and `model compare`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import click
from attune.serving.v1 import model_pb2, playground_pb2

from cli.bases import bases
from cli.client import Client, all_pages, with_client
from cli.merging import merge
from cli.options import json_option, system_option
from cli.resource_names import PROJECT, base_model_name
from cli.version_names import find_version, short_version
from cli.views.figures import moment, words
from cli.views.report import verdict_of
from cli.views.screen import Screen, print_json
from services.common.peers import stream

ANSWER_TOKENS_MAX = 96
COMPARE_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Comparison:
    """One prompt with both answers."""

    prompt: str
    base: str
    tuned: str


@click.group(epilog="Example:  attune model list")
def model() -> None:
    """List tuned models, compare them with their base, make them bases."""


model.add_command(bases)
model.add_command(merge)


@model.command("list", epilog="Example:  attune model list")
@json_option
def list_versions(as_json: bool) -> None:
    """List all versions of all models, newest first."""
    request = model_pb2.ListModelVersionsRequest(parent=f"{PROJECT}/models/-")
    found = with_client(lambda client: all_pages(client.versions.ListModelVersions, request))
    if as_json:
        print_json(found)
        return
    screen = Screen()
    rows = [
        (
            short_version(one.name),
            words(model_pb2.ModelVersion.State.Name(one.state), "STATE_"),
            one.base_model,
            f"{one.report.base_score:.3f}",
            f"{one.report.tuned_score:.3f}",
            verdict_of(one.report),
            moment(one.create_time),
            one.state_reason if one.state == model_pb2.ModelVersion.STATE_REJECTED else "",
        )
        for one in found.model_versions
    ]
    headers = ("version", "state", "base model", "base", "tuned", "verdict", "made", "")
    screen.table(headers, rows)
    if not rows:
        screen.next_steps("attune job list")
        return
    screen.next_steps(
        f'attune model compare {rows[0][0]} "A prompt"', f"attune deploy {rows[0][0]}"
    )


@model.command(epilog='Example:  attune model compare support-tickets/1 "My lamp flickers"')
@click.argument("version")
@click.argument("prompts", nargs=-1, required=True, metavar="PROMPT...")
@system_option
@json_option
def compare(version: str, prompts: tuple[str, ...], system: str, as_json: bool) -> None:
    """Answer each PROMPT with the base and with the tuned VERSION, side by side."""
    before = [playground_pb2.ChatMessage(role="system", content=system)] if system else []
    chats = [
        [*before, playground_pb2.ChatMessage(role="user", content=prompt)] for prompt in prompts
    ]

    async def work(client: Client) -> tuple[model_pb2.ModelVersion, list[Comparison]]:
        found = await find_version(client, version)
        return found, [await compare_chat(client, found, chat) for chat in chats]

    screen = Screen(as_json)
    with screen.busy("answering"):
        found, comparisons = with_client(work)
    if as_json:
        print(json.dumps([asdict(one) for one in comparisons], indent=2, ensure_ascii=False))
        return
    show_comparisons(screen, comparisons)
    screen.next_steps(f"attune deploy {short_version(found.name)}")


async def compare_chat(
    client: Client,
    version: model_pb2.ModelVersion,
    messages: Sequence[playground_pb2.ChatMessage],
) -> Comparison:
    """Return the greedy answers of base and tuned to one chat."""
    request = playground_pb2.CompareRequest(
        models=[base_model_name(version.base_model), version.name],
        prompt=playground_pb2.Prompt(
            messages=messages,
            sampling=playground_pb2.Sampling(temperature=0, max_tokens=ANSWER_TOKENS_MAX),
        ),
    )
    answers = ["", ""]
    async for piece in stream(client.playground.Compare, request, timeout_s=COMPARE_TIMEOUT_S):
        answers[piece.model_index] += piece.response.text_delta
    return Comparison(messages[-1].content, answers[0], answers[1])


def show_comparisons(screen: Screen, comparisons: Sequence[Comparison]) -> None:
    """Write answers side by side on a terminal, below each other elsewhere."""
    if screen.live:
        rows = [(one.prompt, one.base, one.tuned) for one in comparisons]
        screen.table(("prompt", "base", "tuned"), rows)
        return
    for one in comparisons:
        for label, text in asdict(one).items():
            screen.say(f"  {label:<7} {' '.join(text.split())}")
        screen.say()
