"""GraderService through real gRPC."""

import json

import pytest
from attune.spec.v1.grader_pb2 import (
    Grader,
    GraderMessage,
    MultiGrader,
    NumericGrader,
    PreferenceGrader,
    PythonGrader,
    RegexGrader,
    ScoreModelGrader,
    StringCheckGrader,
)
from attune.trainer.v1 import grader_pb2 as pb
from attune.trainer.v1 import grader_pb2_grpc

from services.common import peers
from services.common.errors import FailedPrecondition, InvalidArgument
from services.common.rpc import Server
from services.trainer import wire
from services.trainer.servicer_grader import BUILT_MAX, GraderServicer
from tests.trainer import tiny
from tests.trainer.judge_server import JudgeServer

EXACT = Grader(
    name="exact",
    string_check=StringCheckGrader(
        input="{{sample.output_text}}", reference="{{item.reference}}", operation=1
    ),
)
RULE = GraderMessage(role="system", content="The answer wants: colour red")
JUDGE = Grader(
    name="taste",
    score_model=ScoreModelGrader(
        model="judge",
        input=[RULE, GraderMessage(role="user", content="{{item.prompt}} {{sample.output_text}}")],
    ),
)


@pytest.fixture
async def stub():
    server = Server(wire.DOMAIN)
    server.add(
        grader_pb2_grpc.add_GraderServiceServicer_to_server,
        GraderServicer(),
        "attune.trainer.v1.GraderService",
    )
    channel = peers.channel(f"127.0.0.1:{await server.start('127.0.0.1', 0)}")
    yield grader_pb2_grpc.GraderServiceStub(channel)
    await channel.close(None)
    await server.stop()


async def test_a_grader_of_pairs_scores_no_answer_and_says_who_can(stub):
    request = pb.RunGraderRequest(grader=Grader(name="pairs", preference=PreferenceGrader()))
    request.samples.add(item=json.dumps(tiny.pair("colour", "red")))
    (found,) = (await peers.call(stub.RunGrader, request)).results
    assert not found.HasField("reward")
    assert found.errors.other_error
    assert "only the evaluation of a run has" in found.error


async def test_whether_there_is_a_judge_is_told(stub, monkeypatch):
    assert not (await peers.call(stub.GetJudge, pb.GetJudgeRequest())).is_set
    monkeypatch.setenv("ATTUNE_JUDGE_BASE_URL", "http://127.0.0.1:9/v1")
    assert (await peers.call(stub.GetJudge, pb.GetJudgeRequest())).is_set


def sample(item: dict, **fields: object) -> pb.GraderSample:
    return pb.GraderSample(item=json.dumps(item), **fields)


async def run(stub, grader, *samples):
    return await peers.call(stub.RunGrader, pb.RunGraderRequest(grader=grader, samples=samples))


async def test_a_row_of_a_dataset_has_prompt_and_reference(stub):
    row = tiny.row("colour", "red")
    answer = await run(
        stub, EXACT, sample(row), sample(row, output_text="blue"), sample(row, output_text="")
    )
    assert [each.reward for each in answer.results] == [1.0, 0.0, 0.0]
    facts = answer.metadata
    assert (facts.name, facts.type, facts.error_count) == ("exact", "string_check", 0)
    assert facts.mean_reward == pytest.approx(1 / 3)
    assert facts.execution_s > 0


async def test_what_cannot_be_graded_has_a_flag_and_no_reward(stub):
    parts = [
        Grader(name="right", numeric=NumericGrader(reference="{{item.reference}}")),
        Grader(name="form", regex=RegexGrader(pattern=r"\d")),
    ]
    grader = Grader(
        name="all", multi=MultiGrader(graders=parts, calculate_output="0.8*right+0.2*form")
    )
    answer = await run(
        stub,
        grader,
        sample({"reference": "4"}, output_text="4"),
        sample({"reference": "four"}, output_text="4"),
        sample({}, output_text="4"),
    )
    first, second, third = answer.results
    assert (first.reward, dict(first.sub_rewards)) == (1.0, {"right": 1.0, "form": 1.0})
    assert not second.HasField("reward")
    assert second.errors.sample_parse_error
    assert third.errors.invalid_variable_error
    assert "item.reference" in third.error
    assert answer.metadata.error_count == 2


async def test_tool_calls_and_the_bases_answer_reach_the_grader(stub):
    grader = Grader(
        name="calls",
        string_check=StringCheckGrader(
            input="{{sample.output_tools}}", reference="{{item.wanted}}", operation=1
        ),
    )
    one = sample({"wanted": '[{"name": "f"}]'}, output_text="", output_tools='[{"name": "f"}]')
    assert (await run(stub, grader, one)).results[0].reward == 1.0


async def test_a_judge_is_asked_and_its_tokens_are_counted(stub, monkeypatch):
    with JudgeServer() as judge:
        monkeypatch.setenv("ATTUNE_JUDGE_BASE_URL", judge.url)
        answer = await run(stub, JUDGE, sample(tiny.row("colour", "red")))
        assert answer.results[0].reward == 1.0
        assert (answer.metadata.sampled_model_name, answer.metadata.token_usage) == ("judge", 12)
        again = await run(stub, JUDGE, sample(tiny.row("colour", "red")))
        assert again.metadata.token_usage == 0


async def test_without_a_judge_the_caller_learns_what_to_set(stub, monkeypatch):
    monkeypatch.delenv("ATTUNE_JUDGE_BASE_URL", raising=False)
    with pytest.raises(FailedPrecondition, match="ATTUNE_JUDGE_BASE_URL"):
        await run(stub, JUDGE, sample({"prompt": "x"}))


async def test_bad_samples_are_all_named(stub):
    bad = [pb.GraderSample(item="{"), pb.GraderSample(item="[]"), sample({}, output_tools="3")]
    with pytest.raises(InvalidArgument) as caught:
        await run(stub, EXACT, *bad)
    assert [each.field for each in caught.value.violations] == [
        "samples.0", "samples.1", "samples.2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("grader", "count"),
    [(EXACT, 1001), (Grader(name="p", python=PythonGrader(source="x = 1")), 101), (JUDGE, 101)],
)
async def test_more_samples_than_a_call_may_hold_are_refused(stub, grader, count):
    with pytest.raises(InvalidArgument, match="Send fewer"):
        await run(stub, grader, *[sample({})] * count)


async def test_graders_that_combine_nothing_or_namesakes_are_refused(stub):
    for parts in ([EXACT, EXACT], []):
        grader = Grader(name="m", multi=MultiGrader(graders=parts, calculate_output="exact"))
        with pytest.raises(InvalidArgument):
            await run(stub, grader, sample({}))


async def test_only_so_many_graders_are_kept(stub):
    for number in range(BUILT_MAX + 3):
        grader = Grader(name=f"g{number}", regex=RegexGrader(pattern="x"))
        assert (await run(stub, grader, sample({}, output_text="x"))).results[0].reward == 1.0


async def test_a_grader_is_tried_before_it_is_trained_on(stub):
    samples = [sample(row) for row in tiny.rows(12)]
    loose = Grader(name="loose", regex=RegexGrader(pattern=r"\S"))
    found = await peers.call(
        stub.ValidateGrader,
        pb.ValidateGraderRequest(grader=loose, other=EXACT, samples=samples),
    )
    assert not found.passed
    assert "rank the same answers differently" in found.problems[0]
    assert (found.sample_count, found.reference_mean) == (12, 1.0)
    assert {each.kind for each in found.planted} >= {"empty", "flattery"}
    sound = await peers.call(
        stub.ValidateGrader, pb.ValidateGraderRequest(grader=EXACT, samples=samples)
    )
    assert (sound.passed, list(sound.problems)) == (True, [])
    assert not sound.HasField("agreement")


async def test_a_judge_that_is_tried_is_not_believed_from_memory(stub, monkeypatch):
    with JudgeServer() as judge:
        monkeypatch.setenv("ATTUNE_JUDGE_BASE_URL", judge.url)
        samples = [sample(tiny.row("colour", "red")), sample(tiny.row("colour", "blue"))]
        request = pb.ValidateGraderRequest(grader=JUDGE, samples=samples)
        found = await peers.call(stub.ValidateGrader, request)
        asked = [json.dumps(each["messages"]) for each in judge.requests]
        assert max(asked.count(each) for each in asked) == 2
        assert found.passed
        request.samples.extend(samples * 6)
        with pytest.raises(InvalidArgument, match="at most 12"):
            await peers.call(stub.ValidateGrader, request)
