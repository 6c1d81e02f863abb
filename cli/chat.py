"""The command `chat`: a deployed model through the OpenAI-compatible endpoint."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator

import click
from openai import APIConnectionError, APIError, APIStatusError, OpenAI
from openai.types.chat import ChatCompletionMessageParam

from cli.endpoints import Endpoints
from cli.home import Home
from cli.options import json_option, system_option
from cli.resource_names import short
from cli.views.screen import Screen
from services.common.errors import FailedPrecondition, ServiceError, Unavailable

NO_KEY = "none-is-needed"
"""What OpenAI's client sends where there is no key; it refuses to send none."""
TIMEOUT_S = 120.0
RETRIES_MAX = 1
TURNS_MAX = 100


@click.command(epilog='Example:  attune chat support-tickets "My lamp flickers"')
@click.argument("model")
@click.argument("message", required=False)
@system_option
@json_option
def chat(model: str, message: str | None, system: str, as_json: bool) -> None:
    """Talk to a deployed model.

    MODEL is an alias, a version as MODEL/NUMBER, or base:ID. Without MESSAGE, line by line until an
    empty one. Where the endpoint asks for a key, it is taken from ATTUNE_API_KEY.
    """
    endpoints = Endpoints.read(Home.read())
    client = openai_client(endpoints.openai)
    name = short(model).removeprefix("deployments/")
    if as_json and message is None:
        raise click.UsageError("With --json, give a MESSAGE.")
    messages: list[ChatCompletionMessageParam] = []
    if system:
        messages.append({"role": "system", "content": system})
    if message is not None:
        messages.append({"role": "user", "content": message})
    if as_json:
        print(json.dumps(_whole_answer(client, name, messages), indent=2, ensure_ascii=False))
        return
    screen = Screen()
    if message is not None:
        _answer(screen, client, name, messages)
        screen.next_steps(f"attune chat {name}", f'attune compare {name} "{message[:40]}"')
        return
    _converse(screen, client, name, messages)
    screen.next_steps("attune model list")


def openai_client(base_url: str) -> OpenAI:
    """Return OpenAI's own client for our endpoint."""
    key = os.environ.get("ATTUNE_API_KEY") or NO_KEY
    return OpenAI(base_url=base_url, api_key=key, timeout=TIMEOUT_S, max_retries=RETRIES_MAX)


def stream_answer(
    client: OpenAI, model: str, messages: list[ChatCompletionMessageParam]
) -> Iterator[str]:
    """Yield an answer piece by piece, greedily drawn.

    Raises:
        ServiceError: If the endpoint refuses or does not answer.
    """
    try:
        answers = client.chat.completions.create(
            model=model, messages=messages, stream=True, temperature=0
        )
        for chunk in answers:
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content
    except APIError as error:
        raise _refusal(client, error) from None


def _converse(
    screen: Screen, client: OpenAI, model: str, messages: list[ChatCompletionMessageParam]
) -> None:
    for _ in range(TURNS_MAX):
        try:
            line = input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return
        if not line.strip():
            return
        messages.append({"role": "user", "content": line})
        answer = _answer(screen, client, model, messages)
        messages.append({"role": "assistant", "content": answer})


def _answer(
    screen: Screen, client: OpenAI, model: str, messages: list[ChatCompletionMessageParam]
) -> str:
    pieces = []
    for piece in stream_answer(client, model, messages):
        screen.write(piece)
        pieces.append(piece)
    screen.write("\n")
    return "".join(pieces)


def _whole_answer(
    client: OpenAI, model: str, messages: list[ChatCompletionMessageParam]
) -> dict[str, object]:
    try:
        answer = client.chat.completions.create(model=model, messages=messages, temperature=0)
    except APIError as error:
        raise _refusal(client, error) from None
    return answer.model_dump(mode="json", exclude_none=True)


def _refusal(client: OpenAI, error: APIError) -> ServiceError:
    if isinstance(error, APIConnectionError):
        return Unavailable(
            f"{client.base_url} does not answer. `attune status` shows what runs; `attune up` "
            "starts what is missing.",
            reason="ENDPOINT_AWAY",
        )
    body = error.body if isinstance(error.body, dict) else {}
    inner = body.get("error")
    said = inner.get("message") if isinstance(inner, dict) else body.get("message")
    reason = f"HTTP_{error.status_code}" if isinstance(error, APIStatusError) else "STREAM_BROKEN"
    return FailedPrecondition(str(said or error.message), reason=reason)
