"""One model's answer: the pieces that it comes in, and what is kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.common.errors import Internal, ServiceError, Unavailable
from services.serving.playground.prompt import ToolCall


@dataclass(frozen=True)
class Wait:
    """An engine that an answer waits for."""

    message: str
    progress: float
    """In [0, 1]."""
    remaining_s: float | None
    """None while nobody knows."""


@dataclass(frozen=True)
class Score:
    """What one grader says of an answer."""

    grader: str
    score: float | None
    """In [0, 1]; None when it could not score the answer."""
    error: str = ""
    """Why it could not."""


@dataclass(frozen=True)
class End:
    """How an answer ended and what it took."""

    model_version: str
    """Empty for a base."""
    finish_reason: str
    """`stop`, `length` or `tool_calls`."""
    prompt_token_count: int
    answer_token_count: int
    first_token_s: float
    total_s: float
    tokens_per_s: float = 0.0
    """After the first token; 0 for an answer of one token."""
    cost_micro_usd: int | None = None
    """None where no price is set."""
    tool_calls: tuple[ToolCall, ...] = ()
    scores: tuple[Score, ...] = ()
    exchange: str = ""


@dataclass(frozen=True)
class Failure:
    """Why there is no answer, or no more of it."""

    reason: str
    message: str
    retry_delay_s: float | None = None
    """None where trying again does not help."""
    exchange: str = ""


Piece = str | Wait | End | Failure


@dataclass(frozen=True)
class Answer:
    """What is kept of an answer; with neither end nor failure while it is being written."""

    model: str
    """As it was named by who asked."""
    text: str = ""
    """As far as it came."""
    end: End | None = None
    failure: Failure | None = None


def failure_of(error: Exception, exchange: str) -> Failure:
    """Return an error as what is kept of it; of a fault of ours, only that there was one."""
    if not isinstance(error, ServiceError):
        text = "Something went wrong here; the service's log has it."
        return Failure(Internal.code, text, exchange=exchange)
    delay_s = error.retry_after_s if isinstance(error, Unavailable) else None
    return Failure(error.reason, error.message, delay_s, exchange)


def versions_of(answers: Sequence[Answer]) -> set[str]:
    """Return the names of the versions that answered."""
    return {one.end.model_version for one in answers if one.end and one.end.model_version}
