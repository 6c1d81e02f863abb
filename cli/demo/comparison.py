"""Unseen prompts, answered by the base and by the tuned version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from attune.serving.v1 import model_pb2, playground_pb2

from cli.client import Client
from cli.resource_names import base_model_name
from cli.views.screen import Screen
from services.common.errors import Unavailable
from services.common.peers import stream

ANSWER_TOKENS_MAX = 96
COMPARE_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Comparison:
    """One prompt with both answers."""

    prompt: str
    base: str
    tuned: str


async def compare_chat(
    client: Client,
    version: model_pb2.ModelVersion,
    messages: Sequence[playground_pb2.ChatMessage],
) -> Comparison:
    """Return the greedy answers of base and tuned to one chat.

    Raises:
        Unavailable: If one of them gave none.
    """
    request = playground_pb2.CompareRequest(
        models=[base_model_name(version.base_model), version.name],
        prompt=playground_pb2.Prompt(
            messages=messages,
            sampling=playground_pb2.Sampling(temperature=0, max_tokens=ANSWER_TOKENS_MAX),
        ),
    )
    answers = ["", ""]
    async for piece in stream(client.playground.Compare, request, timeout_s=COMPARE_TIMEOUT_S):
        if piece.response.HasField("failure"):
            failure = piece.response.failure
            model = request.models[piece.model_index]
            raise Unavailable(failure.message, reason=failure.reason, model=model)
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
