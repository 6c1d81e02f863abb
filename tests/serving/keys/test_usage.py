"""Keys and usage in their tables, on both databases."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from attune.serving.v1 import key_pb2

from services.common.clock import SystemClock
from services.common.errors import InvalidArgument, NotFound, ResourceExhausted
from services.serving import store
from services.serving.deployments.route import Route
from services.serving.endpoint.call import Call
from services.serving.engines.weights import Weights
from services.serving.keys import key_store, meter
from services.serving.keys.key_store import KeyStore
from services.serving.keys.keyring import Keyring
from services.serving.keys.keys import Keys
from services.serving.keys.limits import Limits
from services.serving.keys.meter import Meter
from services.serving.keys.usage import KEPT, Counts, UsageKey, hour_of, span_of
from services.serving.keys.usage_store import UsageStore
from tests.serving.parts import WAIT_S

NOW = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
VERSION = "projects/default/models/tickets/versions/1"


class Parts:
    def __init__(self, database):
        clock = SystemClock()
        self.database = database
        self.store, self.usage = KeyStore(database, clock), UsageStore(database)
        self.keyring = Keyring(clock, Limits())
        self.keys = Keys(self.store, self.keyring, clock)
        self.meter = Meter(self.usage, self.store, self.keyring, clock)

    async def create(self, request_id="", **fields):
        request = key_pb2.CreateApiKeyRequest(
            parent="projects/default",
            api_key={"title": "App"},
            request_id=request_id or str(uuid4()),
        )
        arguments = {"models": [], "limits": Limits(), "expire_time": None, **fields}
        return await self.keys.create(request, "default", **arguments)

    async def sums(self):
        now = SystemClock().now()
        start, end = span_of(None, None, now)
        return await self.usage.list_sums("default", start, end, 10)


@pytest.fixture
async def parts(database_url):
    database = store.new_database(database_url)
    await database.migrate()
    yield Parts(database)
    await database.close()


def a_call(status=200, prompt=3, answer=5, version=VERSION):
    call = Call("r1", "/v1/chat/completions", project="default", model="tickets", status=status)
    call.route = Route(Weights("attune/starter", "r1"), version)
    call.prompt_token_count, call.answer_token_count = prompt, answer
    return call


async def test_a_secret_is_told_once_and_only_its_hash_is_kept(parts):
    request_id = str(uuid4())
    made, secret = await parts.create(request_id, models=["b", "a", "b"], limits=Limits(5, None, 2))
    assert secret.startswith(made.secret_prefix)
    again, nothing = await parts.create(request_id)
    assert (again, nothing) == (made, "")
    assert made.models == ["b", "a"]
    assert made.limits.requests_per_minute == 5
    assert not made.limits.HasField("tokens_per_minute")
    async with parts.database.read() as connection:
        for table in store.metadata.sorted_tables:
            for row in (await connection.execute(table.select())).all():
                assert secret not in str(row)
                assert secret.encode() not in b"".join(v for v in row if isinstance(v, bytes))


async def test_a_revoked_key_ends_at_once_and_stays_ended_after_a_restart(parts):
    made, secret = await parts.create()
    kept, _ = await parts.create()
    assert parts.keyring.find(f"Bearer {secret}", is_local=False).key.name == made.name
    request = key_pb2.RevokeApiKeyRequest(name=made.name, request_id=str(uuid4()))
    revoked = await parts.keys.revoke(request)
    assert revoked.HasField("revoke_time")
    assert await parts.keys.revoke(request) == revoked
    once_more = key_pb2.RevokeApiKeyRequest(name=made.name, request_id=str(uuid4()))
    assert await parts.keys.revoke(once_more) == revoked
    restarted = Parts(parts.database)
    await restarted.keys.load()
    for keyring in (parts.keyring, restarted.keyring):
        with pytest.raises(Exception, match="Incorrect API key"):
            keyring.find(f"Bearer {secret}", is_local=True)
    listed = await parts.keys.list_page("default", "", 10)
    assert [(one.name, one.revoke_time is None) for one in listed] == [
        (kept.name, True),
        (made.name, False),
    ]


async def test_a_key_ends_also_when_its_revoker_goes_away_in_the_middle(parts, monkeypatch):
    made, secret = await parts.create()
    end = KeyStore.revoke

    async def leave(store, *request):
        answer = await end(store, *request)
        revoking.cancel()  # Kept, and not taken out of the keyring yet.
        await asyncio.sleep(0)
        return answer

    monkeypatch.setattr(KeyStore, "revoke", leave)
    request = key_pb2.RevokeApiKeyRequest(name=made.name, request_id=str(uuid4()))
    revoking = asyncio.create_task(parts.keys.revoke(request))
    with pytest.raises(asyncio.CancelledError):
        await revoking
    with pytest.raises(Exception, match="Incorrect API key"):
        parts.keyring.find(f"Bearer {secret}", is_local=True)


async def test_an_unknown_key_cannot_be_revoked(parts):
    for name in ("projects/default/apiKeys/a1", "projects/other/apiKeys/a1"):
        with pytest.raises(NotFound):
            await parts.keys.revoke(key_pb2.RevokeApiKeyRequest(name=name, request_id=str(uuid4())))


async def test_a_project_has_so_many_living_keys_and_no_more(parts, monkeypatch):
    monkeypatch.setattr(key_store, "LIVING_MAX", 1)
    made, _ = await parts.create()
    with pytest.raises(ResourceExhausted):
        await parts.create()
    await parts.keys.revoke(key_pb2.RevokeApiKeyRequest(name=made.name, request_id=str(uuid4())))
    await parts.create()


async def test_use_is_added_up_by_key_model_and_version_and_the_largest_comes_first(parts):
    for call in (a_call(), a_call(503, 0, 0), a_call(499), a_call(version="")):
        parts.meter.observe(call)
    parts.meter.observe(Call("r2", "/", project="default", status=404))
    await parts.meter.flush()
    parts.meter.observe(a_call())
    await parts.meter.flush()
    assert await parts.sums() == [
        ("", "tickets", VERSION, Counts(4, 1, 9, 15)),
        ("", "tickets", "", Counts(1, 0, 3, 5)),
    ]


async def test_the_last_use_of_a_key_is_written_with_the_usage(parts):
    made, secret = await parts.create()
    parts.keyring.find(f"Bearer {secret}", is_local=False)
    await parts.meter.flush()
    (found,) = await parts.keys.list_page("default", "", 10)
    assert found.name == made.name
    assert found.last_use_time.second == 0


async def test_what_cannot_be_written_is_kept_and_written_later(parts, monkeypatch):
    async def fail(used):
        parts.meter.observe(a_call())  # One that ends while the database does not answer.
        raise OSError("no database")

    parts.meter.observe(a_call())
    with monkeypatch.context() as broken:
        broken.setattr(parts.usage, "add", fail)
        with pytest.raises(OSError, match="no database"):
            await parts.meter.flush()
    await parts.meter.flush()
    assert await parts.sums() == [("", "tickets", VERSION, Counts(2, 0, 6, 10))]


async def test_the_buffer_is_bounded_and_a_loss_is_said(parts, monkeypatch, caplog):
    monkeypatch.setattr(meter, "BUFFERED_MAX", 1)
    parts.meter.observe(a_call())
    parts.meter.observe(a_call(version=""))
    parts.meter.observe(a_call())
    await parts.meter.flush()
    assert "the use of 1 requests is lost" in caplog.text
    assert await parts.sums() == [("", "tickets", VERSION, Counts(2, 0, 6, 10))]


async def test_the_loop_writes_by_itself_and_forgets_what_is_old(parts):
    old = hour_of(SystemClock().now() - KEPT - timedelta(hours=2))
    await parts.usage.add({UsageKey("default", old, "", "tickets", ""): Counts(1)})
    parts.meter.observe(a_call())
    written = asyncio.Event()
    parts.database.on_commit(written.set)
    loop = asyncio.create_task(parts.meter.run())
    async with asyncio.timeout(WAIT_S):
        while True:
            written.clear()  # Before looking: what is written after the look must wake.
            if await parts.sums():
                break
            await written.wait()
    loop.cancel()
    assert await parts.usage.list_sums("default", old, old + timedelta(hours=1), 10) == []


def test_a_time_is_rounded_to_whole_hours_and_a_day_when_nothing_is_said():
    hour = NOW.replace(minute=0)
    assert span_of(None, None, NOW) == (hour - timedelta(days=1), hour + timedelta(hours=1))
    assert span_of(hour, hour + timedelta(hours=2), NOW) == (hour, hour + timedelta(hours=2))
    with pytest.raises(InvalidArgument, match="is not before"):
        span_of(NOW, NOW, NOW)
