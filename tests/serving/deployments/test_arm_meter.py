"""Figures of versions, counted in memory and kept in either database."""

import asyncio
from contextlib import suppress
from types import SimpleNamespace
from uuid import uuid4

import pytest
from attune.serving.v1 import deployment_pb2

from services.common.clock import SystemClock, new_id
from services.serving import store
from services.serving.deployments.arm_meter import ArmMeter
from services.serving.deployments.arm_store import ArmStore
from services.serving.deployments.deployment import (
    Canary,
    ChangeKind,
    Decision,
    confirm,
    create,
    delete,
    try_canary,
)
from services.serving.deployments.deployment_store import DeploymentStore
from services.serving.deployments.route import Route
from services.serving.engines.weights import Weights

NAME = "projects/default/deployments/tickets"
ONE, TWO = (f"projects/default/models/tickets/versions/{number}" for number in (1, 2))


@pytest.fixture
async def database(database_url):
    opened = store.new_database(database_url)
    await opened.migrate()
    yield opened
    await opened.close()


@pytest.fixture
def deployments(database):
    return DeploymentStore(database, SystemClock())


@pytest.fixture
async def deployed(deployments):
    now = SystemClock().now()
    made = confirm(create(NAME, "shared", ONE, etag=new_id(now), now=now), now)
    request = deployment_pb2.CreateDeploymentRequest(request_id=str(uuid4()))
    await deployments.create(request, made, Decision(), lambda *_: None)
    return await try_two(deployments)


async def try_two(deployments, percent=10.0):
    return await decide(
        deployments, ChangeKind.CANARY, lambda one: try_canary(one, Canary(TWO, percent))
    )


async def decide(deployments, kind, act):
    request = deployment_pb2.UpdateDeploymentRequest(request_id=str(uuid4()))
    await deployments.decide(request, NAME, "", kind, Decision(), act, lambda *_: None, held=True)
    return await deployments.get(NAME)


def call(deployed, version=ONE, status=200, deployment=NAME):
    route = Route(Weights("b", "r"), version, deployment, deployed.etag)
    return SimpleNamespace(route=route, status=status, first_token_s=0.1, total_s=1.0)


def counts(figures):
    return {name: (one.request_count, one.error_count) for name, one in figures.items()}


async def test_what_is_counted_and_what_is_kept_are_shown_together(database, deployed):
    meter = ArmMeter(ArmStore(database))
    meter.observe(call(deployed))
    await meter.flush()
    meter.observe(call(deployed))
    meter.observe(call(deployed, TWO, status=503))
    meter.observe(call(deployed, deployment=""))
    meter.observe(SimpleNamespace(route=None))
    (figures,) = await meter.figures([deployed])
    assert counts(figures) == {ONE: (2, 0), TWO: (1, 1)}
    await meter.flush()
    (again,) = await meter.figures([deployed])
    assert again == figures


async def test_a_restart_forgets_nothing_and_two_processes_add_up(database, deployed):
    for _ in range(2):
        meter = ArmMeter(ArmStore(database))
        task = asyncio.create_task(meter.run())
        await asyncio.sleep(0)
        meter.observe(call(deployed, TWO))
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    (figures,) = await ArmMeter(ArmStore(database)).figures([deployed])
    assert counts(figures) == {ONE: (0, 0), TWO: (2, 0)}
    assert figures[TWO].first_token.total == 2


async def test_another_decision_begins_at_nothing_whatever_comes_late(
    database, deployments, deployed
):
    meter = ArmMeter(ArmStore(database))
    meter.observe(call(deployed, TWO))
    await meter.flush()
    changed = await try_two(deployments, 50)
    meter.observe(call(changed, TWO))
    meter.observe(call(deployed, TWO))
    await meter.flush()
    meter.observe(call(deployed, TWO))
    await meter.flush()
    (figures,) = await meter.figures([changed])
    assert counts(figures) == {ONE: (0, 0), TWO: (1, 0)}
    assert set(await ArmStore(database).load([deployed.etag])) == set()


async def test_counts_that_cannot_be_kept_now_are_kept_the_next_time(
    database, deployed, monkeypatch
):
    arms = ArmStore(database)
    meter = ArmMeter(arms)
    meter.observe(call(deployed))

    async def fail(counted):
        raise OSError("no database")

    with monkeypatch.context() as patched:
        patched.setattr(arms, "add", fail)
        await meter.flush()
    await meter.flush()
    (kept,) = (await arms.load([deployed.etag])).values()
    assert kept.request_count == 1


async def test_nothing_is_kept_of_a_deployment_that_is_gone(database, deployments, deployed):
    meter = ArmMeter(ArmStore(database))
    meter.observe(call(deployed))
    await meter.flush()
    gone = await decide(deployments, ChangeKind.DELETE, delete)
    await deployments.remove(gone)
    meter.observe(call(gone))
    await meter.flush()
    assert await ArmStore(database).load([deployed.etag, gone.etag]) == {}
    assert counts((await meter.figures([gone]))[0]) == {ONE: (0, 0), TWO: (0, 0)}
