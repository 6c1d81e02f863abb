"""The rules of messages and tools, wherever in a row they stand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from services.planner.dataset.findings import Finding, found

ROLES = frozenset({"system", "user", "assistant", "tool"})
MESSAGE_KEYS = frozenset({"role", "content", "name", "weight", "tool_calls", "tool_call_id"})
VALUE_CHARACTERS_MAX = 40


class Faults:
    """Collects the findings of one row."""

    def __init__(self, line: int) -> None:
        """Keep the row's line."""
        self.found: list[Finding] = []
        self._line = line

    def add(self, code: str, field: str, message: str) -> None:
        """Add a finding of this row."""
        self.found.append(found(code, self._line, message, field))


def kind(value: Any) -> str:
    """Return what a JSON value is, in words."""
    names = {str: "text", bool: "a boolean", dict: "an object", list: "a list"}
    return "null" if value is None else names.get(type(value), "a number")


def quoted(value: Any) -> str:
    """Return a value as a message shows it, shortened."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    more = "..." if len(text) > VALUE_CHARACTERS_MAX else ""
    return text[:VALUE_CHARACTERS_MAX] + more


def check_messages(
    messages: Any, path: str, tools: Any, faults: Faults
) -> Sequence[Mapping[str, Any]] | None:
    """Check a list of messages, each by itself and the calls between them, but not their end.

    Args:
        messages: What stands at the path.
        path: Such as `messages` or `input.messages`.
        tools: The row's tools; None where it has none.
        faults: Takes what is wrong.

    Returns:
        The messages, or None if their roles cannot be told, so that their order means nothing.
    """
    if not isinstance(messages, list):
        code = "messages_not_list" if path.endswith("messages") else "wrong_type"
        faults.add(code, path, f"{path} is {kind(messages)}; a list of messages belongs there.")
        return None
    if not messages:
        faults.add("empty_messages", path, f"{path} is an empty list.")
        return None
    ordered, calls = True, False
    for index, message in enumerate(messages):
        if type(message) is dict and len(message) == 2:  # The usual message, told quickly.
            role, content = message.get("role"), message.get("content")
            if type(role) is str and role in ROLES and type(content) is str and role != "tool":
                if role == "assistant" and not content.strip():
                    _empty_answer(f"{path}[{index}].content", faults)
                continue
        place = f"{path}[{index}]"
        if not isinstance(message, dict):
            text = f"{place} is {kind(message)}; an object with role and content belongs there."
            faults.add("wrong_type", place, text)
            ordered = False
            continue
        ordered = _check_role(message, place, faults) and ordered
        _check_content(message, place, faults)
        _check_keys(message, place, faults)
        calls = calls or "tool_calls" in message or message.get("role") == "tool"
    if calls:
        _check_calls(messages, path, tools, faults)
    if not ordered:
        return None
    _check_order([message["role"] for message in messages], path, faults)
    return messages


def check_tools(tools: Any, path: str, faults: Faults) -> None:
    """Check the tools that a row declares; None is fine."""
    if tools is None:
        return
    if not isinstance(tools, list):
        faults.add("wrong_type", path, f"{path} is {kind(tools)}; a list of tools belongs there.")
        return
    for index, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        place = f"{path}[{index}].function"
        if not isinstance(function, dict):
            faults.add("tool_name_missing", f"{place}.name", f"{path}[{index}] has no function.")
            continue
        name = function.get("name")
        if not isinstance(name, str) or not name.strip():
            faults.add("tool_name_missing", f"{place}.name", f"Its name is {quoted(name)}.")
        parameters = function.get("parameters")
        if not isinstance(parameters, dict):
            text = f"Its parameters are {kind(parameters)}; a JSON schema belongs there."
            faults.add("tool_schema_missing", f"{place}.parameters", text)


def _check_role(message: Mapping[str, Any], place: str, faults: Faults) -> bool:
    role = message.get("role")
    if role is None:
        faults.add("missing_role", f"{place}.role", f"{place} does not say who speaks.")
    elif not isinstance(role, str):
        text = f"The role is {kind(role)} ({quoted(role)}); text belongs there."
        faults.add("wrong_type", f"{place}.role", text)
    elif role not in ROLES:
        text = f"{quoted(role)} is none of system, user, assistant and tool."
        faults.add("unknown_role", f"{place}.role", text)
    else:
        return True
    return False


def _check_content(message: Mapping[str, Any], place: str, faults: Faults) -> None:
    content, place = message.get("content"), f"{place}.content"
    calls = bool(message.get("tool_calls")) and message.get("role") == "assistant"
    if content is None:
        if not calls:
            faults.add("missing_content", place, "There is no content.")
    elif not isinstance(content, str):
        text = f"It is {kind(content)} ({quoted(content)}); text belongs there."
        faults.add("wrong_type", place, text)
    elif message.get("role") == "assistant" and not calls and not content.strip():
        _empty_answer(place, faults)


def _empty_answer(place: str, faults: Faults) -> None:
    faults.add("empty_completion", place, "The assistant says nothing.")


def _check_keys(message: Mapping[str, Any], place: str, faults: Faults) -> None:
    for key in message:
        if key not in MESSAGE_KEYS:
            text = f"{quoted(key)} is no key of a message."
            faults.add("unknown_key", f"{place}.{key}", text)
    if "weight" in message:
        weight = message["weight"]
        if type(weight) is not int or weight not in (0, 1):
            text = f"The weight is {quoted(weight)}; 0 or 1 belongs there."
            faults.add("invalid_weight", f"{place}.weight", text)


def _check_order(roles: Sequence[str], path: str, faults: Faults) -> None:
    for index, role in enumerate(roles[1:], 1):
        if role == "system":
            text = f"A system message stands at place {index + 1}."
            faults.add("system_not_first", f"{path}[{index}].role", text)
        elif role == roles[index - 1] and role != "tool":
            text = f"Messages {index} and {index + 1} are both the {role}'s."
            faults.add("consecutive_same_role", f"{path}[{index}].role", text)


def _check_calls(messages: Sequence[Any], path: str, tools: Any, faults: Faults) -> None:
    """Check calls against the tools, and tools' messages against the calls before them."""
    declared, all_named = declared_names(tools)
    ids, all_have_ids = set[str](), True
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            continue
        place = f"{path}[{index}]"
        if message.get("role") == "tool":
            call_id, field = message.get("tool_call_id"), f"{place}.tool_call_id"
            if not isinstance(call_id, str) or not call_id:
                text = "The tool's message does not say which call it answers."
                faults.add("tool_call_id_missing", field, text)
            elif call_id not in ids and all_have_ids:
                text = f"No earlier call has the id {quoted(call_id)}."
                faults.add("tool_call_id_unknown", field, text)
        calls = message.get("tool_calls")
        if calls is None:
            continue
        if not isinstance(calls, list):
            text = f"It is {kind(calls)}; a list of calls belongs there."
            faults.add("wrong_type", f"{place}.tool_calls", text)
            continue
        for position, call in enumerate(calls):
            field = f"{place}.tool_calls[{position}]"
            call_id = _check_call(call, field, declared, all_named, faults)
            all_have_ids = all_have_ids and bool(call_id)
            ids.add(call_id)


def declared_names(tools: Any) -> tuple[frozenset[str], bool]:
    """Return the names of the declared functions, and whether each tool has one."""
    functions = [
        tool.get("function") if isinstance(tool, dict) else None
        for tool in (tools if isinstance(tools, list) else ())
    ]
    names = [each.get("name") if isinstance(each, dict) else None for each in functions]
    named = [name for name in names if isinstance(name, str) and name.strip()]
    return frozenset(named), len(named) == len(names)


def _check_call(
    call: Any, place: str, declared: frozenset[str], all_named: bool, faults: Faults
) -> str:
    """Check one call and return its id, empty when it has none."""
    if not isinstance(call, dict):
        faults.add("wrong_type", place, f"It is {kind(call)}; an object belongs there.")
        return ""
    call_id = call.get("id")
    if not isinstance(call_id, str) or not call_id:
        faults.add("tool_call_id_missing", f"{place}.id", "The call has no id.")
        call_id = ""
    function = call.get("function")
    if not isinstance(function, dict):
        faults.add("tool_name_missing", f"{place}.function.name", "The call has no function.")
        return call_id
    name = function.get("name")
    if not isinstance(name, str) or not name.strip():
        faults.add("tool_name_missing", f"{place}.function.name", f"It is {quoted(name)}.")
    elif name not in declared and all_named:
        text = f"{quoted(name)} is not among the tools of the row."
        faults.add("tool_not_declared", f"{place}.function.name", text)
    _check_arguments(function.get("arguments"), f"{place}.function.arguments", faults)
    return call_id


def _check_arguments(arguments: Any, place: str, faults: Faults) -> None:
    if arguments is not None and not isinstance(arguments, str):
        text = f"They are {kind(arguments)}; JSON text belongs there."
        faults.add("tool_arguments_not_string", place, text)
        return
    try:
        value = json.loads(arguments or "")
    except (ValueError, RecursionError):
        text = f"They are {quoted(arguments)}, which is not JSON."
        faults.add("tool_arguments_not_json", place, text)
        return
    if not isinstance(value, dict):
        text = f"They decode to {kind(value)}; an object belongs there."
        faults.add("tool_arguments_not_object", place, text)
