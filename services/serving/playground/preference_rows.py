"""Rows to train on, made of what people think of answers, in shapes that the planner reads."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

from services.serving.playground.answer import Answer
from services.serving.playground.exchange import Exchange
from services.serving.playground.preference import Verdict
from services.serving.playground.prompt import Body, Message, message_body, read_object, tool_body

CUT_OFF = "length"
"""Finish reason of an answer that was cut off: whoever learns from it learns to stop half-way."""
PERSON = "person"
"""In place of a model's name where a person wrote the answer."""


class Shape(StrEnum):
    """What rows are."""

    PAIRS = "PAIRS"
    """A better and a worse answer to the same prompt."""
    DEMONSTRATIONS = "DEMONSTRATIONS"
    """Corrected and good answers."""


@dataclass(frozen=True)
class _Said:
    """An answer as a message, and who gave it."""

    body: Body
    author: str
    """Name of the version, of the base, or `person`."""
    version: str = ""
    """Name of the version; empty for a base and for a person."""


@dataclass(frozen=True)
class Row:
    """A row and the versions whose answers are in it."""

    body: Body
    model_versions: frozenset[str]


def rows_of(exchange: Exchange, shape: Shape) -> list[Row]:
    """Return the rows that an exchange with a preference makes; none where it makes no good one.

    Rows keep the planner's rules: answers say something, a pair's differ, calls name a tool of the
    prompt and hold JSON, and who speaks takes turns. An answer that was cut off is never one to
    learn. Each row says in `metadata` which exchange it is from and who gave its answers.

    Args:
        exchange: With a preference.
        shape: Of the rows.
    """
    if not _takes_turns(exchange.prompt.messages):
        return []
    if shape is Shape.DEMONSTRATIONS:
        return [_demonstration(exchange, said) for said in _good(exchange)]
    if exchange.prompt.messages[-1].role != "user":
        return []  # The planner's pairs answer a user.
    chosen, rejected = _sides(exchange)
    return [
        _pair(exchange, better, worse)
        for better in chosen
        for worse in rejected
        if _bare(better.body) != _bare(worse.body)
    ]


def _good(exchange: Exchange) -> list[_Said]:
    """Return answers that are right, not only better than others."""
    preference = exchange.preference
    assert preference is not None
    if corrected := _corrected(exchange):
        return corrected
    if preference.verdict is Verdict.BETTER:
        return _learnable(exchange, [exchange.answers[preference.answer_index]])
    return []


def _sides(exchange: Exchange) -> tuple[list[_Said], list[_Said]]:
    """Return the better and the worse answers; a corrected one is better than all."""
    preference, answers = exchange.preference, exchange.answers
    assert preference is not None
    if corrected := _corrected(exchange):
        return corrected, _usable(exchange, list(answers))
    if preference.verdict is Verdict.ALL_BAD:
        return [], []
    named = answers[preference.answer_index]
    others = [one for index, one in enumerate(answers) if index != preference.answer_index]
    if preference.verdict is Verdict.BETTER:
        return _learnable(exchange, [named]), _usable(exchange, others)
    return _learnable(exchange, others), _usable(exchange, [named])


def _corrected(exchange: Exchange) -> list[_Said]:
    assert exchange.preference is not None
    text = exchange.preference.corrected_answer
    return [_Said({"role": "assistant", "content": text}, PERSON)] if text.strip() else []


def _learnable(exchange: Exchange, answers: list[Answer]) -> list[_Said]:
    whole = [one for one in answers if one.end and one.end.finish_reason != CUT_OFF]
    return _usable(exchange, whole)


def _usable(exchange: Exchange, answers: list[Answer]) -> list[_Said]:
    """Return the answers that ended and say something, each different one once."""
    tools = {tool.name for tool in exchange.prompt.tools}
    found: list[_Said] = []
    for answer in answers:
        end = answer.end
        if end is None or not (answer.text.strip() or end.tool_calls):
            continue
        calls = end.tool_calls
        if any(one.name not in tools or read_object(one.arguments) is None for one in calls):
            continue
        body = message_body(Message("assistant", answer.text, calls))
        if all(_bare(body) != _bare(one.body) for one in found):
            found.append(_Said(body, end.model_version or answer.model, end.model_version))
    return found


def _pair(exchange: Exchange, better: _Said, worse: _Said) -> Row:
    body = {
        "prompt": [message_body(one) for one in exchange.prompt.messages],
        "chosen": [better.body],
        "rejected": [worse.body],
        **_beside(exchange, chosen=better.author, rejected=worse.author),
    }
    return Row(body, frozenset({better.version, worse.version} - {""}))


def _demonstration(exchange: Exchange, said: _Said) -> Row:
    body = {
        "messages": [*(message_body(one) for one in exchange.prompt.messages), said.body],
        **_beside(exchange, answer=said.author),
    }
    return Row(body, frozenset({said.version} - {""}))


def _beside(exchange: Exchange, **authors: str) -> Body:
    """Return what stands beside the messages: tools, and where the answers come from."""
    tools = [tool_body(tool) for tool in exchange.prompt.tools]
    return {
        **({"tools": tools} if tools else {}),
        "metadata": {"exchange": exchange.name, **authors},
    }


def _takes_turns(messages: tuple[Message, ...]) -> bool:
    """Tell whether nobody but tools speaks twice in a row."""
    roles = [message.role for message in messages]
    return all(one != next_ or one == "tool" for one, next_ in pairwise(roles))


def _bare(body: Body) -> tuple[str, Any]:
    """Return what an answer says without blanks at its ends, and its calls without their ids."""
    calls = [call["function"] for call in body.get("tool_calls", ())]
    return body["content"].strip(), calls
