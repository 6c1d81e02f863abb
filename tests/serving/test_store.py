import asyncio
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from attune.serving.v1 import deployment_pb2
from sqlalchemy import select

from services.common.clock import SystemClock, new_id
from services.common.errors import (
    AlreadyExists,
    Conflict,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from services.serving import store
from services.serving.deployments.deployment import (
    Arms,
    Canary,
    ChangeKind,
    Decision,
    create,
    delete,
    point_at,
    try_canary,
)
from services.serving.deployments.deployment_store import DeploymentStore
from services.serving.registry.parity import ParityReport
from services.serving.registry.version import judge, lineage_of
from services.serving.registry.version_store import VersionStore
from tests.serving.parts import a_job

HOLDS = ParityReport(24, 0, 0, 4.3e-6, 0.01)
FAILS = ParityReport(24, 1, 2, 0.5, 0.01)
NAME = "projects/default/deployments/tickets"
ONE, TWO = (f"projects/default/models/tickets/versions/{number}" for number in (1, 2))


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


def creation(alias="tickets", request_id=""):
    return deployment_pb2.CreateDeploymentRequest(
        parent="projects/default",
        deployment_id=alias,
        deployment={"model_version": ONE, "target": "shared"},
        request_id=request_id or str(uuid4()),
    )


def update():
    return deployment_pb2.UpdateDeploymentRequest(request_id=str(uuid4()))


def allow(deployment, others):
    """Refuse nothing."""


async def make(deployments, request, check=allow):
    now = SystemClock().now()
    name = f"projects/default/deployments/{request.deployment_id}"
    new = create(name, "shared", ONE, etag=new_id(now), now=now)
    return await deployments.create(request, new, Decision(), check)


async def point(deployments, version, *, alias="tickets", etag="", held=True, check=allow):
    name = f"projects/default/deployments/{alias}"
    return await deployments.decide(
        update(), name, etag, ChangeKind.SWITCH, Decision(),
        lambda one: point_at(one, version), check, held=held,
    )  # fmt: skip


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


@pytest.mark.parametrize("target", ["dedicated", "", "m" * 5000])
async def test_the_target_of_the_plan_is_kept_whatever_it_is(versions, target):
    job = a_job()
    job.serving.target = target
    staged = await versions.stage(lineage_of(job), None)
    assert (await versions.get(staged.name)).planned_target == target


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


async def test_staged_versions_are_listed_oldest_first(versions):
    first = await versions.stage(lineage_of(a_job()), None)
    second = await versions.stage(lineage_of(a_job(revision="r2")), None)
    await ready(versions)
    assert await versions.list_staged() == [first, second]


async def test_versions_are_found_by_their_names_and_by_their_adapters(versions):
    first, second = await ready(versions), await ready(versions, alias="mail")
    missing = "projects/default/models/mail/versions/9"
    assert await versions.list_named({second.name, missing}) == [second]
    assert await versions.list_named(set()) == []
    named = await versions.names_of_adapters({first.adapter_sha256})
    assert sorted(named[first.adapter_sha256]) == sorted([first.name, second.name])


async def test_a_version_that_is_served_merged_stays_so(versions):
    staged = await versions.stage(lineage_of(a_job()), None)
    merged = await versions.make_whole(staged, "c" * 64)
    assert await versions.get(staged.name) == merged
    assert (merged.is_adapter, merged.weights.model_id) == (False, "merged/" + "c" * 12)
    await versions.settle(judge(merged, HOLDS, SystemClock().now()))
    with pytest.raises(Conflict):
        await versions.make_whole(staged, "d" * 64)


async def test_an_adapter_that_was_merged_stays_an_adapter(versions):
    version = await ready(versions)
    await versions.note_merged(version, "c" * 64)
    found = await versions.get(version.name)
    assert (found.merged_sha256, found.is_adapter) == ("c" * 64, True)
    assert found.weights == version.weights


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


async def test_a_repeated_request_gets_the_first_answer(deployments):
    request = creation()
    assert await deployments.find_answer(request) is None
    first = await make(deployments, request)
    assert await make(deployments, request) == first
    assert await deployments.find_answer(request) == first
    with pytest.raises(InvalidArgument):
        await deployments.find_answer(creation("other", request.request_id))


async def test_an_alias_is_given_once(deployments):
    results = await asyncio.gather(
        *(make(deployments, creation()) for _ in range(2)), return_exceptions=True
    )
    failed = [result for result in results if isinstance(result, Exception)]
    assert len(failed) == 1
    assert isinstance(failed[0], AlreadyExists | Conflict)


async def test_a_deployment_is_confirmed_once_and_tells_so(database, deployments):
    await make(deployments, creation())
    pending = await deployments.get(NAME)
    await deployments.confirm(pending, "made-outside")
    with pytest.raises(Conflict):
        await deployments.confirm(pending)
    found = await deployments.get(NAME)
    assert (found.state, found.serving, found.external_name) == ("READY", Arms(ONE), "made-outside")
    assert (await events(database))[-1] == "attune.v1.default.deployment.tickets.ready"


async def test_a_confirmation_of_what_was_replaced_changes_nothing(deployments):
    await make(deployments, creation())
    pending = await deployments.get(NAME)
    await point(deployments, TWO, held=False)
    for late in (
        deployments.confirm(pending),
        deployments.tell(pending, "half-way"),
        deployments.fail(pending, "no room"),
    ):
        with pytest.raises(Conflict):
            await late
    assert (await deployments.get(NAME)).state == "PENDING"


async def test_a_switch_to_what_is_held_is_ready_at_once(database, deployments):
    before = await make(deployments, creation())
    after = await point(deployments, TWO, etag=before.etag)
    assert after.state == deployment_pb2.Deployment.STATE_READY
    assert (after.model_version, after.serving_model_version) == (TWO, TWO)
    assert after.previous_model_version == ONE
    assert after.etag != before.etag
    assert (await events(database))[-1].endswith(".ready")
    with pytest.raises(Conflict):
        await point(deployments, ONE, etag=before.etag)
    with pytest.raises(NotFound):
        await point(deployments, ONE, alias="nobody")


async def test_what_a_check_refuses_changes_nothing(deployments):
    def refuse(deployment, others):
        raise ResourceExhausted(f"{deployment.alias} beside {len(others)}", reason="NO_ROOM")

    with pytest.raises(ResourceExhausted, match="tickets beside 0"):
        await make(deployments, creation(), refuse)
    await make(deployments, creation())
    with pytest.raises(ResourceExhausted, match="tickets beside 0"):
        await point(deployments, TWO, check=refuse)
    assert (await deployments.get(NAME)).decided == Arms(ONE)
    assert len(await deployments.list_changes(NAME, "", 10)) == 1


async def test_a_failure_and_a_canary_come_back_as_they_were_written(database, deployments):
    await make(deployments, creation())
    await deployments.confirm(await deployments.get(NAME))
    canary = Canary(TWO, 12.5)
    request = update()
    await deployments.decide(
        request, NAME, "", ChangeKind.CANARY, Decision("ann", "try it"),
        lambda one: try_canary(one, canary), allow, held=False,
    )  # fmt: skip
    found = await deployments.get(NAME)
    assert (found.decided, found.serving) == (Arms(ONE, canary), Arms(ONE))
    await deployments.tell(found, "half-way")
    await deployments.fail(await deployments.get(NAME), "no room")
    failed = await deployments.get(NAME)
    assert (failed.state, failed.state_reason) == ("FAILED", "no room")
    assert (await events(database))[-1].endswith("tickets.failed")


async def test_what_was_decided_is_listed_newest_first_also_after_the_end(database, deployments):
    await make(deployments, creation())
    await point(deployments, TWO)
    await deployments.decide(
        update(), NAME, "", ChangeKind.DELETE, Decision("bob", "unused"), delete, allow, held=False
    )
    await deployments.remove(await deployments.get(NAME))
    with pytest.raises(NotFound):
        await deployments.get(NAME)
    changes = await deployments.list_changes(NAME, "", 10)
    assert [change.kind for _, change in changes] == ["DELETE", "SWITCH", "CREATE"]
    assert changes[0][1].decision == Decision("bob", "unused")
    assert [change.arms.model_version for _, change in changes] == ["", TWO, ONE]
    assert await deployments.list_changes(NAME, changes[0][0], 1) == [changes[1]]
    assert (await events(database))[-1].endswith("tickets.deleted")
    await make(deployments, creation())  # The alias is free again.


async def test_deployments_are_listed_by_alias(deployments):
    for alias in "cab":
        await make(deployments, creation(alias))
    page = await deployments.list_page("default", "a", 2)
    assert [deployment.alias for deployment in page] == ["b", "c"]
    assert len(await deployments.list_all()) == 3


async def test_a_deleted_version_is_kept_as_a_row_and_told_of_once(database, versions):
    staged = await versions.stage(lineage_of(a_job()), None)
    one = judge(staged, HOLDS, SystemClock().now())
    await versions.settle(one)
    gone = await versions.delete(staged, lambda deployments: None)  # Read before its proof.
    assert await versions.get(one.name) == gone
    assert (gone.state, gone.parity) == ("DELETED", one.parity)
    with pytest.raises(Conflict):
        await versions.delete(one, lambda deployments: None)
    assert [subject.rsplit(".", 1)[1] for subject in await events(database)] == [
        "registered", "ready", "deleted",
    ]  # fmt: skip
    assert (await versions.stage(lineage_of(a_job()), None)).name == TWO


async def test_a_decision_and_a_deletion_of_its_version_never_both_happen(
    database, database_url, versions
):
    """Whichever comes first; the other one, of another process, is refused and changes nothing."""
    another = store.new_database(database_url)
    deployments = DeploymentStore(another, SystemClock())

    for alias in ("a", "b", "c", "d"):
        one = await ready(versions, alias=alias)
        name = one.name

        def refuse(found, name=name):
            if any(name in other.needed_versions for other in found):
                raise ResourceExhausted("needed", reason="NEEDED")

        now = SystemClock().now()
        new = create(
            f"projects/default/deployments/{alias}", "shared", name, etag=new_id(now), now=now
        )
        outcomes = await asyncio.gather(
            deployments.create(creation(alias), new, Decision(), allow),
            versions.delete(one, refuse),
            return_exceptions=True,
        )
        made, deleted = (not isinstance(one, Exception) for one in outcomes)
        assert made != deleted
        assert ((await versions.get(name)).state == "DELETED") == deleted
        others = [found.name for found in await deployments.list_all()]
        assert (new.name in others) == made
    await another.close()
