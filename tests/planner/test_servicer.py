"""The planner through real gRPC, from an upload to an event."""

import json
from uuid import uuid4

import pytest
from attune.events.v1 import events_pb2
from attune.planner.v1 import planner_pb2
from attune.spec.v1 import spec_pb2
from google.protobuf.json_format import ParseDict
from sqlalchemy import select

from services.common import peers as clients
from services.planner.spec.path import write
from services.planner.store import OUTBOX
from tests.planner.planner_service import PARENT, SENTENCE, Planner, refusal, running_planner


async def events(service: Planner) -> list[events_pb2.SpecApproved]:
    async with service.database.read() as connection:
        payloads = (await connection.execute(select(OUTBOX.c.payload))).scalars().all()
    return [ParseDict(json.loads(each)["data"], events_pb2.SpecApproved()) for each in payloads]


async def test_a_sentence_leads_to_one_question_a_plan_and_an_event(service):
    dataset, conversation = await service.two_datasets(), await service.conversation()
    asked = await service.say(conversation, SENTENCE, dataset)
    assert asked.question.field_path == "objective.success_criteria.0.target"
    assert asked.spec == ""
    proposed = await service.say(conversation, "85 percent would be fine")
    assert not proposed.HasField("question")
    assert proposed.spec_revision == 1
    spec = await service.spec(proposed.spec)
    assert spec.objective.success_criteria[0].target == 0.85
    assert spec.serving.alias == "support-tickets"
    assert spec.base_model.parameter_count > 0
    assert spec.compute.stages[0].profile == "cpu"
    assert spec.state == spec_pb2.Spec.STATE_DRAFT
    approved = await service.approve(spec)
    assert approved.state == spec_pb2.Spec.STATE_APPROVED
    (event,) = await events(service)
    assert event.spec == approved
    read = await clients.call(
        service.planner.GetConversation, planner_pb2.GetConversationRequest(name=conversation)
    )
    assert [turn.message for turn in read.turns] == [SENTENCE, "85 percent would be fine"]
    assert read.spec == spec.name


async def test_a_refinement_makes_a_revision_and_tells_the_difference(service):
    dataset, conversation = await service.two_datasets(), await service.conversation()
    await service.say(conversation, SENTENCE, dataset)
    await service.say(conversation, "85 %")
    turn = await service.say(conversation, "rank 8 and learning rate 1e-3")
    assert turn.spec_revision == 2
    tuned = "stages.0.hyperparameters."
    changes = {change.field_path: (change.before, change.after) for change in turn.changes}
    assert changes == {
        f"{tuned}lora.rank": ("16", "8"),
        f"{tuned}learning_rate": ("0.0003", "0.001"),
    }
    assert all("rank 8 and learning rate 1e-3" in change.reason for change in turn.changes)
    assert "16 \u2192 8" in turn.reply
    assert "rank_alpha_scale" in {notice.code for notice in turn.notices}
    first, second = await service.spec(turn.spec, 1), await service.spec(turn.spec)
    assert first.hash != second.hash
    assert (first.create_time, second.conversation) == (second.create_time, conversation)


async def test_a_remark_that_decides_nothing_makes_no_revision(service):
    dataset, conversation = await service.two_datasets(), await service.conversation()
    await service.say(conversation, SENTENCE + " At least 85 % right.", dataset)
    for remark in ("hm", "yes", "no", "rank 16", "put it on an H100", "rank 5000"):
        turn = await service.say(conversation, remark)
        assert (turn.spec, turn.spec_revision) == ("", 0), remark
        assert turn.reply


async def test_an_edit_survives_the_next_refinement_in_the_conversation(service):
    spec = await service.proposed()
    spec.stages[0].hyperparameters.lora.rank = 32
    spec = await service.update(spec, "stages.0.hyperparameters.lora.rank")
    turn = await service.say(spec.conversation, "target 90 %")
    newest = await service.spec(turn.spec)
    assert newest.revision == 3
    assert newest.stages[0].hyperparameters.lora.rank == 32


async def test_a_repeated_message_streams_the_first_answer(service):
    dataset, conversation = await service.two_datasets(), await service.conversation()
    request_id = str(uuid4())
    first = await service.say(conversation, SENTENCE, dataset, request_id=request_id)
    again = await service.say(conversation, SENTENCE, dataset, request_id=request_id)
    assert first == again
    request = planner_pb2.GetConversationRequest(name=conversation)
    read = await clients.call(service.planner.GetConversation, request)
    assert len(read.turns) == 1


async def test_a_repeated_create_returns_the_first_conversation(service):
    request = planner_pb2.CreateConversationRequest(parent=PARENT, request_id=str(uuid4()))
    answers = [await clients.call(service.planner.CreateConversation, request) for _ in range(2)]
    assert answers[0] == answers[1]


async def test_without_the_scheduler_nothing_is_kept_and_the_same_message_works_later(service):
    dataset, conversation = await service.two_datasets(), await service.conversation()
    await service.say(conversation, SENTENCE, dataset)
    service.peers.scheduler.is_away = True
    request_id = str(uuid4())
    away = await refusal(service.say(conversation, "85 %", request_id=request_id))
    assert (away.code, away.reason) == ("UNAVAILABLE", "SCHEDULER_AWAY")
    request = planner_pb2.GetConversationRequest(name=conversation)
    assert len((await clients.call(service.planner.GetConversation, request)).turns) == 1
    service.peers.scheduler.is_away = False
    assert (await service.say(conversation, "85 %", request_id=request_id)).spec


async def test_the_scheduler_is_told_the_shape_of_the_data(service):
    await service.proposed()
    shape = service.peers.scheduler.requests[-1].data_shape
    assert shape.max_token_count > 10
    assert shape.total_token_count > 1000


async def test_a_stale_hash_is_refused_with_what_changed(service):
    first = await service.proposed()
    await service.say(first.conversation, "rank 8")
    stale = await refusal(service.approve(first))
    newest = await service.spec(first.name)
    assert (stale.code, stale.reason) == ("ABORTED", "STALE_HASH")
    assert stale.metadata["hash"] == newest.hash
    assert stale.metadata["revision"] == "2"
    assert "stages.0.hyperparameters.lora.rank: 16 \u2192 8" in stale.message
    unknown = await refusal(service.approve(first, "0" * 64))
    assert unknown.reason == "STALE_HASH"
    assert await events(service) == []


async def test_approving_twice_makes_one_event(service):
    spec = await service.proposed()
    request_id = str(uuid4())
    first = await service.approve(spec, request_id=request_id)
    assert await service.approve(spec, request_id=request_id) == first
    assert await service.approve(spec) == first
    assert len(await events(service)) == 1
    assert first.approval.hash == spec.hash
    assert first.approval.canonical_spec.startswith(b"attune.spec.v1{")


async def test_what_no_node_can_run_is_not_approved_and_says_what_is_missing(service):
    spec = await service.proposed()
    service.peers.scheduler.missing = ["No node has org/big. Bring it there."]
    refused = await refusal(service.approve(spec))
    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "NO_NODE_CAN_RUN")
    assert "Bring it there" in refused.metadata["missing"]
    assert (await service.spec(spec.name)).state == spec_pb2.Spec.STATE_DRAFT
    assert await events(service) == []


async def test_graders_that_ask_a_judge_are_not_approved_until_the_trainer_has_one(service):
    spec = await service.proposed()
    judge = spec.evaluation.graders.add(name="taste")
    judge.win_rate.model, judge.win_rate.criteria = "judge", "The shorter answer."
    service.peers.graders.has_judge = False
    edited = await service.update(spec, "evaluation.graders")
    where = f"evaluation.graders.{len(spec.evaluation.graders) - 1}"
    (notice,) = [each for each in edited.notices if each.code == "no_judge"]
    assert notice.field_path == where
    assert notice.severity == spec_pb2.Notice.SEVERITY_BLOCKING
    assert "ATTUNE_JUDGE_BASE_URL" in notice.message
    refused = await refusal(service.approve(edited))
    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "NO_JUDGE")
    assert where in refused.message
    assert "ATTUNE_JUDGE_BASE_URL" in refused.message
    service.peers.graders.has_judge = True
    assert (await service.approve(edited)).state == spec_pb2.Spec.STATE_APPROVED


async def test_a_trainer_that_cannot_say_whether_it_has_a_judge_stops_no_approval(service):
    spec = await service.proposed()
    judge = spec.evaluation.graders.add(name="taste")
    judge.win_rate.model, judge.win_rate.criteria = "judge", "The shorter answer."
    edited = await service.update(spec, "evaluation.graders")
    service.peers.graders.is_away = True
    assert (await service.approve(edited)).state == spec_pb2.Spec.STATE_APPROVED


async def test_without_the_scheduler_nothing_is_approved(service):
    spec = await service.proposed()
    service.peers.scheduler.is_away = True
    assert (await refusal(service.approve(spec))).code == "UNAVAILABLE"
    assert (await service.spec(spec.name)).state == spec_pb2.Spec.STATE_DRAFT


async def test_an_edit_ends_the_approval_and_a_new_one_makes_a_new_event(service):
    approved = await service.approve(await service.proposed())
    approved.stages[0].hyperparameters.lora.rank = 8
    edited = await service.update(approved, "stages.0.hyperparameters.lora.rank")
    assert (edited.revision, edited.state) == (2, spec_pb2.Spec.STATE_DRAFT)
    assert not edited.HasField("approval")
    assert (await service.spec(edited.name, 1)).state == spec_pb2.Spec.STATE_APPROVED
    await service.approve(edited)
    assert [event.spec.revision for event in await events(service)] == [1, 2]


async def test_an_edit_fills_in_what_follows_from_it(service):
    spec = await service.proposed()
    spec.base_model.id = "Qwen/Qwen3-4B"
    spec.data.holdout_dataset = ""
    spec.data.holdout_fraction = 0.25
    edited = await service.update(
        spec, "base_model.id", "data.holdout_dataset", "data.holdout_fraction"
    )
    assert (edited.base_model.context_length, edited.base_model.revision) == (40960, "")
    assert (edited.data.train_row_count, edited.data.holdout_row_count) == (90, 30)
    assert edited.data.holdout_sha256 == ""
    assert edited.data.split_method == spec_pb2.Data.SPLIT_METHOD_RANDOM


async def test_a_repeated_edit_returns_the_first_answer_although_the_etag_is_old(service):
    spec = await service.proposed()
    spec.serving.alias = "router"
    request_id = str(uuid4())
    first = await service.update(spec, "serving.alias", request_id=request_id)
    assert await service.update(spec, "serving.alias", request_id=request_id) == first
    assert (await service.spec(spec.name)).revision == 2


async def test_a_stale_etag_is_refused(service):
    spec = await service.proposed()
    await service.say(spec.conversation, "rank 8")
    refused = await refusal(service.update(spec, "serving.alias"))
    assert (refused.code, refused.reason) == ("ABORTED", "STALE_ETAG")


async def test_every_broken_rule_of_an_edit_is_named(service):
    spec = await service.proposed()
    spec.stages[0].hyperparameters.learning_rate = 7
    spec.stages[0].hyperparameters.lora.rank = 5000
    paths = ["stages.0.hyperparameters.learning_rate", "stages.0.hyperparameters.lora.rank"]
    refused = await refusal(service.update(spec, *paths))
    assert [each.field for each in refused.violations] == paths
    assert (await service.spec(spec.name)).revision == 1


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        ("base_model.id", "org/unknown", "UNKNOWN_MODEL"),
        ("data.dataset", f"{PARENT}/datasets/unknown", "UNKNOWN_DATASET"),
        ("data.holdout_dataset", f"{PARENT}/datasets/unknown", "UNKNOWN_DATASET"),
        ("serving.target", "mars", "UNKNOWN_TARGET"),
        ("hash", "0" * 64, "OUTPUT_ONLY"),
    ],
)
async def test_an_edit_to_something_that_does_not_exist_is_refused(service, path, value, rule):
    spec = await service.proposed()
    write(spec, path, value)
    refused = await refusal(service.update(spec, path))
    assert (refused.code, refused.violations[0].rule) == ("INVALID_ARGUMENT", rule)


async def test_lists_come_in_pages_and_refuse_a_foreign_token(service):
    first, second = await service.proposed(), await service.proposed()
    listing = planner_pb2.ListSpecsRequest(parent=PARENT, page_size=1)
    page = await clients.call(service.planner.ListSpecs, listing)
    assert [spec.name for spec in page.specs] == [second.name]
    listing.page_token = page.next_page_token
    rest = await clients.call(service.planner.ListSpecs, listing)
    assert ([spec.name for spec in rest.specs], rest.next_page_token) == ([first.name], "")
    listing.parent = "projects/-"
    refused = await refusal(clients.call(service.planner.ListSpecs, listing))
    assert refused.violations[0].field == "page_token"
    await service.approve(first)
    approved = planner_pb2.ListSpecsRequest(parent="projects/-", state=spec_pb2.Spec.STATE_APPROVED)
    found = await clients.call(service.planner.ListSpecs, approved)
    assert [spec.name for spec in found.specs] == [first.name]


def uuid() -> str:
    return str(uuid4())


BAD_REQUESTS = {
    "unknown conversation": (
        "GetConversation",
        planner_pb2.GetConversationRequest(name=f"{PARENT}/conversations/a1"),
        "NOT_FOUND",
    ),
    "unknown spec": ("GetSpec", planner_pb2.GetSpecRequest(name=f"{PARENT}/specs/a1"), "NOT_FOUND"),
    "bad name": ("GetSpec", planner_pb2.GetSpecRequest(name="specs/a1"), "INVALID_ARGUMENT"),
    "path as a name": (
        "GetSpec",
        planner_pb2.GetSpecRequest(name=f"{PARENT}/specs/../../etc"),
        "INVALID_ARGUMENT",
    ),
    "no name": ("GetSpec", planner_pb2.GetSpecRequest(), "INVALID_ARGUMENT"),
    "negative revision": (
        "GetSpec",
        planner_pb2.GetSpecRequest(name=f"{PARENT}/specs/a1", revision=-1),
        "INVALID_ARGUMENT",
    ),
    "negative page": (
        "ListSpecs",
        planner_pb2.ListSpecsRequest(parent=PARENT, page_size=-1),
        "INVALID_ARGUMENT",
    ),
    "wildcard where none is allowed": (
        "CreateConversation",
        planner_pb2.CreateConversationRequest(parent="projects/-", request_id=uuid()),
        "INVALID_ARGUMENT",
    ),
    "no request id": (
        "CreateConversation",
        planner_pb2.CreateConversationRequest(parent=PARENT),
        "INVALID_ARGUMENT",
    ),
    "request id that is no UUID": (
        "CreateConversation",
        planner_pb2.CreateConversationRequest(parent=PARENT, request_id="7"),
        "INVALID_ARGUMENT",
    ),
    "approval of nothing": (
        "ApproveSpec",
        planner_pb2.ApproveSpecRequest(name=f"{PARENT}/specs/a1", hash="0" * 64, request_id=uuid()),
        "NOT_FOUND",
    ),
    "huge message": (
        "CreateConversation",
        planner_pb2.CreateConversationRequest(parent="x" * 5_000_000, request_id=uuid()),
        "RESOURCE_EXHAUSTED",
    ),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
async def test_a_bad_request_gets_the_right_code_and_a_reason(service, case):
    method, request, code = BAD_REQUESTS[case]
    refused = await refusal(clients.call(getattr(service.planner, method), request))
    assert refused.code == code
    assert refused.reason not in ("", "INTERNAL")


BAD_MESSAGES = {
    "unknown conversation": ({"conversation": f"{PARENT}/conversations/a1"}, "NOT_FOUND"),
    "unknown dataset": ({"datasets": [f"{PARENT}/datasets/a1"]}, "NOT_FOUND"),
    "bad dataset name": ({"datasets": ["a1"]}, "INVALID_ARGUMENT"),
    "dataset of another project": (
        {"datasets": ["projects/other/datasets/a1"]},
        "INVALID_ARGUMENT",
    ),
    "too many datasets": (
        {"datasets": [f"{PARENT}/datasets/a{n}" for n in range(5)]},
        "INVALID_ARGUMENT",
    ),
    "empty message": ({"message": ""}, "INVALID_ARGUMENT"),
    "only spaces": ({"message": "  \n "}, "INVALID_ARGUMENT"),
    "long message": ({"message": "x" * 8001}, "INVALID_ARGUMENT"),
}


@pytest.mark.parametrize("case", BAD_MESSAGES)
async def test_a_bad_message_is_refused_and_not_kept(service, case):
    fields, code = BAD_MESSAGES[case]
    conversation = await service.conversation()
    given = {"conversation": conversation, "message": "hello", "request_id": uuid(), **fields}
    request = planner_pb2.SendMessageRequest(**given)

    async def read():
        async for _ in clients.stream(service.planner.SendMessage, request):
            pass

    assert (await refusal(read())).code == code
    reading = planner_pb2.GetConversationRequest(name=conversation)
    assert not (await clients.call(service.planner.GetConversation, reading)).turns


async def test_the_operators_choice_of_models_is_kept_and_told(tmp_path):
    url = f"sqlite+aiosqlite:///{tmp_path / 'planner.db'}"
    async with running_planner(tmp_path, url, base_models="attune/starter") as service:
        spec = await service.proposed()
        (choice,) = [each for each in spec.choices if each.field_path == "base_model.id"]
        assert choice.source == spec_pb2.Choice.SOURCE_OPERATOR
        turn = await service.say(spec.conversation, "use Qwen/Qwen3-4B")
        assert "not among the base models allowed here" in turn.reply
        assert turn.spec == ""
        later = await service.say(spec.conversation, "rank 8")
        assert [change.field_path for change in later.changes] == [
            "stages.0.hyperparameters.lora.rank"
        ]
        assert "not among" not in later.reply
