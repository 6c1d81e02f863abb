import pytest

from services.serving.playground.answer import Answer
from services.serving.playground.preference_rows import Shape, rows_of
from services.serving.playground.prompt import Message, Tool, ToolCall
from tests.serving.playground.exchanges import (
    ALL_BAD,
    BASE,
    BETTER,
    TUNED,
    WORSE,
    an_answer,
    an_exchange,
    an_opinion,
)

THIRD = TUNED[:-1] + "2"
THREE = (an_answer("fine"), an_answer("very well", TUNED), an_answer("so so", THIRD))
PAIRS, DEMONSTRATIONS = Shape


def pairs(exchange):
    found = [row.body for row in rows_of(exchange, PAIRS)]
    return [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in found]


def demonstrations(exchange):
    return [row.body["messages"][-1]["content"] for row in rows_of(exchange, DEMONSTRATIONS)]


@pytest.mark.parametrize(
    ("opinion", "expected_pairs", "expected_demonstrations"),
    [
        (an_opinion(BETTER, 1), [("very well", "fine"), ("very well", "so so")], ["very well"]),
        (an_opinion(WORSE, 1), [("fine", "very well"), ("so so", "very well")], []),
        (an_opinion(ALL_BAD), [], []),
        (
            an_opinion(ALL_BAD, corrected="well"),
            [("well", "fine"), ("well", "very well"), ("well", "so so")],
            ["well"],
        ),
        (
            an_opinion(BETTER, 1, corrected="well"),
            [("well", "fine"), ("well", "very well"), ("well", "so so")],
            ["well"],
        ),
        (an_opinion(BETTER, 1, corrected="very well "), [("very well ", "fine"),
            ("very well ", "so so")], ["very well "]),
    ],
)  # fmt: skip
def test_an_opinion_makes_the_rows_that_it_says(opinion, expected_pairs, expected_demonstrations):
    exchange = an_exchange(*THREE, preference=opinion)
    assert pairs(exchange) == expected_pairs
    assert demonstrations(exchange) == expected_demonstrations


def test_a_row_says_where_its_answers_come_from():
    exchange = an_exchange(*THREE[:2], preference=an_opinion(BETTER, 1))
    (pair,) = rows_of(exchange, PAIRS)
    assert pair.body["prompt"] == [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "how are you"},
    ]
    assert pair.body["metadata"] == {"exchange": exchange.name, "chosen": TUNED, "rejected": BASE}
    assert pair.model_versions == {TUNED}
    corrected = an_exchange(*THREE[:2], preference=an_opinion(ALL_BAD, corrected="well"))
    (demonstration,) = rows_of(corrected, DEMONSTRATIONS)
    assert demonstration.body["metadata"] == {"exchange": exchange.name, "answer": "person"}
    assert demonstration.model_versions == frozenset()


@pytest.mark.parametrize(
    ("answers", "index"),
    [
        ((an_answer("the same"), an_answer(" the same\n", TUNED)), 0),
        ((an_answer("fine"), an_answer(" ", TUNED)), 0),
        ((an_answer("cut o", finish_reason="length"), an_answer("fine")), 0),
        ((an_answer("fine"), Answer(TUNED, "half of")), 0),
        ((an_answer("fine"),), 0),
    ],
    ids=["equal", "empty", "cut off", "broken off", "alone"],
)
def test_what_would_be_a_bad_pair_is_left_out(answers, index):
    assert pairs(an_exchange(*answers, preference=an_opinion(BETTER, index))) == []


def test_an_answer_that_was_cut_off_may_be_the_worse_one():
    answers = (an_answer("fine"), an_answer("cut o", finish_reason="length"))
    assert pairs(an_exchange(*answers, preference=an_opinion())) == [("fine", "cut o")]


def test_an_equal_answer_of_two_models_is_one():
    answers = (an_answer("fine"), an_answer("bad"), an_answer("bad", TUNED))
    assert pairs(an_exchange(*answers, preference=an_opinion())) == [("fine", "bad")]


@pytest.mark.parametrize(
    "messages",
    [
        (Message("user", "one"), Message("user", "two")),
        (Message("user", "one"), Message("assistant", "a"), Message("assistant", "b"),
            Message("user", "two")),
    ],
)  # fmt: skip
def test_a_chat_in_which_somebody_speaks_twice_makes_no_row(messages):
    exchange = an_exchange(*THREE, messages=messages, preference=an_opinion(corrected="x"))
    assert pairs(exchange) == demonstrations(exchange) == []


def test_after_a_tool_there_are_demonstrations_and_no_pairs():
    call = ToolCall("c1", "weather", "{}")
    messages = (
        Message("user", "weather?"),
        Message("assistant", "", (call,)),
        Message("tool", "sunny", tool_call_id="c1"),
    )
    exchange = an_exchange(
        *THREE, messages=messages, tools=(Tool("weather"),), preference=an_opinion()
    )
    assert pairs(exchange) == []
    assert demonstrations(exchange) == ["fine"]


def test_calls_are_learnt_when_they_name_a_tool_and_hold_json():
    good = an_answer("", TUNED, tool_calls=(ToolCall("c1", "weather", '{"city": "Bonn"}'),))
    other = an_answer("", tool_calls=(ToolCall("c9", "clock", "{}"),))
    broken = an_answer("", tool_calls=(ToolCall("c2", "weather", '{"city'),))
    exchange = an_exchange(
        good, other, broken, an_answer("no idea"),
        tools=(Tool("weather", parameters='{"type": "object"}'),), preference=an_opinion(),
    )  # fmt: skip
    (row,) = rows_of(exchange, PAIRS)
    assert row.body["chosen"][0]["tool_calls"][0]["function"]["name"] == "weather"
    assert row.body["rejected"] == [{"role": "assistant", "content": "no idea"}]
    assert row.body["tools"][0]["function"]["parameters"] == {"type": "object"}
