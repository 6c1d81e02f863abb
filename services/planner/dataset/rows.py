"""One row: its rules by shape, its plain view, and what a training run reads of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.planner.dataset import shapes
from services.planner.dataset.findings import Finding, found
from services.planner.dataset.rows_messages import (
    Faults,
    check_messages,
    check_tools,
    kind,
    quoted,
)
from services.planner.dataset.rows_pairs import check_pair, check_prompt_row, check_text
from services.planner.dataset.shapes import Form


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


def check_row(body: Any, form: Form | None, line: int) -> list[Finding]:
    """Return what is wrong with a row, in the order in which it stands there.

    Args:
        body: Its JSON value.
        form: That of the file; None if no row has a known one.
        line: Of the row.
    """
    if not isinstance(body, dict):
        return [found("row_not_object", line, f"The row is {kind(body)} ({quoted(body)}).")]
    if form is None or not shapes.fits(form, body):
        own = shapes.form_of(body)
        if form is None or own is None or not own.is_plain:
            keys = ", ".join(sorted(map(str, body)))[:100]
            return [found("unknown_shape", line, f"Its keys are: {keys or 'none'}.")]
        text = f"The row has the shape {own.shape}, the file's first {form.shape}."
        return [found("mixed_shapes", line, text)]
    faults = Faults(line)
    if form is shapes.CHAT_FORM:
        _check_chat(body, faults)
    elif form.answer and form is not shapes.TEXT_FORM:
        check_pair(body, form, faults)
    elif form is shapes.TEXT_FORM:
        check_text(body, faults)
    else:
        check_prompt_row(body, form, faults)
    return faults.found


def _check_chat(body: Mapping[str, Any], faults: Faults) -> None:
    tools = body.get("tools")
    if len(body) > 1:
        check_tools(tools, "tools", faults)
        for key in body:
            if key not in shapes.CHAT_KEYS:
                faults.add("unknown_key", key, f"{quoted(key)} is no key of a chat row.")
    messages = check_messages(body["messages"], "messages", tools, faults)
    if messages is None:
        return
    answers = [message for message in messages if message["role"] == "assistant"]
    if not answers:
        faults.add("no_assistant_message", "messages", "No message is the assistant's.")
    elif (last := messages[-1]["role"]) != "assistant":
        field = f"messages[{len(messages) - 1}].role"
        faults.add("last_role_not_assistant", field, f"The last message is the {last}'s.")
    weights = [message.get("weight", 1) for message in answers]
    if weights and all(type(weight) is int and weight == 0 for weight in weights):
        faults.add("nothing_to_train", "messages", "Every answer has weight 0.")


def view_of(body: Mapping[str, Any], form: Form, line: int) -> RowView:
    """Return a row that keeps every rule as plain text.

    Args:
        body: An object in which `check_row` found no error.
        form: That of the file.
        line: Of the row.
    """
    if form is shapes.TEXT_FORM:
        text = body["text"]
        return RowView(line, form.shape, "", text, "", "", (("text", text),), "", "text")
    path = form.prompt
    prompt = body[path]
    if form is shapes.OPENAI_PREFERENCE:
        path, prompt = "input.messages", prompt["messages"]
    answer_message: Mapping[str, Any] | None = None
    if form is shapes.CHAT_FORM:
        answer_message, prompt = prompt[-1], prompt[:-1]
    texts, system, asked, prompt_field = _prompt_parts(prompt, path, body, form)
    rejected = ""
    if answer_message is not None:
        answer_field = f"messages[{len(prompt)}].content"
        answer = _said(answer_message)
        texts += _texts_of(answer_message, f"messages[{len(prompt)}]")
    elif form.answer:
        answer, answer_field, more = _answer_parts(body[form.answer], form.answer)
        texts += more
        if form.rejected:
            rejected, _, more = _answer_parts(body[form.rejected], form.rejected)
            texts += more
    else:
        answer, answer_field = _reference_of(body, form)
        if answer:
            texts.append((answer_field, answer))
    shape = form.shape
    if shape == shapes.CHAT and has_calls(body):
        shape = shapes.TOOL_CALLS
    return RowView(
        line, shape, asked, answer, system, rejected, tuple(texts), prompt_field, answer_field
    )


def has_calls(body: Mapping[str, Any]) -> bool:
    """Tell whether a chat's messages hold a call of a tool."""
    return "tools" in body and any(message.get("tool_calls") for message in body["messages"])


def messages_of(body: Mapping[str, Any], form: Form) -> dict[str, Any] | None:
    """Return a row to learn from as a chat, as the trainer reads it; None for other shapes.

    Args:
        body: An object in which `check_row` found no error.
        form: That of the file.
    """
    if form is shapes.CHAT_FORM:
        return dict(body)
    if form.shape != shapes.PAIR:
        return None
    prompt, answer = body[form.prompt], body[form.answer]
    context = body.get(form.context) if form.context else None
    if context:
        prompt = f"{prompt}\n\n{context}"
    asked = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
    said = answer if isinstance(answer, list) else [{"role": "assistant", "content": answer}]
    system = [{"role": "system", "content": body["system"]}] if body.get("system") else []
    tools = {"tools": body["tools"]} if body.get("tools") else {}
    return {"messages": [*system, *asked, *said], **tools}


def renderable(body: Mapping[str, Any], form: Form) -> Mapping[str, Any]:
    """Return a row in a spelling that the trainer counts and renders, whatever its form.

    Args:
        body: An object in which `check_row` found no error.
        form: That of the file.
    """
    if form in (shapes.OPENAI_PREFERENCE, shapes.HF_PREFERENCE, shapes.TEXT_FORM):
        return body
    chat = messages_of(body, form)
    if chat is not None:
        return chat
    made = {"messages" if form.prompt == "messages" else "prompt": body[form.prompt]}
    if form.answer:
        made["completion"] = body[form.answer]
    if body.get("tools"):
        made["tools"] = body["tools"]
    return made


def _prompt_parts(
    prompt: Any, path: str, body: Mapping[str, Any], form: Form
) -> tuple[list[tuple[str, str]], str, str, str]:
    """Return a prompt's texts, its system message, the rest as one text, and where that stands."""
    system = body.get("system")
    system = system if isinstance(system, str) else ""
    texts = [("system", system)] if system else []
    if isinstance(prompt, str):
        context = body.get(form.context) if form.context else None
        texts.append((path, prompt))
        if context:
            texts.append((form.context, context))
            return texts, system, f"{prompt}\n\n{context}", path
        return texts, system, prompt, path
    turns: Sequence[Mapping[str, Any]] = prompt
    for index, message in enumerate(turns):
        texts += _texts_of(message, f"{path}[{index}]")
    first = 0
    if turns and turns[0]["role"] == "system":
        system, first = turns[0]["content"], 1
    rest = turns[first:]
    if len(rest) == 1:
        asked = _said(rest[0])
    else:
        asked = "\n".join(f"{message['role']}: {_said(message)}" for message in rest)
    return texts, system, asked, f"{path}[{len(turns) - 1}].content" if rest else path


def _answer_parts(answer: Any, path: str) -> tuple[str, str, list[tuple[str, str]]]:
    if isinstance(answer, str):
        return answer, path, [(path, answer)]
    return _said(answer[0]), f"{path}[0].content", _texts_of(answer[0], f"{path}[0]")


def _reference_of(body: Mapping[str, Any], form: Form) -> tuple[str, str]:
    if not form.reference:
        return "", ""
    value, path = body[form.reference], form.reference
    if form is shapes.VERL:
        value, path = value["ground_truth"], f"{path}.ground_truth"
    return value if isinstance(value, str) else _json(value), path


def _said(message: Mapping[str, Any]) -> str:
    """Return what a message says: its text, its calls as JSON, or one after the other."""
    content = message.get("content") or ""
    calls = message.get("tool_calls")
    if not calls:
        return str(content)
    called = _json([call["function"] for call in calls])
    return f"{content}\n{called}" if content else called


def _texts_of(message: Mapping[str, Any], path: str) -> list[tuple[str, str]]:
    content = message.get("content")
    texts = [(f"{path}.content", content)] if content else []
    for index, call in enumerate(message.get("tool_calls") or ()):
        place = f"{path}.tool_calls[{index}].function.arguments"
        texts.append((place, call["function"]["arguments"]))
    return texts


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
