"""What a chat request must be, and how it is said to the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.common.errors import Violation, invalid

MESSAGES_MAX = 200
CHARACTERS_MAX = 100_000
"""Of one message."""
ROLES = ("system", "user", "assistant")
ANSWER_TOKENS_MAX = 4096
COMPARED_MAX = 4


@dataclass(frozen=True)
class Message:
    """One message of a chat."""

    role: str
    content: str


@dataclass(frozen=True)
class Sampling:
    """How to draw tokens."""

    temperature: float = 0.0
    """In [0, 2]; 0 is greedy."""
    top_p: float = 1.0
    """In (0, 1]."""
    max_tokens: int = 256
    """Longest answer, in [1, 4096]."""
    seed: int = 0


@dataclass(frozen=True)
class End:
    """How an answer ended and what it took."""

    model_version: str
    finish_reason: str
    """`stop` or `length`."""
    prompt_token_count: int
    answer_token_count: int
    first_token_s: float
    total_s: float


Piece = str | End


def check(messages: Sequence[Message], sampling: Sampling) -> None:
    """Refuse a chat that breaks a rule.

    Raises:
        InvalidArgument: With every violation.
    """
    violations = [*_check_messages(messages), *_check_sampling(sampling)]
    if violations:
        raise invalid(violations)


def check_compared(models: Sequence[str]) -> None:
    """Refuse a comparison of one model, or of too many.

    Raises:
        InvalidArgument: If there are not two to four.
    """
    if not 2 <= len(models) <= COMPARED_MAX:
        text = f"{len(models)} models; compare 2 to {COMPARED_MAX}."
        raise invalid([Violation("models", "COUNT", text)])


def chat_body(messages: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
    """Return the body of a streaming chat completion, without its model."""
    return {
        "messages": [{"role": item.role, "content": item.content} for item in messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def _check_messages(messages: Sequence[Message]) -> list[Violation]:
    found = []
    if not 1 <= len(messages) <= MESSAGES_MAX:
        text = f"{len(messages)} messages; there must be 1 to {MESSAGES_MAX}."
        return [Violation("prompt.messages", "COUNT", text)]
    for index, message in enumerate(messages):
        if message.role not in ROLES:
            text = f"'{message.role[:40]}' is not a role. Use one of {', '.join(ROLES)}."
            found.append(Violation(f"prompt.messages.{index}.role", "ROLE", text))
        if len(message.content) > CHARACTERS_MAX:
            text = f"{len(message.content):,} characters; at most {CHARACTERS_MAX:,}. Send less."
            found.append(Violation(f"prompt.messages.{index}.content", "LENGTH", text))
    if messages[-1].role != "user":
        last = len(messages) - 1
        text = "The last message must be of the user: it is the one that is answered."
        found.append(Violation(f"prompt.messages.{last}.role", "LAST_ROLE", text))
    return found


def _check_sampling(sampling: Sampling) -> list[Violation]:
    found = []
    if not 0 <= sampling.temperature <= 2:
        text = f"{sampling.temperature:g}; it must lie in [0, 2]."
        found.append(Violation("prompt.sampling.temperature", "RANGE", text))
    if not 0 < sampling.top_p <= 1:
        text = f"{sampling.top_p:g}; it must lie in (0, 1]."
        found.append(Violation("prompt.sampling.top_p", "RANGE", text))
    if not 1 <= sampling.max_tokens <= ANSWER_TOKENS_MAX:
        text = f"{sampling.max_tokens}; it must lie in [1, {ANSWER_TOKENS_MAX}]."
        found.append(Violation("prompt.sampling.max_tokens", "RANGE", text))
    return found
