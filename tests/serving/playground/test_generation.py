import pytest

from services.common.errors import InvalidArgument
from services.serving.playground.generation import (
    ANSWER_TOKENS_MAX,
    CHARACTERS_MAX,
    MESSAGES_MAX,
    Message,
    Sampling,
    chat_body,
    check,
    check_compared,
)

USER = Message("user", "hello")


@pytest.mark.parametrize(
    ("messages", "sampling", "fields"),
    [
        ([USER], Sampling(), []),
        ([USER], Sampling(2, 1, ANSWER_TOKENS_MAX, -1), []),
        ([USER] * MESSAGES_MAX, Sampling(), []),
        ([USER] * (MESSAGES_MAX + 1), Sampling(), ["prompt.messages"]),
        ([], Sampling(), ["prompt.messages"]),
        ([Message("tool", "x"), USER], Sampling(), ["prompt.messages.0.role"]),
        ([USER, Message("assistant", "x")], Sampling(), ["prompt.messages.1.role"]),
        ([Message("user", "x" * (CHARACTERS_MAX + 1))], Sampling(), ["prompt.messages.0.content"]),
        ([USER], Sampling(temperature=2.1), ["prompt.sampling.temperature"]),
        ([USER], Sampling(temperature=float("nan")), ["prompt.sampling.temperature"]),
        ([USER], Sampling(top_p=0), ["prompt.sampling.top_p"]),
        ([USER], Sampling(max_tokens=0), ["prompt.sampling.max_tokens"]),
        (
            [USER],
            Sampling(-1, 2, ANSWER_TOKENS_MAX + 1),
            ["prompt.sampling.temperature", "prompt.sampling.top_p", "prompt.sampling.max_tokens"],
        ),
    ],
)
def test_every_broken_rule_is_named(messages, sampling, fields):
    if not fields:
        check(messages, sampling)
        return
    with pytest.raises(InvalidArgument) as caught:
        check(messages, sampling)
    assert [violation.field for violation in caught.value.violations] == fields


@pytest.mark.parametrize("count", [0, 1, 5])
def test_two_to_four_models_are_compared(count):
    check_compared(["a", "b"])
    with pytest.raises(InvalidArgument):
        check_compared(["a"] * count)


def test_the_engine_is_told_everything_that_was_asked():
    body = chat_body([USER], Sampling(0.5, 0.9, 7, 42))
    assert body["messages"] == [{"role": "user", "content": "hello"}]
    assert [body[key] for key in ("temperature", "top_p", "max_tokens", "seed")] == [
        0.5,
        0.9,
        7,
        42,
    ]
    assert body["stream_options"] == {"include_usage": True}
