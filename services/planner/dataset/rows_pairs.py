"""The rules of rows other than chats: pairs, preferences, references, ratings, texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.planner.dataset import shapes
from services.planner.dataset.rows_messages import (
    Faults,
    check_messages,
    check_tools,
    kind,
    quoted,
)
from services.planner.dataset.shapes import Form


def check_pair(body: Mapping[str, Any], form: Form, faults: Faults) -> None:
    """Check a row with a prompt and an answer, and a rejected answer or a rating if it has one."""
    _check_unknown_keys(body, form, faults)
    check_tools(body.get("tools"), "tools", faults)
    tools = body.get("tools")
    if form is shapes.OPENAI_PREFERENCE:
        tools = _check_input(body.get("input"), faults)
    else:
        _check_prompt(body.get(form.prompt), form.prompt, tools, faults)
        context = body.get(form.context) if form.context else None
        if context is not None and not isinstance(context, str):
            _wrong(form.context, context, faults)
    before = len(faults.found)
    _check_answer(body.get(form.answer), form.answer, "missing_completion", tools, form, faults)
    if form.rejected:
        rejected = body.get(form.rejected)
        _check_answer(rejected, form.rejected, "missing_rejected", tools, form, faults)
        if len(faults.found) == before and _same(body[form.answer], rejected):
            text = "Both answers are equal, blanks at the ends aside."
            faults.add("chosen_equals_rejected", form.rejected, text)
    elif form.reference:
        _check_rating(body.get(form.reference), form.reference, faults)


def check_prompt_row(body: Mapping[str, Any], form: Form, faults: Faults) -> None:
    """Check a row that has a prompt, perhaps with a reference, but no answer to learn."""
    path = form.prompt
    prompt = body.get(path)
    check_tools(body.get("tools"), "tools", faults)
    if path == "messages" or form is shapes.VERL or isinstance(prompt, list):
        if form is shapes.VERL and prompt is None:
            faults.add("missing_prompt", path, "The row has no prompt.")
        else:
            check_asked(prompt, path, body.get("tools"), faults)
    else:
        _check_prompt(prompt, path, body.get("tools"), faults)
    if form is shapes.VERL:
        _check_ground_truth(body.get("reward_model"), faults)
    elif form.reference:
        _check_reference(body.get(form.reference), form.reference, faults)


def check_text(body: Mapping[str, Any], faults: Faults) -> None:
    """Check a row that is text and nothing else."""
    _check_unknown_keys(body, shapes.TEXT_FORM, faults)
    text = body.get("text")
    if text is None:
        faults.add("missing_completion", "text", "The row has no text.")
    elif not isinstance(text, str):
        _wrong("text", text, faults)
    elif not text.strip():
        faults.add("empty_completion", "text", "The text is empty or only blanks.")


def check_asked(messages: Any, path: str, tools: Any, faults: Faults) -> None:
    """Check messages that a model is to answer: they end with the user."""
    ordered = check_messages(messages, path, tools, faults)
    if ordered is not None and ordered[-1]["role"] != "user":
        text = f"The last message is the {ordered[-1]['role']}'s."
        faults.add("last_role_not_user", f"{path}[{len(ordered) - 1}].role", text)


def _check_input(value: Any, faults: Faults) -> Any:
    """Check the input of a preference and return the tools inside it."""
    if value is None:
        faults.add("missing_prompt", "input", "The row has no input.")
        return None
    if not isinstance(value, dict):
        faults.add("wrong_type", "input", f"It is {kind(value)}; an object belongs there.")
        return None
    tools = value.get("tools")
    check_tools(tools, "input.tools", faults)
    for key in value:
        if key not in shapes.CHAT_KEYS:
            faults.add("unknown_key", f"input.{key}", f"{quoted(key)} is no key of an input.")
    if value.get("messages") is None:
        faults.add("missing_prompt", "input.messages", "The input has no messages.")
    else:
        check_asked(value["messages"], "input.messages", tools, faults)
    return tools


def _check_prompt(prompt: Any, path: str, tools: Any, faults: Faults) -> None:
    if isinstance(prompt, list):
        check_asked(prompt, path, tools, faults)
    elif prompt is not None and not isinstance(prompt, str):
        _wrong(path, prompt, faults)
    elif prompt is None or not prompt.strip():
        faults.add("missing_prompt", path, f"{path} is absent or empty.")


def _check_answer(
    answer: Any, path: str, missing: str, tools: Any, form: Form, faults: Faults
) -> None:
    if answer is None:
        faults.add(missing, path, f"{path} is absent or null.")
    elif isinstance(answer, list) or form is shapes.OPENAI_PREFERENCE:
        _check_answer_messages(answer, path, tools, form, faults)
    elif not isinstance(answer, str):
        _wrong(path, answer, faults)
    elif not answer.strip():
        faults.add("empty_completion", path, f"{path} is empty or only blanks.")


def _check_answer_messages(answer: Any, path: str, tools: Any, form: Form, faults: Faults) -> None:
    if not isinstance(answer, list):
        text = f"{path} is {kind(answer)}; a list with one message belongs there."
        faults.add("wrong_type", path, text)
        return
    if len(answer) != 1:
        code = "preference_not_single" if form.rejected else "wrong_type"
        faults.add(code, path, f"There are {len(answer)} messages; exactly one belongs there.")
        return
    role = answer[0].get("role") if isinstance(answer[0], dict) else None
    if form.rejected and role in ("system", "user", "tool"):
        faults.add("preference_role", f"{path}[0].role", f"The role is {quoted(role)}.")
        return
    check_messages(answer, path, tools, faults)


def _check_rating(rating: Any, path: str, faults: Faults) -> None:
    if rating is None or (isinstance(rating, str) and not rating.strip()):
        faults.add("missing_reference", path, "The answer has no rating.")
    elif isinstance(rating, (dict, list)):
        text = f"It is {kind(rating)}; a word, a number or a boolean belongs there."
        faults.add("wrong_type", path, text)


def _check_ground_truth(model: Any, faults: Faults) -> None:
    if model is None:
        faults.add("missing_reference", "reward_model", "The row has no reward_model.")
    elif not isinstance(model, dict):
        text = f"It is {kind(model)}; an object with ground_truth belongs there."
        faults.add("wrong_type", "reward_model", text)
    else:
        _check_reference(model.get("ground_truth"), "reward_model.ground_truth", faults)


def _check_reference(reference: Any, path: str, faults: Faults) -> None:
    if reference is None or (isinstance(reference, str) and not reference.strip()):
        faults.add("missing_reference", path, f"{path} is absent, null or blank.")


def _check_unknown_keys(body: Mapping[str, Any], form: Form, faults: Faults) -> None:
    known = form.keys | shapes.BESIDE_KEYS | {form.context}
    for key in body:
        if key not in known:
            faults.add("unknown_key", key, f"{quoted(key)} is no key of this shape.")


def _wrong(path: str, value: Any, faults: Faults) -> None:
    text = f"{path} is {kind(value)} ({quoted(value)}); text belongs there."
    faults.add("wrong_type", path, text)


def _same(first: Any, second: Any) -> bool:
    return bool(_bare(first) == _bare(second))


def _bare(answer: Any) -> Any:
    """Return an answer without blanks at the ends of its text."""
    if isinstance(answer, str):
        return answer.strip()
    message = answer[0]
    return {**message, "content": (message.get("content") or "").strip()}
