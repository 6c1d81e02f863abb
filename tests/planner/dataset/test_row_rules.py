"""Every rule of rows: one bad row among good ones has exactly its own finding, on its line."""

import json

import pytest

from services.planner.dataset.findings import CODES
from tests.planner.dataset.reported import chat, chats, found_in, lines, pairs, report_of

USER, ANSWER = {"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Yes."}
SYSTEM = {"role": "system", "content": "Be short."}
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}


def messages(*given: object) -> dict:
    return {"messages": list(given)}


def calling(call: dict | None = None, tools: list | None = None, *after: dict) -> dict:
    asked = {"role": "assistant", "content": None, "tool_calls": [call or CALL]}
    return {"messages": [USER, asked, *after], "tools": [TOOL] if tools is None else tools}


def function(**parts: object) -> dict:
    kept = {**CALL["function"], **parts}
    return {**CALL, "function": {key: value for key, value in kept.items() if value != "absent"}}


def answered(**parts: object) -> dict:
    return calling(None, None, {"role": "tool", "content": "7", **parts}, ANSWER)


CHATS = {
    "row_not_object": (7, ""),
    "unknown_shape": ({"question": "a", "answer": "b"}, ""),
    "mixed_shapes": ({"prompt": "a", "completion": "b"}, ""),
    "messages_not_list": ({"messages": {}}, "messages"),
    "empty_messages": ({"messages": []}, "messages"),
    "missing_role": (messages({"content": "a"}, ANSWER), "messages[0].role"),
    "unknown_role": (messages(USER, {**ANSWER, "role": "bot"}), "messages[1].role"),
    "missing_content": (messages({"role": "user"}, ANSWER), "messages[0].content"),
    "wrong_type": (messages(USER, {**ANSWER, "content": 7}), "messages[1].content"),
    "empty_completion": (messages(USER, {**ANSWER, "content": " "}), "messages[1].content"),
    "no_assistant_message": (messages(USER), "messages"),
    "last_role_not_assistant": (messages(USER, ANSWER, USER), "messages[2].role"),
    "system_not_first": (messages(USER, SYSTEM, ANSWER), "messages[1].role"),
    "consecutive_same_role": (messages(USER, USER, ANSWER), "messages[1].role"),
    "unknown_key": ({**chat("Why?"), "id": 7}, "id"),
    "invalid_weight": (messages(USER, {**ANSWER, "weight": True}), "messages[1].weight"),
    "nothing_to_train": (messages(USER, {**ANSWER, "weight": 0}), "messages"),
    "tool_arguments_not_json": (
        calling(function(arguments="{x}")),
        "messages[1].tool_calls[0].function.arguments",
    ),
    "tool_arguments_not_string": (
        calling(function(arguments={})),
        "messages[1].tool_calls[0].function.arguments",
    ),
    "tool_arguments_not_object": (
        calling(function(arguments="[]")),
        "messages[1].tool_calls[0].function.arguments",
    ),
    "tool_call_id_missing": (answered(), "messages[2].tool_call_id"),
    "tool_call_id_unknown": (answered(tool_call_id="c2"), "messages[2].tool_call_id"),
    "tool_schema_missing": (
        calling(None, [{"type": "function", "function": {"name": "find"}}]),
        "tools[0].function.parameters",
    ),
    "tool_name_missing": (
        calling(None, [TOOL, {"function": {"parameters": {}}}]),
        "tools[1].function.name",
    ),
    "tool_not_declared": (
        calling(function(name="other")),
        "messages[1].tool_calls[0].function.name",
    ),
    "duplicate_key": (b'{"messages": [{"role": "user", "role": "user"}]}', "messages[0].role"),
    "lone_surrogate": (messages({**USER, "content": "\ud83d"}, ANSWER), "messages[0].content"),
    "nesting_too_deep": (b'{"messages": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", ""),
    "nul_byte": (b'{"messages": [\0]}', ""),
    "encoding_not_utf8": ('{"messages": "é"}'.encode("latin-1"), ""),
    "invalid_json": (b"{'messages': []}", ""),
    "blank_line": (b" \t", ""),
    "line_too_long": (json.dumps(chat("x" * 1_000_000)).encode(), ""),
    "answer_truncated": (chat("long " * 4000), ""),
    "row_too_long": (chat("Write a lot.", "long " * 4000), ""),
    "duplicate_row": (
        json.dumps(chats()[0], indent=None, separators=(",", ":"), sort_keys=True).encode(),
        "",
    ),
}


@pytest.mark.parametrize("code", CHATS)
def test_a_bad_chat_has_its_finding_and_no_other(tmp_path, code):
    row, field = CHATS[code]
    good = chats()
    report = report_of(tmp_path, lines([*good[:6], row, *good[6:]]))
    assert found_in(report) == [(7, code, field)]
    assert report.findings[0].severity == CODES[code].severity
    assert report.findings[0].remedy


@pytest.mark.parametrize(
    "text",
    [
        b'{"messages": NaN}',
        b'{"a": 1e999}',
        b'{"a": 1,}',
        b'{"a": 1} {"a": 1}',
        b'{"a": "\t"}',
        b"a",
    ],
)
def test_what_python_takes_but_json_does_not_is_refused(tmp_path, text):
    report = report_of(tmp_path, lines([*chats(), text]))
    assert found_in(report) == [(13, "invalid_json", "")]


PREFERENCE = {"prompt": "Why?", "chosen": "So.", "rejected": "No."}
OPENAI = {
    "input": {"messages": [USER]},
    "preferred_output": [ANSWER],
    "non_preferred_output": [{**ANSWER, "content": "No."}],
}
VERL = {"prompt": [USER], "reward_model": {"ground_truth": "7"}}
RFT = {"messages": [USER], "reference_answer": "7"}
TEXT = {"text": "A text about something."}


def without(row: dict, key: str) -> dict:
    return {name: value for name, value in row.items() if name != key}


OTHERS = [
    (pairs()[0], {"completion": "a"}, "missing_prompt", "prompt"),
    (pairs()[0], {"prompt": "a", "completion": None}, "missing_completion", "completion"),
    (pairs()[0], {"prompt": "a", "completion": ""}, "empty_completion", "completion"),
    (pairs()[0], {"prompt": 7, "completion": "a"}, "wrong_type", "prompt"),
    (pairs()[0], {"prompt": "a", "completion": "b", "x": 1}, "unknown_key", "x"),
    (PREFERENCE, {**PREFERENCE, "rejected": "So. "}, "chosen_equals_rejected", "rejected"),
    (PREFERENCE, without(PREFERENCE, "rejected"), "missing_rejected", "rejected"),
    (PREFERENCE, without(PREFERENCE, "chosen"), "missing_completion", "chosen"),
    (
        OPENAI,
        {**OPENAI, "non_preferred_output": [ANSWER]},
        "chosen_equals_rejected",
        "non_preferred_output",
    ),
    (
        OPENAI,
        {**OPENAI, "preferred_output": [ANSWER, ANSWER]},
        "preference_not_single",
        "preferred_output",
    ),
    (
        OPENAI,
        {**OPENAI, "preferred_output": [USER]},
        "preference_role",
        "preferred_output[0].role",
    ),
    (OPENAI, without(OPENAI, "non_preferred_output"), "missing_rejected", "non_preferred_output"),
    (
        OPENAI,
        {**OPENAI, "input": {"messages": [USER, ANSWER]}},
        "last_role_not_user",
        "input.messages[1].role",
    ),
    (OPENAI, {**OPENAI, "input": {"messages": []}}, "empty_messages", "input.messages"),
    (VERL, without(VERL, "reward_model"), "missing_reference", "reward_model"),
    (
        VERL,
        {**VERL, "reward_model": {"ground_truth": None}},
        "missing_reference",
        "reward_model.ground_truth",
    ),
    (VERL, {**VERL, "prompt": "text"}, "wrong_type", "prompt"),
    (VERL, {**VERL, "prompt": [USER, ANSWER]}, "last_role_not_user", "prompt[1].role"),
    (RFT, without(RFT, "reference_answer"), "missing_reference", "reference_answer"),
    (RFT, {**RFT, "reference_answer": "  "}, "missing_reference", "reference_answer"),
    (RFT, {**RFT, "messages": [USER, ANSWER]}, "last_role_not_user", "messages[1].role"),
    (TEXT, {"text": ""}, "empty_completion", "text"),
    (TEXT, {"text": ["a"]}, "wrong_type", "text"),
    (PREFERENCE, chat("Why?"), "mixed_shapes", ""),
]


@pytest.mark.parametrize(("good", "bad", "code", "field"), OTHERS)
def test_a_bad_row_of_another_shape_has_its_finding(tmp_path, good, bad, code, field):
    rows = [_numbered(good, number) for number in range(12)]
    report = report_of(tmp_path, lines([*rows, bad]))
    assert [each for each in found_in(report) if each[0] == 13] == [(13, code, field)]
    assert [each for each in found_in(report) if each[1] == code] == [(13, code, field)]


def _numbered(row: dict, number: int) -> dict:
    text = json.dumps(row)
    for old in ("Hi?", "Why?", "door 0?", "A text"):
        text = text.replace(old, f"{old} {number * 91}")
    return json.loads(text)


@pytest.mark.parametrize("reference", [0, False, [], {}, "0"])
def test_a_reference_may_be_anything_but_absent_null_or_blank(tmp_path, reference):
    rows = [
        {"messages": [{**USER, "content": row["prompt"]}], "reference_answer": reference}
        for row in pairs()
    ]
    assert found_in(report_of(tmp_path, lines(rows))) == []


def test_calls_that_are_right_have_no_finding(tmp_path):
    right = answered(tool_call_id="c1")
    report = report_of(tmp_path, lines([*chats(), right, calling()]))
    assert found_in(report) == []
    assert report.format == "tool_calls"
