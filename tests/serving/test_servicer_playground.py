import asyncio

import grpc
import pytest
from attune.serving.v1 import model_pb2, playground_pb2

from tests.serving.calls import CHAT, PROMPT, STARTER, answered, code, creation, details
from tests.serving.parts import WAIT_S, Parts, grpc_services, running


async def test_a_base_a_version_and_a_deployment_answer(parts, stubs):
    _, playground, deploying, _ = stubs
    version = await parts.ready()
    await deploying.CreateDeployment(creation(version.name))
    for model, name, model_version in (
        (STARTER, "attune/s", ""),
        (version.name, version.adapter_sha256[:8], version.name),
        ("projects/default/deployments/tickets", version.adapter_sha256[:8], version.name),
    ):
        text, end = await answered(
            playground.Generate(playground_pb2.GenerateRequest(model=model, prompt=PROMPT))
        )
        assert text == f"{name} heard how are you"
        assert (end.model_version, end.finish_reason) == (model_version, "stop")
        assert (end.prompt_token_count, end.answer_token_count) == (3, 5)
        assert 0 < end.first_token_s <= end.total_s


async def test_sampling_reaches_the_engine(parts, stubs):
    request = playground_pb2.GenerateRequest(
        model=STARTER,
        prompt={
            "messages": CHAT,
            "sampling": {"temperature": 0.5, "top_p": 0.9, "max_tokens": 7, "seed": 42},
        },
    )
    await answered(stubs[1].Generate(request))
    seen = (await parts.test())["requests"][-1]
    assert [seen[key] for key in ("temperature", "top_p", "max_tokens", "seed")] == [
        0.5,
        0.9,
        7,
        42,
    ]


async def test_models_are_compared_side_by_side(parts, stubs):
    versions = [await parts.ready() for _ in range(3)]
    models = [STARTER, *(version.name for version in versions)]
    call = stubs[1].Compare(playground_pb2.CompareRequest(models=models, prompt=PROMPT))
    texts, ends = [""] * 4, [None] * 4
    async for item in call:
        assert ends[item.model_index] is None
        texts[item.model_index] += item.response.text_delta
        if item.response.HasField("end"):
            ends[item.model_index] = item.response.end
    assert texts[0] == "attune/s heard how are you"
    assert texts[1:] == [f"{v.adapter_sha256[:8]} heard how are you" for v in versions]
    assert [end.model_version for end in ends] == ["", *(version.name for version in versions)]


async def test_a_comparison_that_fails_says_why_and_holds_nothing(parts, stubs):
    version = await parts.ready()
    request = playground_pb2.CompareRequest(
        models=[STARTER, version.name],
        prompt={"messages": [{"role": "user", "content": "x" * 3000}]},
    )
    with pytest.raises(grpc.RpcError) as error:
        await answered(stubs[1].Compare(request))
    assert code(error) == "INVALID_ARGUMENT"
    assert "maximum context length" in error.value.details()
    assert (await parts.test())["busy"] == 0


async def test_what_cannot_answer_gets_the_right_code(parts, stubs):
    rejected = await parts.ready(fault={"logprob_shift": 1})
    for model, status, reason in (
        (rejected.name, "FAILED_PRECONDITION", "VERSION_NOT_READY"),
        ("projects/default/models/x/versions/1", "NOT_FOUND", "NO_SUCH_VERSION"),
        ("projects/default/deployments/x", "NOT_FOUND", "NO_SUCH_DEPLOYMENT"),
        ("projects/default/baseModels/other~model", "FAILED_PRECONDITION", "BASE_MODEL_MISSING"),
        ("attune/starter", "INVALID_ARGUMENT", "INVALID_FIELDS"),
        ("projects/default/baseModels/../x", "INVALID_ARGUMENT", "INVALID_FIELDS"),
    ):
        with pytest.raises(grpc.RpcError) as error:
            await answered(
                stubs[1].Generate(playground_pb2.GenerateRequest(model=model, prompt=PROMPT))
            )
        assert (code(error), details(error)[0]) == (status, reason)


async def test_every_bad_field_of_a_chat_is_named(stubs):
    request = playground_pb2.GenerateRequest(
        model=STARTER,
        prompt={
            "messages": [{"role": "judge", "content": "x"}],
            "sampling": {"temperature": 3, "max_tokens": 5000},
        },
    )
    with pytest.raises(grpc.RpcError) as error:
        await answered(stubs[1].Generate(request))
    assert code(error) == "INVALID_ARGUMENT"
    assert details(error)[1] == [
        "prompt.messages.0.role",
        "prompt.messages.0.role",
        "prompt.sampling.temperature",
        "prompt.sampling.max_tokens",
    ]


@pytest.mark.parametrize("kind", ["Generate", "Compare"])
async def test_a_cancelled_stream_stops_the_engine(parts, stubs, kind):
    await parts.test(mode="endless")
    if kind == "Generate":
        call = stubs[1].Generate(playground_pb2.GenerateRequest(model=STARTER, prompt=PROMPT))
    else:
        call = stubs[1].Compare(
            playground_pb2.CompareRequest(models=[STARTER, STARTER], prompt=PROMPT)
        )
    await call.read()
    call.cancel()
    async with asyncio.timeout(WAIT_S):
        while (await parts.test())["busy"]:
            pass  # Each look is a round trip to the engine.


async def test_an_engine_that_is_not_ready_says_when_to_try_again(tmp_path):
    parts = Parts(tmp_path)
    async with running(parts), grpc_services(parts) as (models, playground, *_):
        staged = await parts.stage()
        with pytest.raises(grpc.RpcError) as error:
            await answered(
                playground.Generate(playground_pb2.GenerateRequest(model=STARTER, prompt=PROMPT))
            )
        assert code(error) == "UNAVAILABLE"
        assert details(error)[2].seconds > 0
        got = await models.GetModelVersion(model_pb2.GetModelVersionRequest(name=staged.name))
        assert got.state_reason.startswith("Waits for the engine: An engine of attune/starter")
