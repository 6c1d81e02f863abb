import pytest
from attune.serving.v1 import playground_pb2 as pb

from services.common.errors import InvalidArgument
from services.serving import wire_playground as wire
from services.serving.playground.answer import Failure, Score, Wait
from services.serving.playground.preference import Verdict
from services.serving.playground.preference_rows import Shape
from services.serving.playground.prompt import Message, Prompt, Sampling, Tool, ToolCall
from tests.serving.playground.exchanges import (
    ALL_BAD,
    MOMENT,
    an_answer,
    an_end,
    an_exchange,
    an_opinion,
)

CALL = ToolCall("c1", "weather", "{}")
END = an_end(
    "v", tokens_per_s=1.5, cost_micro_usd=0, tool_calls=(CALL,),
    scores=(Score("exact", 0.0, "why"),), exchange="e",
)  # fmt: skip
FAILURE = Failure("AWAY", "It went away.", 2.5, "e")


def unset(message):
    """Return the names of fields that were not filled in."""
    filled = {field.name for field, _ in message.ListFields()}
    return {field.name for field in message.DESCRIPTOR.fields} - filled


def test_every_field_of_a_piece_is_filled_in():
    assert wire.piece_to_proto("text").text_delta == "text"
    end = wire.piece_to_proto(END).end
    assert (unset(end), unset(end.scores[0]), unset(end.tool_calls[0])) == (set(), set(), set())
    assert unset(wire.piece_to_proto(FAILURE).failure) == set()
    assert unset(wire.piece_to_proto(Wait("Loading.", 0.5, 30.0)).wait) == set()
    assert not wire.piece_to_proto(Wait("Loading.", 0.5, None)).wait.HasField("remaining_duration")


def test_every_field_of_an_exchange_is_filled_in():
    prompt = Prompt(
        (Message("assistant", "x", (CALL,), "c0"),),
        (Tool("weather", "Tells it.", "{}"),), "{}", Sampling(0.5, 0.9, 7, 3, ("x",)),
    )  # fmt: skip
    opinion = an_opinion(Verdict.BETTER, 1, "well")
    answer = an_exchange(an_answer("x")).with_outcome(0, FAILURE).answers[0]
    exchange = an_exchange(
        answer, messages=prompt.messages, tools=prompt.tools, json_schema="{}",
        sampling=prompt.sampling, preference=opinion,
    )  # fmt: skip
    message = wire.exchange_to_proto(exchange)
    asked = message.prompt
    parts = (message, asked, asked.messages[0], asked.tools[0], asked.sampling)
    assert [unset(part) for part in (*parts, message.answers[0], message.preference)] == [set()] * 7
    assert wire.prompt_from_proto(asked) == prompt
    assert wire.answer_from_proto(message.answers[0]) == answer
    assert wire.preference_from_proto(message.preference, MOMENT) == opinion


def test_sampling_has_defaults_where_nothing_is_said():
    assert wire.sampling_from_proto(pb.Sampling()) == Sampling(0, 1, 256, 0, ())


def test_an_opinion_needs_a_verdict_and_a_common_one_no_answer():
    with pytest.raises(InvalidArgument) as caught:
        wire.preference_from_proto(pb.Preference(), MOMENT)
    assert caught.value.violations[0].field == "preference.verdict"
    said = pb.Preference(verdict=pb.Preference.VERDICT_ALL_BAD, answer_index=2**40)
    found = wire.preference_from_proto(said, MOMENT)
    assert (found.verdict, found.answer_index) == (ALL_BAD, 0)


def test_verdicts_and_shapes_are_those_of_the_contract():
    assert set(wire.VERDICTS) == set(Verdict)
    assert len(wire.VERDICTS) + 1 == len(pb.Preference.Verdict.items())
    assert {wire.shape_from_proto(number) for number in wire.SHAPES.values()} == set(Shape)
    assert len(wire.SHAPES) + 1 == len(pb.ExportPreferencesRequest.Shape.items())
    with pytest.raises(InvalidArgument):
        wire.shape_from_proto(0)
