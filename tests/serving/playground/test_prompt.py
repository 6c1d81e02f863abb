import json

import pytest

from services.serving.playground.prompt import (
    ANSWER_TOKENS_MAX,
    CALLS_MAX,
    CHARACTERS_MAX,
    MESSAGES_MAX,
    PROMPT_BYTES_MAX,
    SCHEMA_CHARACTERS_MAX,
    TOOLS_MAX,
    Message,
    Prompt,
    Sampling,
    Tool,
    ToolCall,
    chat_body,
    check_prompt,
)

SYSTEM, USER, SAID = (
    Message("system", "be kind"),
    Message("user", "hello"),
    Message("assistant", "hi"),
)
CALL = ToolCall("c1", "weather", '{"city": "Bonn"}')
CALLS = Message("assistant", "", (CALL,))
TOO_MANY = Message("assistant", "", (CALL,) * (CALLS_MAX + 1))
RESULT = Message("tool", "sunny", tool_call_id="c1")
WEATHER = Tool("weather", "Tells it.", '{"type": "object"}')


def asked(*messages, **fields):
    return Prompt(messages or (USER,), **fields)


@pytest.mark.parametrize(
    ("prompt", "fields"),
    [
        (asked(SYSTEM, USER, SAID, USER), []),
        (asked(USER, CALLS, RESULT, tools=(WEATHER,)), []),
        (asked(*[USER] * MESSAGES_MAX), []),
        (asked(*[USER] * (MESSAGES_MAX + 1)), ["messages"]),
        (Prompt(()), ["messages"]),
        (asked(Message("judge", "x"), USER), ["messages.0.role"]),
        (asked(USER, SYSTEM, USER), ["messages.1.role"]),
        (asked(USER, SAID), ["messages.1.role"]),
        (asked(Message("user", "x" * (CHARACTERS_MAX + 1))), ["messages.0.content"]),
        (asked(Message("user", "")), ["messages.0.content"]),
        (asked(Message("user", "x", (CALL,))), ["messages.0.tool_calls"]),
        (asked(TOO_MANY, USER), ["messages.0.tool_calls"]),
        (asked(Message("tool", "sunny")), ["messages.0.tool_call_id"]),
        (asked(Message("user", "x", tool_call_id="c1")), ["messages.0.tool_call_id"]),
        (asked(*[Message("user", "ü" * 90_000)] * 6), [""]),
        (asked(tools=(Tool("a b"), WEATHER, WEATHER)), ["tools.0.name", "tools.2.name"]),
        (asked(tools=(WEATHER,) * (TOOLS_MAX + 1)), ["tools"]),
        (asked(tools=(Tool("a", "x" * 4001),)), ["tools.0.description"]),
        (asked(tools=(Tool("a", "x", "[1]"),)), ["tools.0.parameters"]),
        (asked(json_schema="{"), ["json_schema"]),
        (asked(json_schema="[]"), ["json_schema"]),
        (asked(json_schema=" " * (SCHEMA_CHARACTERS_MAX + 1)), ["json_schema"]),
        (asked(sampling=Sampling(2, 1, ANSWER_TOKENS_MAX, -1, ("a", "b", "c", "d"))), []),
        (asked(sampling=Sampling(temperature=float("nan"))), ["sampling.temperature"]),
        (asked(sampling=Sampling(top_p=0)), ["sampling.top_p"]),
        (
            asked(sampling=Sampling(-1, 2, ANSWER_TOKENS_MAX + 1)),
            ["sampling.temperature", "sampling.top_p", "sampling.max_tokens"],
        ),
        (asked(sampling=Sampling(stop=("a",) * 5)), ["sampling.stop"]),
        (asked(sampling=Sampling(stop=("a", ""))), ["sampling.stop.1"]),
        (asked(sampling=Sampling(stop=("x" * 101,))), ["sampling.stop.0"]),
    ],
)  # fmt: skip
def test_every_broken_rule_is_named(prompt, fields):
    found = [violation.field for violation in check_prompt(prompt)]
    assert found == ["prompt" + (f".{field}" if field else "") for field in fields]


def test_the_bound_on_all_texts_is_that_of_the_contract():
    assert PROMPT_BYTES_MAX == 1024 * 1024


def test_the_engine_is_told_everything_that_was_asked():
    sampling = Sampling(0.5, 0.9, 7, 42, ("\n",))
    schema = '{"type": "object", "properties": {"z": {"minLength": 1}, "a": {}}}'
    prompt = asked(USER, CALLS, RESULT, tools=(WEATHER, Tool("now")), json_schema=schema)
    body = chat_body(Prompt(prompt.messages, prompt.tools, schema, sampling))
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "tool"]
    assert body["messages"][1]["tool_calls"] == [
        {
            "id": "c1",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city": "Bonn"}'},
        }
    ]
    assert body["messages"][2]["tool_call_id"] == "c1"
    drawn = [body[key] for key in ("temperature", "top_p", "max_tokens", "seed", "stop")]
    assert drawn == [0.5, 0.9, 7, 42, ["\n"]]
    assert body["stream_options"] == {"include_usage": True}
    functions = [tool["function"] for tool in body["tools"]]
    assert functions[0] == {
        "name": "weather",
        "description": "Tells it.",
        "parameters": {"type": "object"},
    }
    assert functions[1] == {"name": "now", "parameters": {"type": "object"}}
    # The order of the fields is that in which the engine writes them.
    assert json.dumps(body["response_format"]["json_schema"]["schema"]) == schema


def test_what_nobody_asked_for_is_not_said():
    assert chat_body(asked()).keys().isdisjoint({"tools", "response_format", "stop"})
