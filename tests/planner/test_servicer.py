"""The planner through real gRPC, from an upload to an event."""

import json
from pathlib import Path
from uuid import uuid4

import pytest
from attune.events.v1 import events_pb2
from attune.planner.v1 import planner_pb2
from attune.spec.v1 import spec_pb2
from google.protobuf.json_format import ParseDict
from sqlalchemy import select

from services.common import errors
from services.common import peers as clients
from services.planner.store import OUTBOX
from tests.planner.planner_service import PARENT, SENTENCE, Planner, running_planner


@pytest.fixture
async def service(tmp_path: Path):
    url = f"sqlite+aiosqlite:///{tmp_path / 'planner.db'}"
    async with running_planner(tmp_path, url) as running:
        yield running


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
    assert spec.base_model.id == "attune/starter"
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
