"""A row of any shape as what is asked and what is answered, and what is known of it; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Message = Mapping[str, Any]
NO_REFERENCE_KEYS = frozenset(
    {
        *("messages", "prompt", "tools", "system", "parallel_tool_calls", "reward_model"),
        *("data_source", "ability", "extra_info", "id", "metadata", "name"),
    }
)
"""Keys beside a prompt that no answer is graded with."""


@dataclass(frozen=True)
class ShapedRow:
    """A row, taken apart; exactly one of `text` and `messages` is not empty."""

    messages: Sequence[Message] = ()
    """The whole talk of a row to learn from; else the prompt."""
    chosen: Sequence[Message] = ()
    """The preferred answer of a pair."""
    rejected: Sequence[Message] = ()
    """The rejected answer of a pair."""
    tools: Sequence[Mapping[str, Any]] | None = None
    """Tools that the assistant may call."""
    reference: str = ""
    """What answers to a prompt are graded with."""
    text: str = ""
    """Text without a template, all of which is learnt."""

    @property
    def is_learnt(self) -> bool:
        """Whether it is a talk that ends in an answer to learn."""
        return any(message["role"] == "assistant" for message in self.messages[-1:])


@dataclass(frozen=True)
class Counts:
    """Tokens of one row, templates included."""

    total: int
    """All, of a pair with the preferred answer."""
    trainable: int
    """Those that training learns."""
    prompt: int
    """Those before the last answer."""
    answer: int
    """Those of the last answer, of the preferred one, or of a reference."""
    rejected: int
    """Those of the rejected answer; 0 where there is none."""


@dataclass(frozen=True)
class Preview:
    """A row as people look at it."""

    text: str
    """The whole row under the template."""
    token_ids: list[int]
    """After the cut, [T]."""
    token_texts: list[str]
    """Text of each token, [T]."""
    trainable: list[bool]
    """Whether each token is learnt, [T]."""
    cut_count: int
    """Tokens that the cut takes away."""
    trains_nothing: bool
    """Whether nothing that is learnt is left."""


def shape_row(values: Any) -> ShapedRow:
    """Return a row taken apart.

    Args:
        values: A JSON object: `messages`; `prompt` with `completion`, with `chosen` and `rejected`
            or alone; `input`, `preferred_output` and `non_preferred_output`; or `text`. A prompt
            and an answer are text or messages; other keys are a reference, if anything.

    Raises:
        ValueError: If it is none of these; the text says what is missing.
    """
    if not isinstance(values, dict):
        raise ValueError("not an object")
    tools = values.get("tools")
    if "messages" in values:
        messages = _messages(values["messages"], "user")
        return ShapedRow(messages, tools=tools, reference=_reference(values))
    if "preferred_output" in values:
        asked = values.get("input")
        if not isinstance(asked, dict):
            raise ValueError("input is not an object")
        beside = {**values, "tools": asked.get("tools")}
        return _pair(asked.get("messages"), "preferred_output", "non_preferred_output", beside)
    if "chosen" in values:
        return _pair(values.get("prompt"), "chosen", "rejected", values)
    if "prompt" in values:
        prompt = [*_system(values), *_messages(values["prompt"], "user")]
        if "completion" in values:
            answer = _messages(values["completion"], "assistant")
            return ShapedRow([*prompt, *answer], tools=tools)
        return ShapedRow(prompt, tools=tools, reference=_reference(values))
    if isinstance(values.get("text"), str) and values["text"]:
        return ShapedRow(text=values["text"])
    raise ValueError("it has neither messages, prompt nor text")


def clean_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return messages as chat templates take them.

    Content that is absent or null is empty text, the arguments of calls are objects rather than
    JSON text, and weights are no matter of a template.
    """
    return [
        {
            **{key: value for key, value in message.items() if key != "weight"},
            "content": message.get("content") or "",
            **({"tool_calls": calls} if (calls := _calls(message)) else {}),
        }
        for message in messages
    ]


def said(message: Message) -> str:
    """Return what a message says: its text, else its calls as JSON."""
    content = message.get("content")
    calls = _calls(message)
    if content or not calls:
        return str(content or "")
    return json.dumps([call.get("function", call) for call in calls], ensure_ascii=False)


def _pair(prompt: Any, chosen: str, rejected: str, values: Mapping[str, Any]) -> ShapedRow:
    for key in (chosen, rejected):
        if not values.get(key):
            raise ValueError(f"{key} is missing")
    return ShapedRow(
        [*_system(values), *_messages(prompt, "user")],
        chosen=_messages(values[chosen], "assistant"),
        rejected=_messages(values[rejected], "assistant"),
        tools=values.get("tools"),
    )


def _system(values: Mapping[str, Any]) -> list[Message]:
    system = values.get("system")
    return [{"role": "system", "content": system}] if isinstance(system, str) and system else []


def _messages(value: Any, role: str) -> list[Message]:
    """Return messages, those that are mere text as one of the role."""
    if isinstance(value, str) and value:
        return [{"role": role, "content": value}]
    if not isinstance(value, list) or not value:
        raise ValueError("a list of messages is empty or missing")
    for message in value:
        if not isinstance(message, dict) or "role" not in message:
            raise ValueError("a message lacks its role")
        if "content" not in message and not message.get("tool_calls"):
            raise ValueError("a message lacks its content")
    return value


def _calls(message: Message) -> list[dict[str, Any]]:
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return []
    return [_call(call) for call in calls if isinstance(call, dict)]


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return call
    try:
        arguments = json.loads(function["arguments"])
    except ValueError:
        return call
    return {**call, "function": {**function, "arguments": arguments}}


def _reference(values: Mapping[str, Any]) -> str:
    """Return what an answer is graded with: verl's place, else the first key of an unknown name."""
    model = values.get("reward_model")
    if isinstance(model, dict) and "ground_truth" in model:
        return _text(model["ground_truth"])
    return next((_text(value) for key, value in values.items() if key not in NO_REFERENCE_KEYS), "")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
