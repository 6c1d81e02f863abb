import json

import pytest
from attune.spec.v1.grader_pb2 import (
    Grader,
    GraderMessage,
    NumericGrader,
    ScoreModelGrader,
    StringCheckGrader,
    ToolCallGrader,
)
from attune.trainer.v1 import grader_pb2_grpc

from services.common import peers
from services.common.rpc import Server
from services.serving.peers import Trainer
from services.serving.playground.grading import Grading, check_grading, sample_of, scores_of
from services.serving.playground.prompt import Message, Prompt, ToolCall
from services.trainer.servicer_grader import GraderServicer
from tests.serving.parts import Away

EQUALS = StringCheckGrader(
    input="{{sample.output_text}}", reference="{{item.reference}}", operation=1
)
EXACT = Grader(name="exact", string_check=EQUALS)
PROMPT = Prompt((Message("system", "be kind"), Message("user", "two and two?")))


@pytest.fixture
async def trainer():
    """The trainer's own graders behind serving's own client."""
    server = Server("trainer.attune")
    server.add(
        grader_pb2_grpc.add_GraderServiceServicer_to_server,
        GraderServicer(),
        "attune.trainer.v1.GraderService",
    )
    channel = peers.channel(f"127.0.0.1:{await server.start('127.0.0.1', 0)}")
    yield Trainer(channel)
    await channel.close(None)
    await server.stop()


async def test_each_grader_scores_or_says_why_not(trainer):
    graders = (
        EXACT,
        Grader(name="judge", score_model=ScoreModelGrader(model="m", input=[
            GraderMessage(role="user", content="{{item.prompt}}")])),
        Grader(name="number", numeric=NumericGrader(reference="{{item.reference}}")),
    )  # fmt: skip
    grading = Grading(graders, "4")
    exact, judge, number = await scores_of(
        trainer, grading, sample_of(PROMPT, grading.reference, "4", ())
    )
    assert (exact.grader, exact.score, exact.error) == ("exact", 1.0, "")
    assert (judge.grader, judge.score) == ("judge", None)
    assert "judge" in judge.error.lower()
    assert number.score == 1.0


async def test_calls_are_graded_as_calls(trainer):
    wanted = json.dumps([{"name": "weather", "arguments": {"city": "Bonn"}}])
    grader = Grader(name="calls", tool_call=ToolCallGrader(reference="{{item.reference}}"))
    for city, score in (("Bonn", 1.0), ("Ulm", 0.0)):
        call = ToolCall("c1", "weather", json.dumps({"city": city}))
        sample = sample_of(PROMPT, wanted, "", (call,))
        (found,) = await scores_of(trainer, Grading((grader,)), sample)
        assert (found.score, found.error) == (score, "")


async def test_an_answer_is_worth_having_without_the_trainer():
    (found,) = await scores_of(Away(), Grading((EXACT,)), sample_of(PROMPT, "", "x", ()))
    assert (found.score, found.error) == (None, "The trainer is away.")


def test_every_broken_rule_is_named():
    grading = Grading((EXACT, EXACT, *(Grader(name=f"g{n}") for n in range(7))), "x" * 100_001)
    assert [violation.field for violation in check_grading(grading)] == [
        "grading.graders",
        "grading.graders.1.name",
        "grading.reference",
    ]
