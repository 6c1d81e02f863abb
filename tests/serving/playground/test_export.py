import json
from uuid import uuid4

import pytest
from attune.planner.v1 import dataset_pb2, planner_pb2
from attune.serving.v1 import playground_pb2 as pb
from attune.spec.v1 import stage_pb2

from services.common import errors, peers
from services.common.clock import SystemClock
from services.serving import store
from services.serving.peers import Planner
from services.serving.playground import export
from services.serving.playground.exchange_store import ExchangeStore
from services.serving.playground.export import PreferenceExports
from services.serving.playground.preference_rows import Shape
from services.serving.playground.prompt import Message, Tool, ToolCall
from services.serving.registry.version import lineage_of
from services.serving.registry.version_store import VersionStore
from services.trainer.data.row_shape import shape_row
from tests.planner.planner_service import running_planner
from tests.serving.parts import Away, a_job
from tests.serving.playground.exchanges import (
    ALL_BAD,
    TUNED,
    WORSE,
    an_answer,
    an_exchange,
    an_opinion,
)

PAIRS, DEMONSTRATIONS = Shape
ROWS = 220
"""Enough of each shape for a plan that trains."""


class Stage:
    """Serving's stores beside a whole planner."""

    def __init__(self, database):
        clock = SystemClock()
        self.exchanges = ExchangeStore(database, clock)
        self.versions = VersionStore(database, clock)
        self.planner = None

    async def fill(self, count=ROWS, **fields):
        """Keep exchanges whose second answer is better."""
        for number in range(count):
            asked = (Message("user", f"Question number {number}?"),)
            answers = (an_answer(f"I do not know {number}."), an_answer(f"It is {number}.", TUNED))
            given = {"messages": asked, "preference": an_opinion(index=1)} | fields
            await self.exchanges.add(an_exchange(*answers, number=number + 1, **given))

    async def export(self, shape=PAIRS, datasets=None, **fields):
        request = a_request(shape, **fields)
        exports = PreferenceExports(self.exchanges, self.versions, datasets or self.datasets)
        return await exports.export(request, shape)


def a_request(shape=PAIRS, **fields):
    name = f"SHAPE_{shape.value}"
    given = {"parent": "projects/default", "shape": name, "request_id": str(uuid4())}
    return pb.ExportPreferencesRequest(**given | fields)


@pytest.fixture
async def alone(tmp_path):
    database = store.new_database(f"sqlite+aiosqlite:///{tmp_path / 'serving.db'}")
    await database.migrate()
    yield Stage(database)
    await database.close()


@pytest.fixture
async def stage(alone, tmp_path):
    home = tmp_path / "planner"
    home.mkdir()
    async with running_planner(home, f"sqlite+aiosqlite:///{home / 'planner.db'}") as planner:
        channel = peers.channel(planner.address)
        alone.planner, alone.datasets = planner, Planner(channel)
        yield alone
        await channel.close(None)


def rows_in(planner, dataset):
    path = planner.artefacts / "datasets" / dataset.sha256 / "original"
    return [json.loads(line) for line in path.read_text().splitlines()]


async def proposed(planner, dataset):
    request = planner_pb2.ProposeSpecRequest(
        parent="projects/default", datasets=[dataset], request_id=str(uuid4())
    )
    return await peers.call(planner.planner.ProposeSpec, request)


async def test_pairs_are_one_call_away_from_a_plan_for_dpo(stage):
    await stage.fill()
    await stage.exchanges.add(an_exchange(number=500, preference=an_opinion(ALL_BAD)))
    await stage.exchanges.add(an_exchange(number=501))
    made = await stage.export()
    assert (made.row_count, made.left_out_count) == (ROWS, 1)
    assert list(made.model_versions) == [TUNED]
    dataset = await stage.planner.analysed(made.dataset)
    assert (dataset.state, dataset.report.format) == (dataset_pb2.Dataset.STATE_READY, "preference")
    assert dataset.display_name == "preferences-pairs.jsonl"
    assert (dataset.report.row_count, dataset.report.valid_row_count) == (ROWS, ROWS)
    codes = {each.code for each in (await stage.planner.report(dataset)).findings}
    assert "unknown_key" not in codes
    rows = rows_in(stage.planner, dataset)
    assert rows[0]["prompt"][0]["content"] == "Question number 0?"
    assert {row["metadata"]["chosen"] for row in rows} == {TUNED}
    shaped = shape_row(rows[0])  # As the trainer reads it.
    assert (shaped.chosen, shaped.rejected) == (rows[0]["chosen"], rows[0]["rejected"])
    assert shaped.reference == ""
    spec = await proposed(stage.planner, made.dataset)
    assert [stage.technique for stage in spec.stages] == [stage_pb2.TECHNIQUE_DPO]


async def test_demonstrations_are_one_call_away_from_a_plan_for_sft(stage):
    call = ToolCall("c1", "weather", '{"city": "Bonn"}')
    await stage.fill(tools=(Tool("weather", "Tells it."),))
    await stage.exchanges.add(
        an_exchange(
            an_answer("sunny"),
            number=500,
            preference=an_opinion(WORSE, corrected="It is sunny."),
            tools=(Tool("weather", "Tells it."),),
            messages=(
                Message("user", "weather?"),
                Message("assistant", "", (call,)),
                Message("tool", "sunny", tool_call_id="c1"),
            ),
        )
    )
    made = await stage.export(DEMONSTRATIONS)
    assert (made.row_count, made.left_out_count) == (ROWS + 1, 0)
    dataset = await stage.planner.analysed(made.dataset)
    assert dataset.state == dataset_pb2.Dataset.STATE_READY
    assert dataset.report.valid_row_count == ROWS + 1
    assert rows_in(stage.planner, dataset)[-1]["messages"][-1]["content"] == "It is sunny."
    spec = await proposed(stage.planner, made.dataset)
    assert [stage.technique for stage in spec.stages] == [stage_pb2.TECHNIQUE_SFT]


async def test_a_repeated_export_is_the_first_one_whatever_was_said_since(stage):
    await stage.fill(3)
    request_id = str(uuid4())
    first = await stage.export(request_id=request_id)
    await stage.exchanges.add(an_exchange(number=500, preference=an_opinion()))
    assert await stage.export(request_id=request_id) == first
    with pytest.raises(errors.InvalidArgument):
        await stage.export(DEMONSTRATIONS, request_id=request_id)
    assert (await stage.export()).row_count == 4


async def test_an_export_that_was_cut_off_names_the_rows_that_it_has(stage):
    class Lost:
        """Uploads, and is gone before the answer is kept."""

        async def upload(self, *args):
            await stage.datasets.upload(*args)
            raise errors.Unavailable("Gone.", reason="GONE")

    await stage.fill(3)
    request_id = str(uuid4())
    with pytest.raises(errors.Unavailable):
        await stage.export(datasets=Lost(), request_id=request_id)
    await stage.exchanges.add(an_exchange(number=500, preference=an_opinion()))
    made = await stage.export(request_id=request_id)
    dataset = await stage.planner.analysed(made.dataset)
    assert dataset.report.row_count == made.row_count == 4


async def test_only_rows_of_exchanges_in_which_a_version_answered_are_taken(stage):
    version = await stage.versions.stage(lineage_of(a_job()), None)
    assert version.name == TUNED
    await stage.fill(2)
    other = (an_answer("one"), an_answer("two"))
    await stage.exchanges.add(an_exchange(*other, number=9, preference=an_opinion()))
    assert (await stage.export()).row_count == 3
    made = await stage.export(model_version=TUNED)
    assert made.row_count == 2
    dataset = await stage.planner.analysed(made.dataset)
    assert dataset.display_name == "preferences-pairs-tickets-1.jsonl"


async def test_what_cannot_be_exported_is_refused_with_the_reason(alone, monkeypatch):
    await alone.exchanges.add(an_exchange(number=9, preference=an_opinion(ALL_BAD)))
    for fields, kind, reason in (
        ({}, errors.FailedPrecondition, "NO_ROWS"),
        ({"parent": "x"}, errors.InvalidArgument, "INVALID_FIELDS"),
        ({"model_version": TUNED}, errors.NotFound, "NO_SUCH_VERSION"),
        ({"model_version": "x"}, errors.InvalidArgument, "INVALID_FIELDS"),
        ({"request_id": "x"}, errors.InvalidArgument, "INVALID_FIELDS"),
    ):
        with pytest.raises(kind) as caught:
            await alone.export(datasets=Away(), **fields)
        assert caught.value.reason == reason
    await alone.versions.stage(lineage_of(a_job()), None)
    with pytest.raises(errors.InvalidArgument) as caught:
        await alone.export(datasets=Away(), parent="projects/other", model_version=TUNED)
    assert caught.value.violations[0].field == "model_version"
    await alone.fill(3)
    with pytest.raises(errors.Unavailable):
        await alone.export(datasets=Away())
    monkeypatch.setattr(export, "EXPORT_BYTES_MAX", 100)
    with pytest.raises(errors.ResourceExhausted):
        await alone.export(datasets=Away())
