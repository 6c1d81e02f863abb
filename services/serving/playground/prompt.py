"""What is asked, whoever answers: its rules, and how it is said to an engine."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from services.common.errors import Violation

MESSAGES_MAX = 200
CHARACTERS_MAX = 100_000
"""Of one message."""
PROMPT_BYTES_MAX = 1024 * 1024
"""Of all texts of a prompt, in UTF-8."""
ROLES = ("system", "user", "assistant", "tool")
LAST_ROLES = ("user", "tool")
CALLS_MAX = 16
TOOLS_MAX = 64
TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
DESCRIPTION_CHARACTERS_MAX = 4000
SCHEMA_CHARACTERS_MAX = 20_000
ANSWER_TOKENS_MAX = 4096
STOPS_MAX = 4
STOP_CHARACTERS_MAX = 100

Body = dict[str, Any]


@dataclass(frozen=True)
class ToolCall:
    """A call of a function."""

    id: str
    """Tells the calls of a chat apart."""
    name: str
    arguments: str
    """A JSON object as the model wrote it; need not be valid."""


@dataclass(frozen=True)
class Message:
    """One message of a chat."""

    role: str
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True)
class Tool:
    """A function that a model may call."""

    name: str
    description: str = ""
    parameters: str = ""
    """JSON schema of its arguments; empty when it takes none."""


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
    stop: tuple[str, ...] = ()
    """Texts that end an answer."""


@dataclass(frozen=True)
class Prompt:
    """What is asked."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    json_schema: str = ""
    """That the answer must fit; empty when it may be anything."""
    sampling: Sampling = field(default_factory=Sampling)


def check_prompt(prompt: Prompt) -> list[Violation]:
    """Return every rule that a prompt breaks."""
    found = [
        *_check_messages(prompt.messages),
        *_check_tools(prompt.tools),
        *_check_schema(prompt.json_schema, "prompt.json_schema"),
        *_check_sampling(prompt.sampling),
    ]
    size = _size_bytes(prompt)
    if size > PROMPT_BYTES_MAX:
        text = f"{size:,} bytes in all; at most {PROMPT_BYTES_MAX:,}. Send less."
        found.append(Violation("prompt", "LENGTH", text))
    return found


def chat_body(prompt: Prompt) -> Body:
    """Return the body of a streaming chat completion, without its model.

    Args:
        prompt: Breaks no rule.
    """
    sampling = prompt.sampling
    body: Body = {
        "messages": [message_body(message) for message in prompt.messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if prompt.tools:
        body["tools"] = [tool_body(tool) for tool in prompt.tools]
    if prompt.json_schema:
        schema = {"name": "answer", "strict": True, "schema": json.loads(prompt.json_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def message_body(message: Message) -> Body:
    """Return a message in OpenAI's shape."""
    body: Body = {"role": message.role, "content": message.content}
    if message.tool_calls:
        body["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        body["tool_call_id"] = message.tool_call_id
    return body


def tool_body(tool: Tool) -> Body:
    """Return a tool in OpenAI's shape."""
    parameters = json.loads(tool.parameters) if tool.parameters else {"type": "object"}
    function: Body = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    return {"type": "function", "function": {**function, "parameters": parameters}}


def read_object(text: str) -> Body | None:
    """Return the JSON object in a text, or None if it holds none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _size_bytes(prompt: Prompt) -> int:
    texts = [prompt.json_schema, *prompt.sampling.stop]
    for message in prompt.messages:
        texts += [message.content, message.tool_call_id]
        texts += [text for call in message.tool_calls for text in (call.name, call.arguments)]
    for tool in prompt.tools:
        texts += [tool.name, tool.description, tool.parameters]
    return sum(len(text.encode()) for text in texts)


def _check_messages(messages: Sequence[Message]) -> list[Violation]:
    if not 1 <= len(messages) <= MESSAGES_MAX:
        text = f"{len(messages)} messages; there must be 1 to {MESSAGES_MAX}."
        return [Violation("prompt.messages", "COUNT", text)]
    found: list[Violation] = []
    for index, message in enumerate(messages):
        found += _check_message(message, f"prompt.messages.{index}", is_first=index == 0)
    if messages[-1].role not in LAST_ROLES:
        last = len(messages) - 1
        text = "The last message must be the user's or a tool's: it is the one that is answered."
        found.append(Violation(f"prompt.messages.{last}.role", "LAST_ROLE", text))
    return found


def _check_message(message: Message, field: str, *, is_first: bool) -> list[Violation]:
    found = []
    role = message.role
    if role not in ROLES:
        text = f"'{role[:40]}' is not a role. Use one of {', '.join(ROLES)}."
        found.append(Violation(f"{field}.role", "ROLE", text))
    elif role == "system" and not is_first:
        text = "A system message must be the first one. Move it there."
        found.append(Violation(f"{field}.role", "SYSTEM_FIRST", text))
    if len(message.content) > CHARACTERS_MAX:
        text = f"{len(message.content):,} characters; at most {CHARACTERS_MAX:,}. Send less."
        found.append(Violation(f"{field}.content", "LENGTH", text))
    if not message.content and not message.tool_calls:
        text = "Only an assistant's message that calls tools may be empty. Write something."
        found.append(Violation(f"{field}.content", "EMPTY", text))
    if message.tool_calls and role != "assistant":
        text = f"Only the assistant calls tools, not '{role[:40]}'. Leave the calls out."
        found.append(Violation(f"{field}.tool_calls", "ROLE", text))
    if len(message.tool_calls) > CALLS_MAX:
        text = f"{len(message.tool_calls)} calls; at most {CALLS_MAX}."
        found.append(Violation(f"{field}.tool_calls", "COUNT", text))
    if (role == "tool") != bool(message.tool_call_id):
        text = "A tool's message, and no other, names the call that it answers."
        found.append(Violation(f"{field}.tool_call_id", "ROLE", text))
    return found


def _check_tools(tools: Sequence[Tool]) -> list[Violation]:
    if len(tools) > TOOLS_MAX:
        return [Violation("prompt.tools", "COUNT", f"{len(tools)} tools; at most {TOOLS_MAX}.")]
    found = []
    seen = set[str]()
    for index, tool in enumerate(tools):
        field = f"prompt.tools.{index}"
        if not TOOL_NAME.fullmatch(tool.name):
            text = f"'{tool.name[:80]}' does not match {TOOL_NAME.pattern}."
            found.append(Violation(f"{field}.name", "NAME", text))
        if tool.name in seen:
            text = f"'{tool.name[:80]}' stands here twice. Give each tool a name of its own."
            found.append(Violation(f"{field}.name", "UNIQUE", text))
        seen.add(tool.name)
        if len(tool.description) > DESCRIPTION_CHARACTERS_MAX:
            count = len(tool.description)
            text = f"{count:,} characters; at most {DESCRIPTION_CHARACTERS_MAX:,}. Shorten it."
            found.append(Violation(f"{field}.description", "LENGTH", text))
        found += _check_schema(tool.parameters, f"{field}.parameters")
    return found


def _check_schema(schema: str, field: str) -> list[Violation]:
    if len(schema) > SCHEMA_CHARACTERS_MAX:
        text = f"{len(schema):,} characters; at most {SCHEMA_CHARACTERS_MAX:,}. Simplify it."
        return [Violation(field, "LENGTH", text)]
    if schema and read_object(schema) is None:
        text = f"'{schema[:80]}' is no JSON object. Send the text of a JSON schema."
        return [Violation(field, "JSON", text)]
    return []


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
    if len(sampling.stop) > STOPS_MAX:
        text = f"{len(sampling.stop)} texts; at most {STOPS_MAX}."
        found.append(Violation("prompt.sampling.stop", "COUNT", text))
    for index, stop in enumerate(sampling.stop):
        if not 1 <= len(stop) <= STOP_CHARACTERS_MAX:
            text = f"{len(stop)} characters; there must be 1 to {STOP_CHARACTERS_MAX}."
            found.append(Violation(f"prompt.sampling.stop.{index}", "LENGTH", text))
    return found
