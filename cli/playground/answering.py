"""The commands `compare` and `generate`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import click
from attune.serving.v1 import playground_pb2 as pb
from google.protobuf.message import Message

from cli.client import Client, with_client
from cli.options import json_option
from cli.playground.asking import Asking, asking_options
from cli.playground.model_names import find_model, short_model, with_base
from cli.resource_names import short
from cli.views.answers import Answer, AnswersView
from cli.views.screen import Screen, json_of
from services.common.peers import stream

ANSWER_TIMEOUT_S = 1800.0
"""Longest wait for all answers; a large model's engine takes minutes to start."""
MODELS_MAX = 4

Pieces = Callable[[Client, Sequence[str]], AsyncIterator[pb.CompareResponse]]


@click.command(epilog='Example:  attune compare tickets/2 tickets/1 "My lamp flickers"')
@click.argument("models", nargs=-1, required=True, metavar="MODEL... [PROMPT]")
@asking_options
@json_option
def compare(models: tuple[str, ...], asking: Asking, as_json: bool) -> None:
    """Answer PROMPT with two to four models, side by side; one is compared with its base.

    MODEL is an alias, a version (tickets/2), or a base model (base:ID). PROMPT stands last; `-`
    reads it from standard input. All draw with the same seed. Exits with 1 when one gives no
    answer. With --json, one line for every piece of an answer, as it comes.
    """
    named, text = _split(models, asking)
    if len(named) > MODELS_MAX:
        raise click.UsageError(f"{len(named)} models are named; compare two to {MODELS_MAX}.")
    prompt, grading = asking.read(text)

    async def find(client: Client) -> list[str]:
        if len(named) == 1:
            return await with_base(client, named[0])
        return [await find_model(client, one) for one in named]

    async def pieces(client: Client, names: Sequence[str]) -> AsyncIterator[pb.CompareResponse]:
        request = pb.CompareRequest(models=names, prompt=prompt, grading=grading)
        async for piece in stream(client.playground.Compare, request, timeout_s=ANSWER_TIMEOUT_S):
            yield piece

    _answer(find, pieces, as_json, lambda piece: piece)


@click.command(epilog='Example:  attune generate base:attune/starter "My lamp flickers"')
@click.argument("models", nargs=-1, required=True, metavar="MODEL [PROMPT]")
@asking_options
@json_option
def generate(models: tuple[str, ...], asking: Asking, as_json: bool) -> None:
    """Answer PROMPT with one model: a base, a version or an alias.

    MODEL and PROMPT are as for `attune compare`.
    """
    named, text = _split(models, asking)
    if len(named) != 1:
        raise click.UsageError(f"{len(named)} models are named; `attune compare` takes several.")
    prompt, grading = asking.read(text)

    async def find(client: Client) -> list[str]:
        return [await find_model(client, named[0])]

    async def pieces(client: Client, names: Sequence[str]) -> AsyncIterator[pb.CompareResponse]:
        request = pb.GenerateRequest(model=names[0], prompt=prompt, grading=grading)
        async for piece in stream(client.playground.Generate, request, timeout_s=ANSWER_TIMEOUT_S):
            yield pb.CompareResponse(response=piece)

    _answer(find, pieces, as_json, lambda piece: piece.response)


def _split(words: tuple[str, ...], asking: Asking) -> tuple[tuple[str, ...], str]:
    """Return the models and the prompt among the arguments; a file says what is asked, too."""
    if asking.prompt_file is not None:
        return words, ""
    if len(words) == 1:
        raise click.UsageError("Name what is asked: PROMPT as the last argument, or --prompt-file.")
    return words[:-1], words[-1]


def _answer(
    find: Callable[[Client], Awaitable[list[str]]],
    pieces: Pieces,
    as_json: bool,
    line: Callable[[pb.CompareResponse], Message],
) -> None:
    """Show the answers as they come, then what to do with them.

    Args:
        find: Returns the resource names of the models.
        pieces: Yields what they answer.
        as_json: Whether to print JSON and nothing else.
        line: Returns what is printed of a piece then.
    """
    screen = Screen(as_json)
    answers: list[Answer] = []

    async def work(client: Client) -> None:
        names = await find(client)
        answers.extend(Answer(short_model(name)) for name in names)
        with AnswersView(screen, answers) as view:
            async for piece in pieces(client, names):
                if as_json:
                    print(json_of(line(piece), indent=None, zeros=True), flush=True)
                view.add(int(piece.model_index), piece.response)

    try:
        with_client(work)
    except KeyboardInterrupt:
        if answers:
            screen.say("What came until now is kept with what was asked.")
            screen.next_steps(*_next_of(answers))
        raise
    if not as_json:
        screen.next_steps(*_next_of(answers))
    if any(answer.failure for answer in answers):
        raise SystemExit(1)


def _next_of(answers: Sequence[Answer]) -> list[str]:
    """Return how to say which answer is the better one, where any came to its end."""
    exchange = next((short(one.exchange) for one in answers if one.exchange), "")
    if not exchange or not any(one.end for one in answers):
        return ["attune exchange list"]
    prefer = f"attune exchange prefer {exchange}"
    if len(answers) == 1:
        return [f"{prefer} --better 1", f'{prefer} --worse 1 --correct "..."']
    return [f"{prefer} --better N", f'{prefer} --all-bad --correct "..."']
