import asyncio
from uuid import uuid4

import grpc
import pytest
from attune.serving.v1 import model_pb2, playground_pb2

from services.common import peers
from services.serving.peers import Planner
from tests.planner.planner_service import running_planner
from tests.serving.calls import CHAT, PROMPT, STARTER, answered, code, creation, details
from tests.serving.parts import WAIT_S, Away, Parts, a_base_model, grpc_services, running


async def compared(stubs, models, **fields):
    """Return the text and the last piece of each answer."""
    request = playground_pb2.CompareRequest(models=models, **{"prompt": PROMPT} | fields)
    texts, lasts = [""] * len(models), [None] * len(models)
    async for item in stubs[1].Compare(request):
        texts[item.model_index] += item.response.text_delta
        lasts[item.model_index] = item.response
    return list(zip(texts, lasts, strict=True))


async def history(stubs, **fields):
    request = playground_pb2.ListExchangesRequest(parent="projects/default", **fields)
    return list((await stubs[1].ListExchanges(request)).exchanges)


async def judged(stubs, exchange, request_id="", **preference):
    """Say that an answer is better, unless something else is given."""
    better = {"verdict": playground_pb2.Preference.VERDICT_BETTER}
    request = playground_pb2.RecordPreferenceRequest(
        exchange=exchange, preference=better | preference, request_id=request_id or str(uuid4())
    )
    return await stubs[1].RecordPreference(request)


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


async def test_a_model_that_fails_does_not_cost_the_others_their_answers(parts, stubs):
    rejected = await parts.ready(fault={"logprob_shift": 1})
    missing = "projects/default/models/x/versions/1"
    models = [rejected.name, STARTER, missing]
    outcomes = await compared(stubs, models)
    assert outcomes[1][0] == "attune/s heard how are you"
    assert outcomes[1][1].end.finish_reason == "stop"
    assert outcomes[0][1].failure.reason == "VERSION_NOT_READY"
    assert outcomes[2][1].failure.reason == "NO_SUCH_VERSION"
    (exchange,) = await history(stubs)
    assert [answer.model for answer in exchange.answers] == models
    assert exchange.answers[0].failure == outcomes[0][1].failure
    assert exchange.answers[1].end == outcomes[1][1].end
    assert exchange.name == outcomes[0][1].failure.exchange == outcomes[1][1].end.exchange


async def test_a_fault_of_ours_costs_one_answer_and_tells_nothing_of_itself(parts):
    class Faulty(Away):
        async def grade(self, grader, sample):
            if sample.output_text.startswith("attune"):
                raise RuntimeError("a secret")
            return 1.0

    parts.graders = Faulty()
    version = await parts.ready()
    grader = {"name": "g", "string_check": {"input": "x", "reference": "y", "operation": 1}}
    async with grpc_services(parts) as stubs:
        grading = {"graders": [grader]}
        outcomes = await compared(stubs, [STARTER, version.name], grading=grading)
        assert outcomes[0][1].failure.reason == "INTERNAL"
        assert "secret" not in outcomes[0][1].failure.message
        assert outcomes[1][1].end.scores[0].score == 1.0
        (exchange,) = await history(stubs)
        assert exchange.answers[0].failure == outcomes[0][1].failure


async def test_a_prompt_that_no_model_takes_fails_for_each_and_holds_nothing(parts, stubs):
    version = await parts.ready()
    prompt = {"messages": [{"role": "user", "content": "x" * 3000}]}
    for _, last in await compared(stubs, [STARTER, version.name], prompt=prompt):
        assert last.failure.reason == "PROMPT_REFUSED"
        assert "maximum context length" in last.failure.message
        assert not last.failure.HasField("retry_delay")
    assert (await parts.test())["busy"] == 0


async def test_only_models_of_one_project_are_compared(stubs):
    for models, fields in (
        ([STARTER], ["models"]),
        ([STARTER] * 5, ["models"]),
        ([STARTER, STARTER.replace("default", "other")], ["models.1"]),
        ([STARTER, "x"], ["models.1"]),
    ):
        with pytest.raises(grpc.RpcError) as error:
            await compared(stubs, models)
        assert (code(error), details(error)[1]) == ("INVALID_ARGUMENT", fields)
    assert await history(stubs) == []


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


async def test_an_engine_that_is_being_started_tells_how_far_it_is(tmp_path):
    parts = Parts(tmp_path)
    a_base_model(parts.artefacts)
    async with running(parts), grpc_services(parts) as stubs:
        request = playground_pb2.GenerateRequest(model=STARTER, prompt=PROMPT)
        pieces = [piece async for piece in stubs[1].Generate(request)]
        kinds = [piece.WhichOneof("piece") for piece in pieces]
        assert kinds == sorted(kinds, key=["wait", "text_delta", "end"].index)
        waits = [piece.wait for piece in pieces if piece.HasField("wait")]
        assert "attune/starter" in waits[0].message
        assert all(0 <= wait.progress < 1 for wait in waits)
        assert any(wait.remaining_duration.ToMilliseconds() > 0 for wait in waits)
        assert kinds[-1] == "end"


async def test_a_comparison_does_not_wait_for_the_engine_of_one_model(parts, stubs):
    a_base_model(parts.artefacts, model_id="other/model")
    models = ["projects/default/baseModels/other~model", STARTER]
    request = playground_pb2.CompareRequest(models=models, prompt=PROMPT)
    first_texts = {}
    place = 0
    async for item in stubs[1].Compare(request):
        place += 1
        if item.response.text_delta:
            first_texts.setdefault(item.model_index, place)
    assert first_texts[1] < first_texts[0]


async def test_an_engine_that_cannot_start_fails_with_its_reason(tmp_path):
    parts = Parts(tmp_path)
    a_base_model(parts.artefacts)
    object.__setattr__(parts.engines.options, "command", lambda base, port: ["/bin/false"])
    async with running(parts), grpc_services(parts) as stubs:
        call = stubs[1].Generate(playground_pb2.GenerateRequest(model=STARTER, prompt=PROMPT))
        with pytest.raises(grpc.RpcError) as error:
            [piece async for piece in call]
        assert (code(error), details(error)[0]) == ("UNAVAILABLE", "ENGINE_NOT_READY")
        (exchange,) = await history(stubs)
        assert exchange.answers[0].failure.reason == "ENGINE_NOT_READY"


async def test_a_model_that_is_not_told_of_tools_refuses_them(stubs):
    prompt = PROMPT | {"tools": [{"name": "weather"}]}
    call = stubs[1].Generate(playground_pb2.GenerateRequest(model=STARTER, prompt=prompt))
    with pytest.raises(grpc.RpcError) as error:
        await answered(call)
    assert (code(error), details(error)[0]) == ("FAILED_PRECONDITION", "NO_TOOLS")


async def test_tools_and_a_schema_reach_the_engine_and_calls_come_back(parts, stubs):
    template = "{% if tools %}<tool_call>{% endif %}"
    (parts.engine.model.folder / "chat_template.jinja").write_text(template)
    prompt = PROMPT | {
        "tools": [{"name": "weather", "parameters": '{"type": "object"}'}, {"name": "clock"}],
        "json_schema": '{"type": "object", "properties": {"z": {}, "a": {}}}',
        "sampling": {"stop": ["."]},
    }
    request = playground_pb2.GenerateRequest(model=STARTER, prompt=prompt)
    text, end = await answered(stubs[1].Generate(request))
    assert (text, end.finish_reason) == ("", "tool_calls")
    calls = [(call.id, call.name, call.arguments) for call in end.tool_calls]
    assert calls == [
        ("call-0", "weather", '{"city": "Bonn"}'),
        ("call-1", "clock", '{"city": "Bonn"}'),
    ]
    assert end.first_token_s <= end.total_s
    seen = (await parts.test())["requests"][-1]
    assert [tool["function"]["name"] for tool in seen["tools"]] == ["weather", "clock"]
    schema = seen["response_format"]["json_schema"]["schema"]
    assert (list(schema["properties"]), seen["stop"]) == (["z", "a"], ["."])


async def test_an_answer_is_scored_and_priced_and_tells_its_speed(parts):
    class Graders(Away):
        async def grade(self, grader, sample):
            if grader.name == "broken":
                return await super().grade(grader, sample)
            return 1.0 if sample.output_text.startswith("attune") else 0.0

    parts.graders, parts.hour_cost_micro_usd = Graders(), 1_000_000_000
    version = await parts.ready()
    graders = [
        {"name": name, "string_check": {"input": "x", "reference": "y", "operation": 1}}
        for name in ("base", "broken")
    ]
    async with grpc_services(parts) as stubs:
        grading = {"graders": graders}
        outcomes = await compared(stubs, [STARTER, version.name], grading=grading)
    ends = [last.end for _, last in outcomes]
    assert [end.scores[0].score for end in ends] == [1.0, 0.0]
    for end in ends:
        assert end.cost_micro_usd > 0
        assert end.tokens_per_s > 0
        broken = end.scores[1]
        assert (broken.HasField("score"), broken.error) == (False, "The trainer is away.")


async def test_without_a_price_an_answer_says_nothing_of_cost(stubs):
    _, end = await answered(
        stubs[1].Generate(playground_pb2.GenerateRequest(model=STARTER, prompt=PROMPT))
    )
    assert not end.HasField("cost_micro_usd")


@pytest.mark.parametrize("cancelled", [True, False])
async def test_an_answer_that_breaks_off_is_kept_as_far_as_it_came(parts, stubs, cancelled):
    await parts.test(mode="endless" if cancelled else "die_in_stream")
    call = stubs[1].Generate(playground_pb2.GenerateRequest(model=STARTER, prompt=PROMPT))
    assert (await call.read()).text_delta == "attune/s"
    if cancelled:
        call.cancel()
    else:
        with pytest.raises(grpc.RpcError) as error:
            await call.read()
        assert code(error) == "UNAVAILABLE"
    (exchange,) = await parts.until(
        lambda: history(stubs), lambda found: found[0].answers[0].HasField("failure")
    )
    (answer,) = exchange.answers
    assert answer.failure.reason == ("CANCELLED" if cancelled else "ENGINE_AWAY")
    assert answer.text.startswith("attune/s")
    assert not answer.HasField("end")
    with pytest.raises(grpc.RpcError) as error:
        await judged(stubs, exchange.name)
    assert (code(error), details(error)[0]) == ("FAILED_PRECONDITION", "ANSWER_NOT_ENDED")


async def test_what_is_judged_is_listed_with_the_newest_opinion(stubs):
    ends = [(await compared(stubs, [STARTER] * 2))[0][1].end for _ in range(3)]
    names = [end.exchange for end in ends]
    repeated = str(uuid4())
    first = await judged(stubs, names[0], repeated, answer_index=1, author="ann")
    assert first.preference.create_time.seconds > 0
    bad = playground_pb2.Preference.VERDICT_ALL_BAD
    await judged(stubs, names[0], verdict=bad, corrected_answer="well", author="bob")
    assert await judged(stubs, names[0], repeated, answer_index=1, author="ann") == first
    (found,) = await history(stubs, with_preference=True)
    assert (found.name, found.preference.author) == (names[0], "bob")
    assert (found.preference.verdict, found.preference.corrected_answer) == (bad, "well")
    listed, token = [], ""
    while True:
        request = playground_pb2.ListExchangesRequest(
            parent="projects/default", page_size=2, page_token=token
        )
        page = await stubs[1].ListExchanges(request)
        listed += [exchange.name for exchange in page.exchanges]
        if not (token := page.next_page_token):
            break
    assert listed == names[::-1]


async def test_an_opinion_of_a_comparison_becomes_a_dataset_of_the_planner(parts, tmp_path):
    version = await parts.ready()
    home = tmp_path / "planner"
    home.mkdir()
    async with running_planner(home, f"sqlite+aiosqlite:///{home / 'planner.db'}") as planner:
        channel = peers.channel(planner.address)
        parts.planner = Planner(channel)
        async with grpc_services(parts) as stubs:
            end = (await compared(stubs, [STARTER, version.name]))[1][1].end
            await judged(stubs, end.exchange, answer_index=1)
            request = playground_pb2.ExportPreferencesRequest(
                parent="projects/default",
                shape=playground_pb2.ExportPreferencesRequest.SHAPE_PAIRS,
                model_version=version.name,
                request_id=str(uuid4()),
            )
            made = await stubs[1].ExportPreferences(request)
            assert await stubs[1].ExportPreferences(request) == made
        await channel.close(None)
        assert (made.row_count, list(made.model_versions)) == (1, [version.name])
        report = (await planner.analysed(made.dataset)).report
        assert (report.format, report.valid_row_count) == ("preference", 1)


async def test_bad_requests_about_the_history_get_the_right_code(stubs):
    with pytest.raises(grpc.RpcError) as error:
        await judged(stubs, "projects/default/exchanges/x")
    assert code(error) == "NOT_FOUND"
    with pytest.raises(grpc.RpcError) as error:
        await judged(stubs, "projects/default/exchanges/x", "no uuid")
    assert code(error) == "INVALID_ARGUMENT"
    with pytest.raises(grpc.RpcError) as error:
        await history(stubs, page_token="x")
    assert code(error) == "INVALID_ARGUMENT"
