import asyncio
from uuid import uuid4

import grpc
import pytest
from attune.serving.v1 import deployment_pb2, engine_pb2, model_pb2, playground_pb2
from attune.spec.v1.evaluation_pb2 import EvaluationReport
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from services.serving.engines import adapters
from services.serving.targets import shared
from tests.serving.parts import WAIT_S, Parts, grpc_services, running

STARTER = "projects/default/baseModels/attune~starter"
CHAT = [{"role": "user", "content": "how are you"}]


def details(error):
    """Return reason, violated fields and retry delay of an RPC error."""
    info, bad, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    for detail in rpc_status.from_call(error.value).details:
        for message in (info, bad, retry):
            detail.Unpack(message)
    return info.reason, [item.field for item in bad.field_violations], retry.retry_delay


def code(error):
    return error.value.code().name


def creation(version, alias="tickets", **fields):
    return deployment_pb2.CreateDeploymentRequest(
        parent="projects/default",
        deployment_id=alias,
        deployment={"model_version": version, "target": "shared"} | fields,
        request_id=str(uuid4()),
    )


def update(version, alias="tickets", etag="", paths=("model_version",)):
    name = f"projects/default/deployments/{alias}"
    return deployment_pb2.UpdateDeploymentRequest(
        deployment={"name": name, "model_version": version, "etag": etag},
        update_mask={"paths": list(paths)},
        request_id=str(uuid4()),
    )


async def answered(call):
    pieces = [piece async for piece in call]
    assert [piece.WhichOneof("piece") for piece in pieces[:-1]] == ["text_delta"] * (
        len(pieces) - 1
    )
    return "".join(piece.text_delta for piece in pieces[:-1]), pieces[-1].end


async def test_versions_are_read_and_listed_page_by_page(parts, stubs):
    models, *_ = stubs
    made = [await parts.ready(alias=alias) for alias in ("x", "y", "x")]
    got = await models.GetModelVersion(model_pb2.GetModelVersionRequest(name=made[0].name))
    assert got.state == model_pb2.ModelVersion.STATE_READY
    assert got.parity.prompt_count == 1
    names, token = [], ""
    while True:
        page = await models.ListModelVersions(
            model_pb2.ListModelVersionsRequest(
                parent="projects/default/models/-", page_size=2, page_token=token
            )
        )
        names += [version.name for version in page.model_versions]
        token = page.next_page_token
        if not token:
            break
    assert sorted(names) == sorted(version.name for version in made)
    assert names[0] != names[-1]
    request = model_pb2.ListModelVersionsRequest(
        parent="projects/default/models/x", job=made[2].job
    )
    (found,) = (await models.ListModelVersions(request)).model_versions
    assert found.name == made[2].name


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (model_pb2.ListModelVersionsRequest(), "INVALID_ARGUMENT"),
        (model_pb2.ListModelVersionsRequest(parent="projects/default"), "INVALID_ARGUMENT"),
        (
            model_pb2.ListModelVersionsRequest(parent="projects/a/models/-", page_token="?"),
            "INVALID_ARGUMENT",
        ),
        (
            model_pb2.ListModelVersionsRequest(parent="projects/a/models/-", page_size=-1),
            "INVALID_ARGUMENT",
        ),
        (
            model_pb2.ListModelVersionsRequest(parent="projects/a/models/-", job="j1"),
            "INVALID_ARGUMENT",
        ),
        (model_pb2.GetModelVersionRequest(name="x"), "INVALID_ARGUMENT"),
        (
            model_pb2.GetModelVersionRequest(name="projects/a/models/b/versions/1"),
            "NOT_FOUND",
        ),
    ],
)
async def test_bad_reads_get_the_right_code(stubs, request_, status):
    get = isinstance(request_, model_pb2.GetModelVersionRequest)
    call = stubs[0].GetModelVersion if get else stubs[0].ListModelVersions
    with pytest.raises(grpc.RpcError) as error:
        await call(request_)
    assert code(error) == status


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
            playground.Generate(playground_pb2.GenerateRequest(model=model, messages=CHAT))
        )
        assert text == f"{name} heard how are you"
        assert (end.model_version, end.finish_reason) == (model_version, "stop")
        assert (end.prompt_token_count, end.answer_token_count) == (3, 5)
        assert 0 < end.first_token_s <= end.total_s


async def test_sampling_reaches_the_engine(parts, stubs):
    request = playground_pb2.GenerateRequest(
        model=STARTER,
        messages=CHAT,
        sampling={"temperature": 0.5, "top_p": 0.9, "max_tokens": 7, "seed": 42},
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
    call = stubs[1].Compare(playground_pb2.CompareRequest(models=models, messages=CHAT))
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
        models=[STARTER, version.name], messages=[{"role": "user", "content": "x" * 3000}]
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
                stubs[1].Generate(playground_pb2.GenerateRequest(model=model, messages=CHAT))
            )
        assert (code(error), details(error)[0]) == (status, reason)


async def test_every_bad_field_of_a_chat_is_named(stubs):
    request = playground_pb2.GenerateRequest(
        model=STARTER,
        messages=[{"role": "judge", "content": "x"}],
        sampling={"temperature": 3, "max_tokens": 5000},
    )
    with pytest.raises(grpc.RpcError) as error:
        await answered(stubs[1].Generate(request))
    assert code(error) == "INVALID_ARGUMENT"
    assert details(error)[1] == [
        "messages.0.role",
        "messages.0.role",
        "sampling.temperature",
        "sampling.max_tokens",
    ]


@pytest.mark.parametrize("kind", ["Generate", "Compare"])
async def test_a_cancelled_stream_stops_the_engine(parts, stubs, kind):
    await parts.test(mode="endless")
    if kind == "Generate":
        call = stubs[1].Generate(playground_pb2.GenerateRequest(model=STARTER, messages=CHAT))
    else:
        call = stubs[1].Compare(
            playground_pb2.CompareRequest(models=[STARTER, STARTER], messages=CHAT)
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
                playground.Generate(playground_pb2.GenerateRequest(model=STARTER, messages=CHAT))
            )
        assert code(error) == "UNAVAILABLE"
        assert details(error)[2].seconds > 0
        got = await models.GetModelVersion(model_pb2.GetModelVersionRequest(name=staged.name))
        assert got.state_reason.startswith("Waits for the engine: An engine of attune/starter")


async def test_a_deployment_of_what_can_be_held_is_ready_at_once_and_through_a_switch(parts, stubs):
    deploying = stubs[2]
    first, second = await parts.ready(), await parts.ready()
    parts.deployments.endpoint = "http://127.0.0.1:7180/v1"
    made = await deploying.CreateDeployment(creation(first.name))
    assert made.state == deployment_pb2.Deployment.STATE_READY
    assert made.endpoint == "http://127.0.0.1:7180/v1"
    switched = await deploying.UpdateDeployment(update(second.name, etag=made.etag))
    assert switched.model_version == second.name
    assert switched.state == deployment_pb2.Deployment.STATE_READY
    assert second.adapter_sha256 in (await parts.test())["loaded"]


async def test_a_repeated_request_gets_the_first_answer(parts, stubs):
    first, second = await parts.ready(), await parts.ready()
    create, change = creation(first.name), update(second.name)
    made = await stubs[2].CreateDeployment(create)
    switched = await stubs[2].UpdateDeployment(change)
    assert await stubs[2].CreateDeployment(create) == made
    assert await stubs[2].UpdateDeployment(change) == switched


async def test_a_switch_while_the_engine_is_away_is_kept_and_done_later(parts, stubs):
    first, second = await parts.ready(), await parts.ready()
    await stubs[2].CreateDeployment(creation(first.name))
    parts.processes.end(parts.processes.find("engine"), 0)
    parts.engine._look.set()
    async with asyncio.timeout(WAIT_S):
        while parts.engine.state == "READY":
            await parts.engines.wait_for_change(0.05)
    switched = await stubs[2].UpdateDeployment(update(second.name))
    assert switched.state == deployment_pb2.Deployment.STATE_PENDING
    await parts.at_generation(2)
    get = deployment_pb2.GetDeploymentRequest(name=switched.name)
    found = await parts.until(
        lambda: stubs[2].GetDeployment(get),
        lambda found: found.state == deployment_pb2.Deployment.STATE_READY,
    )
    assert found.model_version == second.name


async def test_bad_deployments_get_the_right_code(parts, stubs):
    deploying = stubs[2]
    good = (await parts.ready()).name
    bad = (await parts.ready(fault={"logprob_shift": 1})).name
    other = (await parts.stage(revision="r2")).name
    made = await deploying.CreateDeployment(creation(good))
    await deploying.UpdateDeployment(update(good))
    for call, request, status in (
        (deploying.CreateDeployment, creation(good), "ALREADY_EXISTS"),
        (deploying.CreateDeployment, creation(bad, "b"), "FAILED_PRECONDITION"),
        (deploying.CreateDeployment, creation(other, "b"), "FAILED_PRECONDITION"),
        (deploying.CreateDeployment, creation(good + "1", "b"), "NOT_FOUND"),
        (deploying.CreateDeployment, creation("x", "b"), "INVALID_ARGUMENT"),
        (deploying.CreateDeployment, creation(good, "B!"), "INVALID_ARGUMENT"),
        (deploying.CreateDeployment, creation(good, "b", target="mars"), "INVALID_ARGUMENT"),
        (deploying.CreateDeployment, creation(good, "b", endpoint="x"), "INVALID_ARGUMENT"),
        (deploying.UpdateDeployment, update(good, "b"), "NOT_FOUND"),
        (deploying.UpdateDeployment, update(bad), "FAILED_PRECONDITION"),
        (deploying.UpdateDeployment, update(good + "1"), "NOT_FOUND"),
        (deploying.UpdateDeployment, update(good, etag=made.etag), "ABORTED"),
        (deploying.UpdateDeployment, update(good, paths=["target"]), "INVALID_ARGUMENT"),
    ):
        with pytest.raises(grpc.RpcError) as error:
            await call(request)
        assert code(error) == status, request


async def test_deployments_are_listed_by_alias_up_to_the_engines_places(parts, stubs, monkeypatch):
    monkeypatch.setattr(shared, "DEPLOYED_MAX", 3)
    monkeypatch.setattr(adapters, "LORAS_MAX", 4)
    versions = [await parts.ready() for _ in range(4)]
    for alias, version in zip("cba", versions, strict=False):
        await stubs[2].CreateDeployment(creation(version.name, alias))
    with pytest.raises(grpc.RpcError) as error:
        await stubs[2].CreateDeployment(creation(versions[-1].name, "d"))
    assert code(error) == "RESOURCE_EXHAUSTED"
    # The same adapter under another alias, and another one in place of it, take no more room.
    await stubs[2].CreateDeployment(creation(versions[0].name, "same"))
    await stubs[2].UpdateDeployment(update(versions[0].name, "a"))
    request = deployment_pb2.ListDeploymentsRequest(parent="projects/default", page_size=2)
    first = await stubs[2].ListDeployments(request)
    request.page_token = first.next_page_token
    rest = await stubs[2].ListDeployments(request)
    names = [item.name.rsplit("/")[-1] for item in (*first.deployments, *rest.deployments)]
    assert names == ["a", "b", "c", "same"]
    assert not rest.next_page_token
    # The last place is enough to prove one more and to try it.
    fresh = await parts.ready()
    _, end = await answered(
        stubs[1].Generate(playground_pb2.GenerateRequest(model=fresh.name, messages=CHAT))
    )
    assert end.model_version == fresh.name


async def test_a_canary_is_tried_promoted_and_taken_back(parts, stubs):
    deploying = stubs[2]
    first, second = await parts.ready(), await parts.ready()
    made = await deploying.CreateDeployment(creation(first.name))
    tried = await deploying.UpdateDeployment(
        deployment_pb2.UpdateDeploymentRequest(
            deployment={
                "name": made.name,
                "canary": {"model_version": second.name, "percent": 20},
            },
            update_mask={"paths": ["canary"]},
            request_id=str(uuid4()),
            decision={"author": "ann", "reason": "shorter answers"},
        )
    )
    assert (tried.model_version, tried.canary.model_version) == (first.name, second.name)
    promoted = await deploying.PromoteDeployment(
        deployment_pb2.PromoteDeploymentRequest(
            name=made.name, etag=tried.etag, request_id=str(uuid4())
        )
    )
    assert promoted.serving_model_version == second.name
    assert not promoted.HasField("canary")
    back = await deploying.RollbackDeployment(
        deployment_pb2.RollbackDeploymentRequest(name=made.name, request_id=str(uuid4()))
    )
    assert (back.serving_model_version, back.previous_model_version) == (first.name, second.name)
    assert back.state == deployment_pb2.Deployment.STATE_READY
    listed = await deploying.ListDeploymentChanges(
        deployment_pb2.ListDeploymentChangesRequest(parent=made.name, page_size=3)
    )
    kinds = [deployment_pb2.DeploymentChange.Kind.Name(one.kind)[5:] for one in listed.changes]
    assert kinds == ["ROLLBACK", "PROMOTE", "CANARY"]
    assert (listed.changes[2].author, listed.changes[2].reason) == ("ann", "shorter answers")
    assert listed.changes[2].canary.percent == 20
    assert listed.next_page_token


async def test_a_deployment_is_watched_until_it_is_deleted(parts, stubs):
    deploying = stubs[2]
    version = await parts.ready()
    made = await deploying.CreateDeployment(creation(version.name))
    request = deployment_pb2.WatchDeploymentRequest(name=made.name)
    states = aiter(deploying.WatchDeployment(request))
    assert (await anext(states)).deployment.state == deployment_pb2.Deployment.STATE_READY
    gone = await deploying.DeleteDeployment(
        deployment_pb2.DeleteDeploymentRequest(name=made.name, request_id=str(uuid4()))
    )
    assert gone.state == deployment_pb2.Deployment.STATE_DELETING
    async with asyncio.timeout(WAIT_S):
        seen = [item.deployment.state async for item in states]
    assert set(seen) <= {deployment_pb2.Deployment.STATE_DELETING}
    with pytest.raises(grpc.RpcError) as error:
        await deploying.GetDeployment(deployment_pb2.GetDeploymentRequest(name=made.name))
    assert code(error) == "NOT_FOUND"
    await deploying.CreateDeployment(creation(version.name))  # The alias is free again.


async def test_a_worse_version_is_deployed_only_with_a_reason_that_is_kept(parts, stubs):
    deploying = stubs[2]
    worse = await parts.ready(verdict=EvaluationReport.VERDICT_WORSE)
    rejected = await parts.ready(fault={"logprob_shift": 1})
    for version, reason in ((worse, "VERDICT_WORSE"), (rejected, "VERSION_NOT_READY")):
        with pytest.raises(grpc.RpcError) as error:
            await deploying.CreateDeployment(creation(version.name))
        assert details(error)[0] == reason
    request = creation(worse.name)
    request.decision.override_reason = "no"
    with pytest.raises(grpc.RpcError) as error:
        await deploying.CreateDeployment(request)
    assert details(error)[1] == ["decision.override_reason"]
    request.decision.override_reason = "It is worse on old tickets only, which have gone."
    made = await deploying.CreateDeployment(request)
    assert made.serving_model_version == worse.name
    changes = await deploying.ListDeploymentChanges(
        deployment_pb2.ListDeploymentChangesRequest(parent=made.name)
    )
    assert changes.changes[0].override_reason.startswith("It is worse on old tickets")


async def test_two_targets_are_offered_and_the_cheaper_one_is_recommended(parts, stubs):
    version = await parts.ready()
    request = deployment_pb2.ListDeployTargetsRequest(model_version=version.name)
    found = (await stubs[2].ListDeployTargets(request)).targets
    assert [one.target for one in found] == ["shared", "dedicated"]
    assert [one.recommended for one in found] == [True, False]
    assert all(one.title and one.description and one.cost and one.latency for one in found)
    whole = await parts.ready(use_dora=True)
    request = deployment_pb2.ListDeployTargetsRequest(model_version=whole.name)
    found = (await stubs[2].ListDeployTargets(request)).targets
    assert [one.target for one in found] == ["dedicated", "shared"]
    assert "whole model" in found[1].objection


async def test_engines_are_shown_with_what_they_hold(parts, stubs):
    version = await parts.ready()
    (engine,) = (await stubs[3].ListEngines(engine_pb2.ListEnginesRequest())).engines
    assert engine.state == engine_pb2.Engine.STATE_READY
    assert (engine.base_model, engine.base_model_revision) == ("attune/starter", "r1")
    assert list(engine.model_versions) == [version.name]
    assert engine.ready_time.seconds > 0
    assert not engine.HasField("progress")
