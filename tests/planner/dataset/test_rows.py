"""Every rule of a row, each broken once, and rows that keep them all."""

import json

import pytest

from services.planner.dataset.rows import LINE_BYTES_MAX, MESSAGES_MAX, Row, check_line

SYSTEM = {"role": "system", "content": "Route."}
USER = {"role": "user", "content": "Where is it?"}
ANSWER = {"role": "assistant", "content": "On its way."}


def row(*messages, **extra) -> bytes:
    return json.dumps({"messages": list(messages), **extra}).encode()


BROKEN = {
    "LINE_TOO_LONG": b" " * (LINE_BYTES_MAX + 1),
    "BYTE_ORDER_MARK": b"\xef\xbb\xbf" + row(USER, ANSWER),
    "NOT_UTF8": row(USER, ANSWER).replace(b"Where", b"\xff\xfe"),
    "EMPTY_LINE": b"   ",
    "NOT_JSON": b'{"messages": [',
    "NOT_AN_OBJECT": b"[1, 2]",
    "UNKNOWN_KEY": row(USER, ANSWER, id=7),
    "NO_MESSAGES": b'{"messages": []}',
    "TOO_MANY_MESSAGES": row(*[USER, ANSWER] * (MESSAGES_MAX // 2 + 1)),
    "MESSAGE_NOT_AN_OBJECT": row("hello", ANSWER),
    "UNKNOWN_MESSAGE_KEY": row({**USER, "name": "Ann"}, ANSWER),
    "BAD_ROLE": row({"role": "tool", "content": "x"}, ANSWER),
    "EMPTY_CONTENT": row(USER, {"role": "assistant", "content": "  "}),
    "LONE_SURROGATE": row(USER, {"role": "assistant", "content": "\ud800"}),
    "BAD_WEIGHT": row(USER, {**ANSWER, "weight": 0}),
    "SYSTEM_NOT_FIRST": row(USER, SYSTEM, ANSWER),
    "NO_ASSISTANT": row(SYSTEM, USER),
    "NO_ALTERNATION": row(USER, USER, ANSWER),
    "LAST_NOT_ASSISTANT": row(USER, ANSWER, USER),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_names_the_line_the_rule_and_a_remedy(rule):
    found = check_line(BROKEN[rule], 7)
    assert isinstance(found, list)
    assert rule in [violation.rule for violation in found]
    for violation in found:
        assert violation.field.startswith("line 7")
        assert len(violation.message) > 20


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"messages": ' + b"9" * 5000 + b"}",
        b"null",
        b'"text"',
        b'{"messages": {"role": "user"}}',
        row({"role": ["user"], "content": "x"}, ANSWER),
        row({"role": {"a": 1}, "content": "x"}, ANSWER),
        row({"role": None, "content": None}, ANSWER),
        row({**USER, "weight": []}, ANSWER),
        row({**USER, "weight": True}, ANSWER),
        row({}),
    ],
)
def test_hostile_lines_are_refused_not_raised(line):
    assert isinstance(check_line(line, 1), list)


def test_all_violations_of_a_line_are_named_not_only_the_first():
    found = check_line(row({"role": "bot", "content": ""}, {"role": "x", "content": 1}), 3)
    assert [violation.field for violation in found] == [
        "line 3: messages.0.role",
        "line 3: messages.0.content",
        "line 3: messages.1.role",
        "line 3: messages.1.content",
    ]


@pytest.mark.parametrize(
    "messages",
    [
        (USER, ANSWER),
        (SYSTEM, USER, ANSWER),
        (USER, ANSWER, USER, ANSWER),
        (USER, ANSWER, USER, {**ANSWER, "weight": 1}),
    ],
)
def test_good_rows_pass(messages):
    assert isinstance(check_line(row(*messages), 1), Row)


def test_a_row_knows_its_answer_and_whether_it_is_a_json_object():
    structured = check_line(row(USER, {"role": "assistant", "content": '{"team": "a"}'}), 1)
    listed = check_line(row(USER, {"role": "assistant", "content": "[1]"}), 1)
    assert (structured.answer, structured.is_json) == ('{"team": "a"}', True)
    assert not listed.is_json


def test_equal_messages_have_equal_digests_whatever_the_spacing():
    spaced = b'{ "messages" : [{"content": "Where is it?", "role": "user"}, ' + (
        b'{"role":"assistant","content":"On its way."}] }'
    )
    assert check_line(row(USER, ANSWER), 1).digest == check_line(spaced, 9).digest
    assert check_line(row(SYSTEM, USER, ANSWER), 1).digest != check_line(spaced, 9).digest
