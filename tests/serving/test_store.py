import asyncio
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from attune.serving.v1 import deployment_pb2
from sqlalchemy import select

from services.common.clock import SystemClock
from services.common.errors import (
    AlreadyExists,
    Conflict,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from services.serving import store
from services.serving.deployment_store import DeploymentStore
from services.serving.parity import ParityReport
from services.serving.residency import DEPLOYED_MAX
from services.serving.version import judge, lineage_of
from services.serving.version_store import VersionStore
from tests.serving.parts import BASE, REVISION, a_job

HOLDS = ParityReport(24, 0, 0, 4.3e-6, 0.01)
FAILS = ParityReport(24, 1, 2, 0.5, 0.01)


@pytest.fixture
async def database(database_url):
    opened = store.new_database(database_url)
    await opened.migrate()
    yield opened
    await opened.close()


@pytest.fixture
def versions(database):
    return VersionStore(database, SystemClock())


@pytest.fixture
def deployments(database):
    return DeploymentStore(database, SystemClock())


async def ready(versions, **fields):
    staged = await versions.stage(lineage_of(a_job(**fields)), None)
    await versions.settle(judge(staged, HOLDS, SystemClock().now()))
    return await versions.get(staged.name)


async def events(database):
    query = select(store.outbox.c.subject).order_by(store.outbox.c.sequence)
    async with database.read() as connection:
        return list((await connection.execute(query)).scalars())


def creation(version, alias="tickets", request_id=""):
    return deployment_pb2.CreateDeploymentRequest(
        parent="projects/default",
        deployment_id=alias,
        deployment={"model_version": version.name, "target": "shared"},
        request_id=request_id or str(uuid4()),
    )


def update(version, alias="tickets", etag=""):
    name = f"projects/default/deployments/{alias}"
    return deployment_pb2.UpdateDeploymentRequest(
        deployment={"name": name, "model_version": version.name, "etag": etag},
        update_mask={"paths": ["model_version"]},
        request_id=str(uuid4()),
    )


async def test_the_migrations_make_the_schema_of_the_store(database):
    def differences(connection):
        return compare_metadata(MigrationContext.configure(connection), store.metadata)

    async with database.read() as connection:
        assert await connection.run_sync(differences) == []


async def test_versions_are_counted_per_model(versions):
    names = [
        (await versions.stage(lineage_of(a_job(alias=alias)), None)).name
        for alias in ("tickets", "mail", "tickets")
    ]
    assert [name.split("/", 3)[3] for name in names] == [
        "tickets/versions/1",
        "mail/versions/1",
        "tickets/versions/2",
    ]


async def test_a_job_has_one_version_whatever_tells_of_it(database, versions):
    lineage = lineage_of(a_job())
    assert await versions.stage(lineage, "event-1") is not None
    assert await versions.stage(lineage, "event-1") is None
    assert await versions.stage(lineage, "event-2") is None
    assert await versions.stage(lineage, None) is None
    assert await events(database) == ["attune.v1.default.model.1.registered"]
    assert await versions.list_known_jobs([lineage.job.name, "other"]) == {lineage.job.name}


async def test_a_version_comes_back_as_it_was_written(versions):
    staged = await versions.stage(lineage_of(a_job()), None)
    assert await versions.get(staged.name) == staged
    settled = judge(staged, FAILS, SystemClock().now())
    await versions.settle(settled)
    assert await versions.get(staged.name) == settled


async def test_only_one_of_two_proofs_counts(database, versions):
    staged = await versions.stage(lineage_of(a_job()), None)
    outcomes = [judge(staged, report, SystemClock().now()) for report in (HOLDS, FAILS)]
    results = await asyncio.gather(
        *(versions.settle(outcome) for outcome in outcomes), return_exceptions=True
    )
    assert sorted(type(result) for result in results if result) == [Conflict]
    assert len(await events(database)) == 2


async def test_staged_versions_of_the_engines_base_are_listed_oldest_first(versions):
    first = await versions.stage(lineage_of(a_job()), None)
    await versions.stage(lineage_of(a_job(revision="r2")), None)
    await ready(versions)
    assert await versions.list_staged(BASE, REVISION) == [first]


async def test_versions_are_listed_newest_first_page_by_page(versions):
    made = [await versions.stage(lineage_of(a_job(alias=a)), None) for a in ("x", "y", "x")]
    everything = await versions.list_page("default", "-", "", "", 10)
    assert {version.id for version in everything} == {version.id for version in made}
    assert everything == sorted(everything, key=lambda version: version.id, reverse=True)
    rest = await versions.list_page("default", "-", "", everything[0].id, 10)
    assert rest == everything[1:]
    assert len(await versions.list_page("default", "x", "", "", 10)) == 2
    assert await versions.list_page("default", "-", made[1].job, "", 10) == [made[1]]
    assert await versions.list_page("other", "-", "", "", 10) == []


async def test_what_is_not_there_is_not_found(versions, deployments):
    with pytest.raises(NotFound):
        await versions.get("projects/default/models/tickets/versions/1")
    with pytest.raises(NotFound):
        await deployments.get("projects/default/deployments/tickets")
    with pytest.raises(InvalidArgument):
        await versions.get("projects/default/models/tickets/versions/0")


async def test_a_repeated_request_gets_the_first_answer(versions, deployments):
    version = await ready(versions)
    request = creation(version)
    assert await deployments.find_answer(request) is None
    first = await deployments.create(request, "default", version)
    assert await deployments.create(request, "default", version) == first
    assert await deployments.find_answer(request) == first
    with pytest.raises(InvalidArgument):
        await deployments.find_answer(creation(version, "other", request.request_id))


async def test_an_alias_is_given_once(versions, deployments):
    version = await ready(versions)
    results = await asyncio.gather(
        *(deployments.create(creation(version), "default", version) for _ in range(2)),
        return_exceptions=True,
    )
    failed = [result for result in results if isinstance(result, Exception)]
    assert len(failed) == 1
    assert isinstance(failed[0], AlreadyExists | Conflict)


async def test_a_deployment_is_confirmed_once_and_tells_so(database, versions, deployments):
    version = await ready(versions)
    await deployments.create(creation(version), "default", version)
    pending = await deployments.get("projects/default/deployments/tickets")
    await deployments.confirm(pending)
    with pytest.raises(Conflict):
        await deployments.confirm(pending)
    assert (await deployments.get(pending.name)).state == "READY"
    assert (await events(database))[-1] == "attune.v1.default.deployment.tickets.ready"


async def test_a_confirmation_of_what_was_replaced_changes_nothing(versions, deployments):
    first, second = await ready(versions), await ready(versions)
    await deployments.create(creation(first), "default", first)
    pending = await deployments.get("projects/default/deployments/tickets")
    await deployments.switch(update(second), second, held=False)
    with pytest.raises(Conflict):
        await deployments.confirm(pending)
    assert (await deployments.get(pending.name)).state == "PENDING"


async def test_a_switch_to_what_is_held_is_ready_at_once(database, versions, deployments):
    first, second = await ready(versions), await ready(versions)
    before = await deployments.create(creation(first), "default", first)
    after = await deployments.switch(update(second, etag=before.etag), second, held=True)
    assert (after.model_version, after.state) == (
        second.name,
        deployment_pb2.Deployment.STATE_READY,
    )
    assert after.etag != before.etag
    assert (await events(database))[-1].endswith(".ready")
    with pytest.raises(Conflict):
        await deployments.switch(update(first, etag=before.etag), first, held=True)
    with pytest.raises(NotFound):
        await deployments.switch(update(first, "nobody"), first, held=True)


async def test_more_adapters_than_places_are_not_deployed(versions, deployments):
    made = [await ready(versions, adapter_sha256=f"{n}" * 64) for n in range(DEPLOYED_MAX + 1)]
    for number, version in enumerate(made[:-1]):
        await deployments.create(creation(version, f"a{number}"), "default", version)
    with pytest.raises(ResourceExhausted):
        await deployments.create(creation(made[-1], "last"), "default", made[-1])
    with pytest.raises(AlreadyExists):
        await deployments.create(creation(made[-1], "a0"), "default", made[-1])
    # The same adapter under another alias, and another one in place of it, take no more room.
    await deployments.create(creation(made[0], "same"), "default", made[0])
    await deployments.switch(update(made[-1], "a1"), made[-1], held=True)
    assert len(await deployments.list_all()) == DEPLOYED_MAX + 1
    page = await deployments.list_page("default", "a0", 2)
    assert [deployment.alias for deployment in page] == ["a1", "a2"]
