"""TrainerService and RenderService through real gRPC."""

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import asdict

import pytest
from attune.trainer.v1 import render_pb2, render_pb2_grpc, trainer_pb2, trainer_pb2_grpc

from services.common import peers
from services.common.clock import SystemClock
from services.common.errors import FailedPrecondition, InvalidArgument, NotFound
from services.common.rpc import Server
from services.trainer import wire
from services.trainer.attempt import TRAINING_SAMPLES, Attempt
from services.trainer.data.render import Renderer
from services.trainer.recipes.training import Resolved
from services.trainer.run import Phase, Progress
from services.trainer.servicer import TrainerServicer
from services.trainer.servicer_render import RenderServicer
from tests.trainer import tiny

RESOLVED = Resolved(
    micro_batch_size=4,
    gradient_accumulation_step_count=2,
    device_count=1,
    effective_batch_size=8,
    step_count=18,
    warmup_step_count=2,
    learning_rate=3e-3,
    trainable_parameter_count=1234,
    precision="float32",
    weight_format="float32",
    attention="sdpa",
)
RUN = "projects/default/runs/j1-s0"


@asynccontextmanager
async def serving(artefacts, forks):
    server = Server(wire.DOMAIN)
    server.add(
        trainer_pb2_grpc.add_TrainerServiceServicer_to_server,
        TrainerServicer(artefacts, SystemClock(), forks),
        "attune.trainer.v1.TrainerService",
    )
    server.add(
        render_pb2_grpc.add_RenderServiceServicer_to_server,
        RenderServicer(artefacts, forks),
        "attune.trainer.v1.RenderService",
    )
    port = await server.start("127.0.0.1", 0)
    channel = peers.channel(f"127.0.0.1:{port}")
    try:
        yield (
            trainer_pb2_grpc.TrainerServiceStub(channel),
            render_pb2_grpc.RenderServiceStub(channel),
        )
    finally:
        await channel.close(None)
        await server.stop()


@pytest.fixture
def attempt(artefacts, tmp_path):
    spec = tiny.a_spec("r" * 64, "d" * 64, "e" * 64)
    manifest = tiny.a_manifest(tmp_path, spec, 2)
    return Attempt.create(artefacts.attempt("j1-s0", 2), manifest)


async def test_get_run_reads_the_newest_attempt(artefacts, attempt, forks):
    attempt.begin_phase(Phase.VALIDATE)
    attempt.end_phase(Phase.VALIDATE)
    attempt.begin_phase(Phase.TRAIN)
    attempt.report(Progress(Phase.TRAIN, 3, 10, 1.5, 30.0))
    attempt.write_tracking("m1", "http://mlflow/m1", closed=False)
    async with serving(artefacts, forks) as (trainer, _):
        run = await peers.call(trainer.GetRun, trainer_pb2.GetRunRequest(name=RUN))
    assert (run.name, run.job, run.attempt) == (RUN, "projects/default/jobs/j1", 2)
    assert (run.progress.phase, run.progress.done_count, run.progress.total_count) == (3, 3, 10)
    assert run.progress.loss == 1.5
    assert 25 < run.progress.remaining_duration.ToTimedelta().total_seconds() <= 30
    assert [timing.phase for timing in run.phases] == [1, 3]
    assert [timing.HasField("end_time") for timing in run.phases] == [True, False]
    assert (run.mlflow_run, run.mlflow_uri) == ("m1", "http://mlflow/m1")
    assert not run.ended


async def test_get_run_says_what_the_settings_of_training_became(artefacts, attempt, forks):
    async with serving(artefacts, forks) as (trainer, _):
        run = await peers.call(trainer.GetRun, trainer_pb2.GetRunRequest(name=RUN))
        assert not run.HasField("resolved_training")
        attempt.write_resolved(asdict(RESOLVED))
        run = await peers.call(trainer.GetRun, trainer_pb2.GetRunRequest(name=RUN))
    told = run.resolved_training
    assert {field.name: value for field, value in told.ListFields()} == asdict(RESOLVED)


@pytest.mark.parametrize("name", ["projects/default/runs/other-s0", "projects/else/runs/j1-s0"])
async def test_an_unknown_run_is_not_found(artefacts, attempt, forks, name):
    async with serving(artefacts, forks) as (trainer, _):
        with pytest.raises(NotFound) as caught:
            await peers.call(trainer.GetRun, trainer_pb2.GetRunRequest(name=name))
        assert caught.value.reason == "RUN_NOT_FOUND"
        with pytest.raises(NotFound):
            async for _item in peers.stream(
                trainer.WatchRun, trainer_pb2.WatchRunRequest(name=name)
            ):
                pytest.fail("nothing should come")


@pytest.mark.parametrize("name", ["j1", "projects/default/runs/../x", "projects/default/runs/.."])
async def test_a_bad_name_is_refused(artefacts, forks, name):
    async with serving(artefacts, forks) as (trainer, _):
        with pytest.raises(InvalidArgument):
            await peers.call(trainer.GetRun, trainer_pb2.GetRunRequest(name=name))


async def test_watch_run_streams_from_the_beginning_and_ends_with_the_run(
    artefacts, attempt, forks
):
    attempt.begin_phase(Phase.TRAIN)
    attempt.log_metrics(1, {"loss": 2.0})
    attempt.say("Hello.")
    sample = {"prompt": "Say red.", "reference": "red", "answer": "rod"}
    attempt.append(TRAINING_SAMPLES, {"step": 1, **sample, "answer": ""})
    seen = []
    async with serving(artefacts, forks) as (trainer, _), asyncio.timeout(30):
        request = trainer_pb2.WatchRunRequest(name=RUN)
        async for item in peers.stream(trainer.WatchRun, request):
            seen.append(item)
            if item.WhichOneof("item") == "message" and item.message == "Hello.":
                attempt.log_metrics(2, {"loss": 1.0, "eval_loss": 1.5})
                attempt.append(TRAINING_SAMPLES, {"step": 2, **sample})
                attempt.say("Bye.")
                attempt.write_outcome("SUCCEEDED")
    metrics = [item.metrics for item in seen if item.HasField("metrics")]
    assert [(one.step, one.values["loss"]) for one in metrics] == [(1, 2.0), (2, 1.0)]
    assert metrics[1].values["eval_loss"] == 1.5
    assert [item.message for item in seen if item.HasField("message")] == ["Hello.", "Bye."]
    samples = [item.sample for item in seen if item.HasField("sample")]
    assert [(one.step, one.answer) for one in samples] == [(1, ""), (2, "rod")]
    assert (samples[0].prompt, samples[0].reference) == ("Say red.", "red")
    assert samples[0].create_time.ToDatetime() <= samples[1].create_time.ToDatetime()
    assert seen[0].HasField("run")
    assert not seen[0].run.ended
    assert seen[-1].run.ended


def evaluated(attempt: Attempt) -> None:
    """Write what EVALUATE leaves behind."""
    attempt.write_text("report.md", "# Tiny\n")
    attempt.write_text("report.html", "<p>Tiny</p>")
    attempt.write_result(Phase.EVALUATE, {"report": {"grader": "exact", "tuned_score": 0.5}})


async def test_the_page_is_found_in_the_attempt_that_evaluated(artefacts, attempt, forks, tmp_path):
    evaluated(attempt)
    manifest = tiny.a_manifest(tmp_path, tiny.a_spec("r" * 64, "d" * 64, "e" * 64), 3)
    Attempt.create(artefacts.attempt("j1-s0", 3), manifest)  # Took EVALUATE over; then it died.
    async with serving(artefacts, forks) as (trainer, _):
        found = await peers.call(trainer.GetReport, trainer_pb2.GetReportRequest(name=RUN))
    assert (found.name, found.markdown, found.html) == (RUN, "# Tiny\n", "<p>Tiny</p>")
    assert (found.report.grader, found.report.tuned_score) == ("exact", 0.5)


async def test_a_run_that_was_not_evaluated_has_no_page(artefacts, attempt, forks):
    attempt.write_text("report.md", "# half")  # Killed before the other form was written.
    async with serving(artefacts, forks) as (trainer, _):
        with pytest.raises(FailedPrecondition) as caught:
            await peers.call(trainer.GetReport, trainer_pb2.GetReportRequest(name=RUN))
    assert caught.value.reason == "RUN_NOT_EVALUATED"
    assert "Wait until its phase EVALUATE" in caught.value.message


async def test_tokens_are_counted_as_training_will_see_them(
    artefacts, revision, saved_model, forks
):
    rows = tiny.rows(4)
    request = render_pb2.CountTokensRequest(
        base_model=tiny.MODEL, rows=[json.dumps(row) for row in rows]
    )
    async with serving(artefacts, forks) as (_, render):
        answer = await peers.call(render.CountTokens, request, timeout_s=60)
    renderer = Renderer(saved_model)
    expected = [renderer.row(row["messages"]) for row in rows]
    assert [(one.token_count, one.trainable_token_count) for one in answer.counts] == [
        (len(one.token_ids), one.trainable_count) for one in expected
    ]
    assert (answer.context_length, answer.base_model_revision) == (256, revision)


async def test_rows_without_a_known_shape_are_all_named(artefacts, revision, forks):
    rows = [json.dumps(tiny.rows(1)[0]), "{", '{"messages": [{"role": "user"}]}', "[]"]
    request = render_pb2.CountTokensRequest(base_model=tiny.MODEL, rows=rows)
    async with serving(artefacts, forks) as (_, render):
        with pytest.raises(InvalidArgument) as caught:
            await peers.call(render.CountTokens, request)
    assert [one.field for one in caught.value.violations] == ["rows.1", "rows.2", "rows.3"]


async def test_rows_are_rendered_as_training_will_see_them(artefacts, revision, saved_model, forks):
    row = tiny.rows(1)[0]
    rendered = Renderer(saved_model).row(row["messages"])
    request = render_pb2.RenderRowsRequest(
        base_model=tiny.MODEL, rows=[json.dumps(row), '{"prompt": "say one"}'], max_length=16
    )
    async with serving(artefacts, forks) as (_, render):
        answer = await peers.call(render.RenderRows, request, timeout_s=60)
        request.max_length = 15
        with pytest.raises(InvalidArgument) as caught:
            await peers.call(render.RenderRows, request)
    first, second = answer.rows
    assert list(first.token_ids) == rendered.token_ids[:16]
    assert list(first.trainable) == [bool(one) for one in rendered.assistant_mask[:16]]
    assert first.cut_token_count == max(0, len(rendered.token_ids) - 16)
    assert len(first.token_texts) == len(first.token_ids)
    assert not any(second.trainable)
    assert (answer.context_length, answer.base_model_revision) == (256, revision)
    assert caught.value.violations[0].field == "max_length"


async def test_too_many_rows_are_refused(artefacts, revision, forks):
    row = json.dumps(tiny.rows(1)[0])
    request = render_pb2.CountTokensRequest(base_model=tiny.MODEL, rows=[row] * 1001)
    async with serving(artefacts, forks) as (_, render):
        with pytest.raises(InvalidArgument) as caught:
            await peers.call(render.CountTokens, request)
    assert caught.value.violations[0].rule == "TOO_MANY"


async def test_a_base_model_that_is_not_at_hand_is_not_found(artefacts, revision, forks):
    request = render_pb2.CountTokensRequest(base_model="org/else", rows=["{}"])
    request.rows[0] = json.dumps(tiny.rows(1)[0])
    async with serving(artefacts, forks) as (_, render):
        with pytest.raises(NotFound) as caught:
            await peers.call(render.CountTokens, request)
    assert caught.value.metadata["at_hand"] == tiny.MODEL


async def test_local_models_are_listed_with_their_shapes(artefacts, revision, forks):
    async with serving(artefacts, forks) as (_, render):
        answer = await peers.call(render.ListLocalModels, render_pb2.ListLocalModelsRequest())
    (shape,) = answer.models
    assert (shape.id, shape.revision, shape.licence) == (tiny.MODEL, revision, "Apache-2.0")
    assert (shape.layer_count, shape.hidden_size, shape.intermediate_size) == (2, 64, 128)
    assert (shape.head_count, shape.kv_head_count, shape.context_length) == (2, 2, 256)
