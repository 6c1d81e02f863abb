"""The stores, on every database: revisions, approvals, idempotency, and what two do at once."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from attune.planner.v1 import dataset_pb2, planner_pb2
from attune.spec.v1 import spec_pb2
from sqlalchemy import func, select

from services.common.clock import new_id
from services.common.database import Database
from services.common.errors import Conflict, InvalidArgument, NotFound, ResourceExhausted
from services.common.names import last_part
from services.planner.conversation_store import (
    TURNS_BYTES_MAX,
    TURNS_MAX,
    ConversationStore,
)
from services.planner.dataset_store import DatasetStore
from services.planner.drafts import stamp
from services.planner.spec_store import SpecStore
from services.planner.store import METADATA, MIGRATIONS, OUTBOX, Store
from tests.planner.plans import a_spec

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
async def store(database_url: str):
    database = Database(database_url, MIGRATIONS)
    await database.migrate()
    yield Store(database)
    await database.close()


async def event_count(store: Store) -> int:
    async with store.database.read() as connection:
        return (await connection.execute(select(func.count()).select_from(OUTBOX))).scalar_one()


async def a_conversation(store: Store) -> str:
    name = f"projects/default/conversations/{new_id(NOW)}"
    request = planner_pb2.CreateConversationRequest(
        parent="projects/default", request_id=str(uuid4())
    )
    conversation = planner_pb2.Conversation(name=name)
    return (await ConversationStore(store).create(request, conversation, "{}", NOW)).name


def first_revision(conversation: str = "", moment: datetime = NOW) -> spec_pb2.Spec:
    spec = a_spec()
    spec.name = f"projects/default/specs/{new_id(moment)}"
    spec.conversation = conversation
    stamp(spec, None, moment)
    return spec


def next_revision(before: spec_pb2.Spec, rank: int) -> spec_pb2.Spec:
    spec = spec_pb2.Spec()
    spec.CopyFrom(before)
    spec.stages[0].hyperparameters.lora.rank = rank
    stamp(spec, before, NOW)
    return spec


async def say(store: Store, conversation: str, spec: spec_pb2.Spec | None = None) -> None:
    conversations = ConversationStore(store)
    request = planner_pb2.SendMessageRequest(
        conversation=conversation, message="x", request_id=str(uuid4())
    )
    row = await conversations.get(conversation)
    turn = planner_pb2.Turn(turn_index=row.turn_count, message="x", reply="y")
    await conversations.add_turn(request, row, '{"a": 1}', turn, spec, None, NOW)


async def a_stored_spec(store: Store, moment: datetime = NOW) -> spec_pb2.Spec:
    conversation = await a_conversation(store)
    spec = first_revision(conversation, moment)
    # An approval looks for the data that the plan names.
    for name in filter(None, (spec.data.dataset, spec.data.holdout_dataset)):
        data = dataset_pb2.Dataset(name=name, sha256=last_part(name))
        await DatasetStore(store).add(header(), data, moment)
    await say(store, conversation, spec)
    return spec


def update_request() -> planner_pb2.UpdateSpecRequest:
    return planner_pb2.UpdateSpecRequest(request_id=str(uuid4()))


def approve_request() -> planner_pb2.ApproveSpecRequest:
    return planner_pb2.ApproveSpecRequest(request_id=str(uuid4()))


def approved(spec: spec_pb2.Spec) -> spec_pb2.Spec:
    changed = spec_pb2.Spec()
    changed.CopyFrom(spec)
    changed.state = spec_pb2.Spec.STATE_APPROVED
    changed.etag = "approved"
    changed.approval.hash = spec.hash
    return changed


async def test_the_migrated_schema_is_the_one_that_the_stores_use(store):
    def compare(connection):
        return compare_metadata(MigrationContext.configure(connection), METADATA)

    async with store.database.read() as connection:
        differences = await connection.run_sync(compare)
    assert [each for each in differences if "alembic_version" not in str(each)] == []


async def test_migrating_twice_changes_nothing(store):
    await store.database.migrate()


async def test_a_conversation_comes_back_with_its_turns_in_order_and_aware_times(store):
    conversation = await a_conversation(store)
    for _ in range(3):
        await say(store, conversation)
    row, turns = await ConversationStore(store).get_with_turns(conversation)
    assert [turn.turn_index for turn in turns] == [0, 1, 2]
    assert (row.turn_count, row.version, row.brief) == (3, 4, '{"a": 1}')
    assert row.create_time == NOW
    assert row.create_time.utcoffset() == timedelta(0)


async def test_two_turns_at_once_are_not_both_kept(store):
    conversation = await a_conversation(store)
    answers = await asyncio.gather(
        *(say(store, conversation) for _ in range(2)), return_exceptions=True
    )
    row = await ConversationStore(store).get(conversation)
    kept = [each for each in answers if each is None]
    assert row.turn_count == len(kept) >= 1
    assert all(each is None or isinstance(each, Conflict) for each in answers)


async def test_a_full_conversation_takes_no_more_turns(store):
    conversations = ConversationStore(store)
    row = await conversations.get(await a_conversation(store))
    await conversations.check_room(row)
    full = replace(row, turn_count=TURNS_MAX)
    with pytest.raises(ResourceExhausted):
        await conversations.check_room(full)


async def test_a_conversation_of_many_bytes_takes_no_more_turns(store):
    conversations = ConversationStore(store)
    row = await conversations.get(await a_conversation(store))
    turn = planner_pb2.Turn(message="x" * TURNS_BYTES_MAX)
    request = planner_pb2.SendMessageRequest(conversation=row.name, request_id=str(uuid4()))
    await conversations.add_turn(request, row, "{}", turn, None, None, NOW)
    with pytest.raises(ResourceExhausted, match="Start another"):
        await conversations.check_room(await conversations.get(row.name))


async def test_every_revision_stays_readable_and_the_newest_is_the_default(store):
    specs, first = SpecStore(store), await a_stored_spec(store)
    second = next_revision(first, 32)
    await specs.revise(update_request(), first, second, "", NOW)
    assert await specs.get(first.name) == second
    assert await specs.get(first.name, 1) == first
    assert await specs.find_by_hash(first.name, first.hash) == first
    assert await specs.find_by_hash(first.name, "0" * 64) is None
    with pytest.raises(NotFound):
        await specs.get(first.name, 3)


async def test_an_edit_of_an_old_revision_is_refused(store):
    specs, first = SpecStore(store), await a_stored_spec(store)
    await specs.revise(update_request(), first, next_revision(first, 32), "", NOW)
    with pytest.raises(Conflict):
        await specs.revise(update_request(), first, next_revision(first, 64), "", NOW)
    assert (await specs.get(first.name)).revision == 2


async def test_of_many_edits_at_once_exactly_one_is_kept(store):
    specs, first = SpecStore(store), await a_stored_spec(store)
    edits = [
        specs.revise(update_request(), first, next_revision(first, rank), "", NOW)
        for rank in range(20, 30)
    ]
    answers = await asyncio.gather(*edits, return_exceptions=True)
    assert sum(isinstance(each, spec_pb2.Spec) for each in answers) == 1
    assert sum(isinstance(each, Conflict) for each in answers) == 9


async def test_an_approval_and_its_event_are_written_together_and_once(store):
    specs, spec = SpecStore(store), await a_stored_spec(store)
    request = approve_request()
    first = await specs.approve(request, spec, approved(spec), NOW)
    again = await specs.approve(request, spec, approved(spec), NOW)
    other = await specs.approve(approve_request(), first, first, NOW)
    assert first == again == other == await specs.get(spec.name)
    assert await event_count(store) == 1


async def test_of_many_approvals_at_once_exactly_one_makes_an_event(store):
    specs, spec = SpecStore(store), await a_stored_spec(store)
    approvals = [specs.approve(approve_request(), spec, approved(spec), NOW) for _ in range(8)]
    answers = await asyncio.gather(*approvals, return_exceptions=True)
    assert sum(isinstance(each, spec_pb2.Spec) for each in answers) == 1
    assert all(isinstance(each, spec_pb2.Spec | Conflict) for each in answers)
    assert await event_count(store) == 1


async def test_the_same_request_many_times_at_once_has_one_effect_and_one_answer(store):
    specs, spec = SpecStore(store), await a_stored_spec(store)
    request = approve_request()
    approvals = [specs.approve(request, spec, approved(spec), NOW) for _ in range(8)]
    answers = await asyncio.gather(*approvals)
    assert all(each == answers[0] for each in answers)
    assert await event_count(store) == 1


async def test_an_approval_of_what_was_edited_in_between_leaves_nothing(store):
    specs, spec = SpecStore(store), await a_stored_spec(store)
    await specs.revise(update_request(), spec, next_revision(spec, 32), "", NOW)
    with pytest.raises(Conflict):
        await specs.approve(approve_request(), spec, approved(spec), NOW)
    assert await event_count(store) == 0


async def test_a_request_id_used_for_something_else_is_refused(store):
    specs, spec = SpecStore(store), await a_stored_spec(store)
    request = approve_request()
    await specs.approve(request, spec, approved(spec), NOW)
    request.hash = "0" * 64
    with pytest.raises(InvalidArgument):
        await store.find_answer(request, spec_pb2.Spec)


async def test_specs_are_listed_newest_first_by_project_and_state_in_pages(store):
    specs = SpecStore(store)
    made = [await a_stored_spec(store, NOW + timedelta(seconds=n)) for n in range(4)]
    await specs.approve(approve_request(), made[1], approved(made[1]), NOW)
    names = [spec.name for spec in reversed(made)]
    first = await specs.list_newest("default", 0, "", 3)
    rest = await specs.list_newest("default", 0, first[-1].name.rsplit("/", 1)[1], 3)
    assert [spec.name for spec in [*first, *rest]] == names
    assert [spec.name for spec in await specs.list_newest("-", 0, "", 9)] == names
    assert await specs.list_newest("other", 0, "", 9) == []
    found = await specs.list_newest("-", spec_pb2.Spec.STATE_APPROVED, "", 9)
    assert [spec.name for spec in found] == [made[1].name]


async def test_revisions_are_listed_newest_first_in_pages_with_what_was_known_then(store):
    specs, first = SpecStore(store), await a_stored_spec(store)
    second = next_revision(first, 32)
    await specs.revise(update_request(), first, second, '{"b": 2}', NOW)
    listed = await specs.list_revisions(first.name, 0, 9)
    assert [spec.revision for spec in listed] == [2, 1]
    assert await specs.list_revisions(first.name, 2, 9) == [first]
    assert await specs.list_revisions(first.name, 0, 1) == [second]
    assert await specs.brief(first.name, 1) == '{"a": 1}'
    assert await specs.brief(first.name, 2) == '{"b": 2}'
    assert await specs.brief(first.name, 3) == ""


async def test_going_back_takes_the_conversation_back_and_an_edit_does_not(store):
    specs, first = SpecStore(store), await a_stored_spec(store)
    second, third = next_revision(first, 32), spec_pb2.Spec()
    await specs.revise(update_request(), first, second, '{"b": 2}', NOW)
    row = await ConversationStore(store).get(first.conversation)
    assert row.brief == '{"a": 1}'
    third.CopyFrom(first)
    stamp(third, second, NOW)
    request = planner_pb2.RestoreSpecRequest(request_id=str(uuid4()))
    await specs.revise(request, second, third, '{"c": 3}', NOW)
    after = await ConversationStore(store).get(first.conversation)
    assert (after.brief, after.version) == ('{"c": 3}', row.version + 1)


async def test_a_withdrawn_spec_leaves_the_conversation_and_stays_readable(store):
    spec = await a_stored_spec(store)
    conversations, request = ConversationStore(store), planner_pb2.SendMessageRequest()
    request.request_id = str(uuid4())
    row = await conversations.get(spec.conversation)
    turn = planner_pb2.Turn(turn_index=row.turn_count)
    await conversations.add_turn(request, row, "{}", turn, None, spec, NOW, withdrawn=True)
    assert (await conversations.get(spec.conversation)).spec == ""
    assert await SpecStore(store).get(spec.name) == spec


async def test_conversations_are_listed_newest_first_by_project_in_pages(store):
    names = [await a_conversation(store) for _ in range(3)]
    conversations = ConversationStore(store)
    first = await conversations.list_newest("default", "", 2)
    rest = await conversations.list_newest("default", first[-1].name, 2)
    assert [row.name for row in [*first, *rest]] == sorted(names, reverse=True)
    assert await conversations.list_newest("defaul", "", 9) == []


def a_dataset(sha256: str, holdout: str = "", moment: datetime = NOW) -> dataset_pb2.Dataset:
    name = f"projects/default/datasets/{new_id(moment)}"
    return dataset_pb2.Dataset(name=name, sha256=sha256, holdout_dataset=holdout)


def header() -> dataset_pb2.UploadHeader:
    return dataset_pb2.UploadHeader(parent="projects/default", request_id=str(uuid4()))


async def test_the_same_content_is_one_dataset_unless_it_names_another_hold_out(store):
    datasets = DatasetStore(store)
    first = await datasets.add(header(), a_dataset("aa"), NOW)
    same = await datasets.add(header(), a_dataset("aa"), NOW)
    other = await datasets.add(header(), a_dataset("aa", "projects/default/datasets/b"), NOW)
    assert first == same != other
    assert await datasets.get(other.name) == other


async def test_the_same_content_uploaded_many_times_at_once_is_one_dataset(store):
    datasets = DatasetStore(store)
    added = await asyncio.gather(*(datasets.add(header(), a_dataset("aa"), NOW) for _ in range(8)))
    assert all(each == added[0] for each in added)
    assert len(await datasets.list_newest("default", "", 99)) == 1


async def test_datasets_are_listed_newest_first_in_pages(store):
    datasets = DatasetStore(store)
    for n in range(3):
        await datasets.add(header(), a_dataset(f"{n}", moment=NOW + timedelta(seconds=n)), NOW)
    first = await datasets.list_newest("default", "", 2)
    rest = await datasets.list_newest("default", first[-1].name.rsplit("/", 1)[1], 2)
    assert [each.sha256 for each in [*first, *rest]] == ["2", "1", "0"]


async def test_what_is_not_there_is_not_found(store):
    with pytest.raises(NotFound):
        await SpecStore(store).get("projects/default/specs/a")
    with pytest.raises(NotFound):
        await DatasetStore(store).get("projects/default/datasets/a")
    with pytest.raises(NotFound):
        await ConversationStore(store).get("projects/default/conversations/a")


def test_only_files_named_store_import_sqlalchemy():
    folder = Path(MIGRATIONS).parent
    texts = {path.name: path.read_text() for path in folder.glob("*.py")}
    importing = [name for name, text in texts.items() if "sqlalchemy import" in text]
    assert importing
    assert all("store" in name for name in importing), importing
