"""Conversations with a scripted reader and stubs at the rim: only the database is real."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from attune.planner.v1 import dataset_pb2, planner_pb2
from attune.spec.v1 import compute_pb2, spec_pb2

from services.common.clock import SystemClock
from services.common.database import Database
from services.common.errors import NotFound, Unavailable
from services.planner.brief import Brief, BriefPatch
from services.planner.conversation_store import ConversationStore
from services.planner.dataset_store import DatasetStore
from services.planner.dialogue import Dialogue
from services.planner.plan.stages import Sources
from services.planner.proposals import Proposals
from services.planner.revision import Revisions
from services.planner.spec_store import SpecStore
from services.planner.store import MIGRATIONS, Store
from services.planner.vocabulary import Shape, Task
from tests.planner.plans import SENTENCE, facts, sources

PROJECT = "projects/default"
ROWS = f"{PROJECT}/datasets/a1"
FIRST = BriefPatch(
    problem=SENTENCE,
    task=Task.EXTRACTION,
    target=0.85,
    data_shape=Shape.DEMONSTRATIONS,
    data_row_count=600,
)
"""What leads to a plan in one message."""
TUNED = "stages.0.hyperparameters."


class ScriptedReader:
    """Reads what it was told to read."""

    def __init__(self) -> None:
        self.patch = BriefPatch()

    def read(self, message: str, brief: Brief) -> BriefPatch:
        """Return the patch that the test laid out."""
        return self.patch


class StubSources:
    """Sources with the datasets that it is given, by name."""

    def __init__(self) -> None:
        self.datasets = {ROWS: facts()}
        self.recipes = sources().recipes
        self.judge: bool | None = True

    async def has_judge(self):
        return self.judge

    async def dataset(self, name):
        if name not in self.datasets:
            raise NotFound(f"There is no {name}.", reason="DATASET_NOT_FOUND", dataset=name)
        return self.datasets[name]

    async def rows(self, dataset, holdout_dataset):
        return (
            await self.dataset(dataset) if dataset else None,
            await self.dataset(holdout_dataset) if holdout_dataset else None,
        )

    async def read(self, dataset, holdout_dataset) -> Sources:
        rows, holdout = await self.rows(dataset, holdout_dataset)
        found = sources(rows, holdout, described=rows is None, allowed=())
        return replace(found, has_judge=self.judge)

    named = read


class StubScheduler:
    """Estimates a minute for every epoch of every stage."""

    def __init__(self) -> None:
        self.is_away = False
        self.missing: list[str] = []
        self.estimates = 0

    async def estimate(self, spec: spec_pb2.Spec, dataset) -> compute_pb2.ComputePlan:
        if self.is_away:
            raise Unavailable("Starting.", reason="STARTING")
        self.estimates += 1
        plan = compute_pb2.ComputePlan(available=not self.missing, missing=self.missing)
        epochs = sum(stage.hyperparameters.epoch_count for stage in spec.stages)
        plan.expected_duration.FromSeconds(round(60 * epochs))
        return plan


class Talk:
    """One conversation, and the calls that edit what it leads to."""

    def __init__(self, store: Store, conversation: str) -> None:
        self.store, self.conversation = store, conversation
        self.reader, self.sources = ScriptedReader(), StubSources()
        self.scheduler, clock = StubScheduler(), SystemClock()
        parts = (store, self.reader, self.sources, self.scheduler, clock)
        self.dialogue, self.proposals = Dialogue(*parts), Proposals(*parts)
        self.revisions = Revisions(store, self.sources, self.scheduler, clock)
        self.specs = SpecStore(store)

    async def say(self, patch: BriefPatch, *datasets: str, message: str = "as I say", **fields):
        self.reader.patch = patch
        request = planner_pb2.SendMessageRequest(
            conversation=self.conversation,
            message=message,
            datasets=datasets,
            request_id=fields.get("request_id") or str(uuid4()),
        )
        return await self.dialogue.answer(request)

    async def begin(self, **changes) -> spec_pb2.Spec:
        """Lead to the first plan, with the rows attached."""
        turn = await self.say(BriefPatch(**{**vars(FIRST), **changes}), ROWS)
        return await self.specs.get(turn.spec)

    async def newest(self) -> spec_pb2.Spec:
        row = await ConversationStore(self.store).get(self.conversation)
        return await self.specs.get(row.spec)

    async def brief(self) -> Brief:
        row = await ConversationStore(self.store).get(self.conversation)
        return Brief.from_json(row.brief)

    async def update(self, spec: spec_pb2.Spec, *paths: str) -> spec_pb2.Spec:
        request = planner_pb2.UpdateSpecRequest(spec=spec, request_id=str(uuid4()))
        request.update_mask.paths.extend(paths)
        return await self.revisions.update(request)

    async def restore(self, spec: spec_pb2.Spec, revision: int) -> spec_pb2.Spec:
        request = planner_pb2.RestoreSpecRequest(
            name=spec.name, revision=revision, etag=spec.etag, request_id=str(uuid4())
        )
        return await self.revisions.restore(request)

    async def keep_datasets(self) -> None:
        """Put the sources' datasets into the database too, where an approval looks for them."""
        datasets, now = DatasetStore(self.store), SystemClock().now()
        for name in self.sources.datasets:
            header = dataset_pb2.UploadHeader(request_id=str(uuid4()))
            dataset = dataset_pb2.Dataset(name=name, sha256=name, file_format="jsonl")
            await datasets.add(header, dataset, now)

    async def approve(self, spec: spec_pb2.Spec, spec_hash: str = "") -> spec_pb2.Spec:
        await self.keep_datasets()
        request = planner_pb2.ApproveSpecRequest(
            name=spec.name, hash=spec_hash or spec.hash, request_id=str(uuid4())
        )
        return await self.revisions.approve(request)

    async def propose(self, *datasets: str, objective: str = "", patch: BriefPatch | None = None):
        self.reader.patch = patch or BriefPatch()
        request = planner_pb2.ProposeSpecRequest(
            parent=PROJECT, datasets=datasets, objective=objective, request_id=str(uuid4())
        )
        return await self.proposals.propose(request)


@asynccontextmanager
async def talking(folder: Path) -> AsyncIterator[Talk]:
    """Open a conversation in a database of its own."""
    database = Database(f"sqlite+aiosqlite:///{folder / f'{uuid4()}.db'}", MIGRATIONS)
    await database.migrate()
    store = Store(database)
    conversation = f"{PROJECT}/conversations/a{uuid4().hex}"
    request = planner_pb2.CreateConversationRequest(parent=PROJECT, request_id=str(uuid4()))
    made = planner_pb2.Conversation(name=conversation)
    await ConversationStore(store).create(request, made, Brief().to_json(), SystemClock().now())
    try:
        yield Talk(store, conversation)
    finally:
        await database.close()


def codes(turn: planner_pb2.Turn) -> set[str]:
    """Return the codes of a turn's notices."""
    return {notice.code for notice in turn.notices}


def changed(turn: planner_pb2.Turn) -> set[str]:
    """Return the paths that a turn changed."""
    return {change.field_path for change in turn.changes}
