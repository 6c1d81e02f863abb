import asyncio
from types import SimpleNamespace
from uuid import uuid4

import grpc
import pytest
from attune.serving.v1 import deployment_pb2, model_pb2, playground_pb2
from attune.spec.v1.evaluation_pb2 import EvaluationReport

from services.serving.deployments.route import Route
from services.serving.engines import adapters
from services.serving.targets import shared
from tests.serving.calls import PROMPT, answered, code, creation, details, update
from tests.serving.parts import WAIT_S


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
        stubs[1].Generate(playground_pb2.GenerateRequest(model=fresh.name, prompt=PROMPT))
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


@pytest.mark.parametrize(
    ("planned", "recommended"), [("dedicated", "dedicated"), ("bedrock", "shared")]
)
async def test_the_target_of_the_plan_is_recommended_where_it_is_offered(
    parts, stubs, planned, recommended
):
    version = await parts.ready(target=planned)
    shown = await stubs[0].GetModelVersion(model_pb2.GetModelVersionRequest(name=version.name))
    assert shown.planned_target == planned
    request = deployment_pb2.ListDeployTargetsRequest(model_version=version.name)
    first = (await stubs[2].ListDeployTargets(request)).targets[0]
    assert (first.target, first.recommended) == (recommended, True)
    assert (first.reason == "The plan asks for it.") is (planned == recommended)


def ended(deployment, version, status, count):
    """Return requests to a version of a deployment that ended."""
    route = Route(version.weights, version.name, deployment.name, deployment.etag)
    return [SimpleNamespace(route=route, status=status, first_token_s=0.1, total_s=0.5)] * count


async def test_a_canary_that_fails_more_often_is_promoted_only_with_a_reason(parts, stubs):
    deploying = stubs[2]
    one, two = await parts.ready(), await parts.ready()
    await deploying.CreateDeployment(creation(one.name))
    request = update("", paths=("canary",))
    request.deployment.canary.model_version, request.deployment.canary.percent = two.name, 10
    tried = await deploying.UpdateDeployment(request)
    for call in (*ended(tried, one, 200, 100), *ended(tried, two, 503, 20)):
        parts.arm_meter.observe(call)
    shown = await deploying.GetDeployment(deployment_pb2.GetDeploymentRequest(name=tried.name))
    assert [(arm.model_version, arm.request_count, arm.error_count) for arm in shown.arms] == [
        (one.name, 100, 0),
        (two.name, 20, 20),
    ]
    assert shown.arms[0].first_token_p50.ToMilliseconds() == pytest.approx(100, rel=0.05)
    assert not shown.arms[1].HasField("total_p50")
    assert "it fails more often" in shown.comparison
    listing = deployment_pb2.ListDeploymentsRequest(parent="projects/default")
    assert list((await deploying.ListDeployments(listing)).deployments) == [shown]
    promotion = deployment_pb2.PromoteDeploymentRequest(name=tried.name, request_id=str(uuid4()))
    with pytest.raises(grpc.RpcError) as error:
        await deploying.PromoteDeployment(promotion)
    assert (code(error), details(error)[0]) == ("FAILED_PRECONDITION", "CANARY_WORSE")
    promotion.decision.override_reason = "Its errors were of the network."
    promoted = await deploying.PromoteDeployment(promotion)
    assert promoted.model_version == two.name
    assert [arm.request_count for arm in promoted.arms] == []
    changes = await deploying.ListDeploymentChanges(
        deployment_pb2.ListDeploymentChangesRequest(parent=tried.name)
    )
    assert changes.changes[0].override_reason == "Its errors were of the network."
