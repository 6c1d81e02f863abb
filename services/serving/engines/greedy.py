"""The greedy answer to one prompt, which trainer and engine must both give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """A greedy answer to one prompt, by the trainer or by the engine."""

    prompt_token_ids: tuple[int, ...]
    answer_token_ids: tuple[int, ...]
    """The token that ends the turn included, if it was generated."""
    text: str
    """Without special tokens."""
    logprobs: tuple[float, ...]
    """Of the answer's tokens, in nats; one for each."""


def greedy_body(messages: Sequence[dict[str, str]], max_tokens: int) -> dict[str, Any]:
    """Return the body of the greedy completion that a parity proof compares.

    Args:
        messages: Of the chat.
        max_tokens: Longest answer in tokens.
    """
    return {
        "messages": list(messages),
        "temperature": 0.0,
        "max_tokens": max_tokens,
        "logprobs": True,
        "return_token_ids": True,
    }
