"""The rules of one dataset row: a line of JSON with a chat that ends in the wanted answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from services.common.errors import Violation

LINE_BYTES_MAX = 1024 * 1024
MESSAGES_MAX = 1000
ROLES = ("system", "user", "assistant")
MESSAGE_KEYS = {"role", "content", "weight"}
UTF8_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class RowView:
    """A row without errors as plain text, whatever its shape: what the statistical passes read."""

    line: int
    """Physical line, from 1, counted by LF; row number where there are no lines."""
    shape: str
    """`chat`, `prompt_completion`, `preference`, `ratings`, `prompts_with_reference`,
    `prompts_only`, `tool_calls` or `text`."""
    prompt: str
    """All before the answer but the system message: the text of a single message as it is,
    several as lines that begin with their role; empty for `text`."""
    answer: str
    """The answer to learn, the preferred one in pairs, the reference where there is one; calls as
    JSON; the whole text for `text`; may be empty."""
    system: str
    """The system message; may be empty."""
    rejected: str
    """The rejected answer in pairs; empty elsewhere."""
    texts: tuple[tuple[str, str], ...]
    """Every text that people wrote, with its path, such as `messages[1].content`, in order."""
    prompt_field: str = ""
    """Path of the prompt, of its last message when there are several."""
    answer_field: str = ""
    """Path of the answer."""


@dataclass(frozen=True)
class Row:
    """A row that keeps every rule."""

    line_number: int
    """From 1."""
    text: str
    """The line as it was uploaded, without its end."""
    answer: str
    """The last assistant message."""
    digest: int
    """64 bits of the hash of roles and contents; equal rows have equal digests."""
    answer_digest: int
    """64 bits of the hash of the answer."""
    is_json: bool
    """Whether the answer is a JSON object."""


def check_line(line: bytes, line_number: int) -> Row | list[Violation]:
    """Return the row in a line, or every rule that it breaks.

    Args:
        line: The bytes without the line's end, cut after 1 MiB and one byte.
        line_number: From 1, for the violations.
    """
    broken = _Broken(line_number)
    text = _decode(line, broken)
    if text is None:
        return broken.found
    body = _parse(text, broken)
    if body is None:
        return broken.found
    messages = _messages(body, broken)
    if messages is None:
        return broken.found
    for index, message in enumerate(messages):
        _check_message(message, f"messages.{index}", broken)
    if not broken.found:
        _check_order(messages, broken)
    if broken.found:
        return broken.found
    answer = messages[-1]["content"]
    return Row(
        line_number=line_number,
        text=text,
        answer=answer,
        digest=_digest(json.dumps([[each["role"], each["content"]] for each in messages])),
        answer_digest=_digest(answer),
        is_json=_is_json_object(answer),
    )


class _Broken:
    """Collects the violations of one line."""

    def __init__(self, line_number: int) -> None:
        self.found: list[Violation] = []
        self._line_number = line_number

    def add(self, rule: str, message: str, place: str = "") -> None:
        where = f"line {self._line_number}" + (f": {place}" if place else "")
        self.found.append(Violation(where, rule, message))


def _decode(line: bytes, broken: _Broken) -> str | None:
    if len(line) > LINE_BYTES_MAX:
        broken.add("LINE_TOO_LONG", f"More than {LINE_BYTES_MAX:,} bytes. Split or shorten it.")
        return None
    if line.startswith(UTF8_MARK):
        broken.add("BYTE_ORDER_MARK", "Starts with a byte order mark. Save as UTF-8 without it.")
        return None
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        broken.add(
            "NOT_UTF8", f"Byte {error.start + 1} is not UTF-8. Save the file in that encoding."
        )
        return None
    if not text.strip():
        broken.add("EMPTY_LINE", "The line is empty. Remove it: every line is one row.")
        return None
    return text


def _parse(text: str, broken: _Broken) -> dict[str, Any] | None:
    try:
        body = json.loads(text)
    except json.JSONDecodeError as error:
        broken.add(
            "NOT_JSON", f"Not JSON: {error.msg} at column {error.colno}. Write one JSON object."
        )
        return None
    except (ValueError, RecursionError):
        broken.add("NOT_JSON", "Not JSON that can be read: too deep, or a number too long.")
        return None
    if not isinstance(body, dict):
        kind = type(body).__name__
        broken.add("NOT_AN_OBJECT", f'A JSON {kind}, not an object. Write {{"messages": [...]}}.')
        return None
    return body


def _messages(body: dict[str, Any], broken: _Broken) -> list[Any] | None:
    unknown = sorted(set(body) - {"messages"})
    if unknown:
        broken.add("UNKNOWN_KEY", f"{_quote(unknown[0])} is not known here. Keep only 'messages'.")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        text = "Needs a list 'messages' with at least one question and its answer."
        broken.add("NO_MESSAGES", text, "messages")
        return None
    if len(messages) > MESSAGES_MAX:
        text = f"{len(messages):,} messages; at most {MESSAGES_MAX:,} are taken. Split the row."
        broken.add("TOO_MANY_MESSAGES", text, "messages")
        return None
    return messages


def _check_message(message: Any, place: str, broken: _Broken) -> None:
    if not isinstance(message, dict):
        broken.add("MESSAGE_NOT_AN_OBJECT", "Write {'role': ..., 'content': ...}.", place)
        return
    for key in sorted(set(message) - MESSAGE_KEYS):
        text = f"{_quote(key)} is not known here. Keep role, content and weight."
        broken.add("UNKNOWN_MESSAGE_KEY", text, place)
    if message.get("role") not in ROLES:
        text = f"{_quote(message.get('role'))} is not a role. Use system, user or assistant."
        broken.add("BAD_ROLE", text, f"{place}.role")
    content = message.get("content")
    if not isinstance(content, str) or not content.strip():
        text = "Must be text that is not empty. Write what is said, or remove the message."
        broken.add("EMPTY_CONTENT", text, f"{place}.content")
    elif any("\ud800" <= character <= "\udfff" for character in content):
        text = "Holds half a surrogate pair, which is no character. Write the character itself."
        broken.add("LONE_SURROGATE", text, f"{place}.content")
    weight = message.get("weight", 1)
    if isinstance(weight, bool) or weight != 1:
        text = f"{_quote(weight)} is not taken: every answer is learnt. Leave the weight out."
        broken.add("BAD_WEIGHT", text, f"{place}.weight")


def _check_order(messages: list[dict[str, Any]], broken: _Broken) -> None:
    roles = [message["role"] for message in messages]
    if "system" in roles[1:]:
        text = "A system message may only stand first. Move its text there."
        broken.add("SYSTEM_NOT_FIRST", text, f"messages.{roles.index('system', 1)}")
    if "assistant" not in roles:
        text = "No assistant message: there is no answer to learn. Add the answer you want."
        broken.add("NO_ASSISTANT", text, "messages")
        return
    start = 1 if roles[0] == "system" else 0
    for index, role in enumerate(roles[start:], start):
        wanted = "user" if (index - start) % 2 == 0 else "assistant"
        if role not in (wanted, "system"):
            text = f"'{role}' where '{wanted}' is due: user and assistant must alternate."
            broken.add("NO_ALTERNATION", text, f"messages.{index}")
            break
    if roles[-1] != "assistant":
        text = f"Ends with '{roles[-1]}'. The last message must be the assistant's answer."
        broken.add("LAST_NOT_ASSISTANT", text, "messages")


def _is_json_object(answer: str) -> bool:
    if not answer.lstrip().startswith("{"):
        return False
    try:
        return isinstance(json.loads(answer), dict)
    except (ValueError, RecursionError):
        return False


def _digest(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def _quote(value: Any) -> str:
    return repr(value if value is None or isinstance(value, (str, int, float)) else "...")[:60]
