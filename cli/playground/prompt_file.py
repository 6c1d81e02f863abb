"""Reads what is asked from files: chats, functions that may be called, schemas of answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attune.serving.v1 import playground_pb2 as pb

from cli.text_file import read_text, refused

CHAT_ENDINGS = (".json", ".jsonl")
"""Of files that hold chats; any other holds the text of one message."""


@dataclass(frozen=True)
class Chat:
    """What a file asks."""

    messages: list[pb.ChatMessage]
    tools: list[pb.Tool] = field(default_factory=list)
    reference: str = ""
    """The answer that the file holds, as training rows do; empty when there is none."""


def read_chat(path: Path, line: int) -> Chat:
    """Return the chat of a file.

    Args:
        path: A chat as JSON, a dataset as JSONL, or a text, by its ending. A chat is a list of
            OpenAI's messages, or an object that holds one as `messages`, with `tools` or without.
        line: Which row of JSONL, from 1.

    Raises:
        InvalidArgument: If the file cannot be read, or holds something else.
    """
    text = read_text(path)
    if path.suffix not in CHAT_ENDINGS:
        return Chat([pb.ChatMessage(role="user", content=text)])
    if path.suffix == ".jsonl":
        rows = text.split("\n")
        if line > len(rows) or not rows[line - 1].strip():
            raise refused(path, f"has no row in line {line}. Choose with --line", "NO_ROW")
        text = rows[line - 1]
    held = _json(path, text)
    row = held if isinstance(held, dict) else {"messages": held}
    if not isinstance(row.get("messages"), list):
        raise refused(path, "holds no chat. Write a list of messages", "NO_CHAT")
    try:
        messages = [_message(one) for one in row["messages"]]
        tools = [_tool(one) for one in row.get("tools") or ()]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise refused(path, f"holds no chat of OpenAI's form: {_said(error)}", "NO_CHAT") from None
    answered = len(messages) > 1 and messages[-1].role == "assistant"
    reference = messages.pop().content if answered else ""
    return Chat(messages, tools, reference)


def read_tools(path: Path) -> list[pb.Tool]:
    """Return the functions of a file: a list of OpenAI's tools, or an object that holds `tools`.

    Raises:
        InvalidArgument: If the file cannot be read, or holds something else.
    """
    held = _json(path, read_text(path))
    listed = held.get("tools") if isinstance(held, dict) else held
    if not isinstance(listed, list):
        raise refused(path, "holds no tools. Write a list of them", "NO_TOOLS")
    try:
        return [_tool(one) for one in listed]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise refused(
            path, f"holds no tools of OpenAI's form: {_said(error)}", "NO_TOOLS"
        ) from None


def read_schema(path: Path) -> str:
    """Return the JSON schema of a file, as it stands there.

    Raises:
        InvalidArgument: If the file cannot be read, or holds no object.
    """
    text = read_text(path)
    if not isinstance(_json(path, text), dict):
        raise refused(path, "holds no JSON schema. Write one as an object", "NO_SCHEMA")
    return text


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise refused(path, f"is not JSON: {error}", "NOT_JSON") from None


def _message(one: Mapping[str, Any]) -> pb.ChatMessage:
    calls = [
        pb.ToolCall(
            id=call["id"],
            name=call["function"]["name"],
            arguments=_text_of(call["function"]["arguments"]),
        )
        for call in one.get("tool_calls") or ()
    ]
    return pb.ChatMessage(
        role=one["role"],
        content=one.get("content") or "",
        tool_calls=calls,
        tool_call_id=one.get("tool_call_id") or "",
    )


def _tool(one: Mapping[str, Any]) -> pb.Tool:
    function = one.get("function", one)
    return pb.Tool(
        name=function["name"],
        description=function.get("description") or "",
        parameters=_text_of(function.get("parameters") or {}),
    )


def _text_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _said(error: Exception) -> str:
    return f"there is no {error}" if isinstance(error, KeyError) else str(error)
