"""The whole planner on a real port with a real database, and a client of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from attune.planner.v1 import dataset_pb2, dataset_pb2_grpc, planner_pb2, planner_pb2_grpc
from attune.spec.v1 import spec_pb2

from services.common import errors
from services.common import peers as clients
from services.common.clock import SystemClock
from services.common.database import Database
from services.planner.__main__ import build_server
from services.planner.peers import Scheduler, Trainer
from services.planner.settings import Settings
from services.planner.store import MIGRATIONS
from tests.planner.peer_servers import Peers, some_rows

PARENT = "projects/default"
SENTENCE = (
    "Route our customers' support tickets: read each message and answer with a JSON record of "
    "team, product, priority and order."
)
CHUNK_BYTES = 64 * 1024


@dataclass
class Planner:
    """A running planner."""

    peers: Peers
    database: Database
    artefacts: Path
    address: str
    planner: planner_pb2_grpc.PlannerServiceStub
    datasets: dataset_pb2_grpc.DatasetServiceStub

    async def upload(
        self,
        content: bytes,
        holdout: str = "",
        request_id: str = "",
        name: str = "train.jsonl",
        **header_fields: str,
    ) -> dataset_pb2.Dataset:
        """Upload a file and return the dataset with its report."""
        header = dataset_pb2.UploadHeader(
            parent=PARENT,
            display_name=name,
            holdout_dataset=holdout,
            request_id=request_id or str(uuid4()),
            **header_fields,
        )
        chunks = [content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES)]
        messages = [dataset_pb2.UploadDatasetRequest(header=header)]
        messages += [dataset_pb2.UploadDatasetRequest(chunk=chunk) for chunk in chunks]
        return await self.analysed((await self.upload_stream(messages)).name)

    async def analysed(self, name: str) -> dataset_pb2.Dataset:
        """Wait for a dataset's report."""
        request = dataset_pb2.GetDatasetRequest(name=name)
        for _ in range(3000):
            dataset = await clients.call(self.datasets.GetDataset, request)
            if dataset.state != dataset_pb2.Dataset.STATE_ANALYSING:
                return dataset
            await asyncio.sleep(0.01)
        raise AssertionError(f"the report of {name} was never made")

    async def report(self, dataset: dataset_pb2.Dataset) -> dataset_pb2.DatasetReport:
        request = dataset_pb2.GetDatasetReportRequest(name=dataset.name)
        return await clients.call(self.datasets.GetDatasetReport, request)

    async def upload_stream(
        self, messages: Iterable[dataset_pb2.UploadDatasetRequest]
    ) -> dataset_pb2.Dataset:
        async def stream() -> AsyncIterator[dataset_pb2.UploadDatasetRequest]:
            for message in messages:
                yield message

        return await clients.call(self.datasets.UploadDataset, stream(), timeout_s=60)

    async def two_datasets(self, train: int = 120, holdout: int = 60) -> str:
        held = await self.upload(some_rows(holdout, start=100_000), name="holdout.jsonl")
        return (await self.upload(some_rows(train), holdout=held.name)).name

    async def conversation(self) -> str:
        request = planner_pb2.CreateConversationRequest(parent=PARENT, request_id=str(uuid4()))
        return (await clients.call(self.planner.CreateConversation, request)).name

    async def say(
        self, conversation: str, message: str, *datasets: str, request_id: str = ""
    ) -> planner_pb2.Turn:
        request = planner_pb2.SendMessageRequest(
            conversation=conversation,
            message=message,
            datasets=datasets,
            request_id=request_id or str(uuid4()),
        )
        pieces = [piece async for piece in clients.stream(self.planner.SendMessage, request)]
        turn = pieces[-1].turn
        assert "".join(piece.reply_delta for piece in pieces[:-1]) == turn.reply
        return turn

    async def spec(self, name: str, revision: int = 0) -> spec_pb2.Spec:
        request = planner_pb2.GetSpecRequest(name=name, revision=revision)
        return await clients.call(self.planner.GetSpec, request)

    async def proposed(self) -> spec_pb2.Spec:
        """Lead a conversation to its first spec."""
        dataset, conversation = await self.two_datasets(), await self.conversation()
        await self.say(conversation, SENTENCE, dataset)
        turn = await self.say(conversation, "85 %")
        return await self.spec(turn.spec)

    async def approve(
        self, spec: spec_pb2.Spec, spec_hash: str = "", request_id: str = ""
    ) -> spec_pb2.Spec:
        request = planner_pb2.ApproveSpecRequest(
            name=spec.name, hash=spec_hash or spec.hash, request_id=request_id or str(uuid4())
        )
        return await clients.call(self.planner.ApproveSpec, request)

    async def update(self, spec: spec_pb2.Spec, *paths: str, request_id: str = "") -> spec_pb2.Spec:
        request = planner_pb2.UpdateSpecRequest(spec=spec, request_id=request_id or str(uuid4()))
        request.update_mask.paths.extend(paths)
        return await clients.call(self.planner.UpdateSpec, request)


@asynccontextmanager
async def running_planner(home: Path, database_url: str, **settings: str) -> AsyncIterator[Planner]:
    """Run the planner and its peers, and yield a client."""
    others = Peers()
    address = await others.start()
    database = Database(database_url, MIGRATIONS)
    await database.migrate()
    configured = Settings(home=home, **settings)
    scheduler, trainer = Scheduler(address), Trainer(address)
    server = build_server(configured, database, scheduler, trainer, SystemClock())
    here = f"127.0.0.1:{await server.start('127.0.0.1', 0)}"
    channel = clients.channel(here)
    planner = planner_pb2_grpc.PlannerServiceStub(channel)
    datasets = dataset_pb2_grpc.DatasetServiceStub(channel)
    try:
        yield Planner(others, database, configured.artefact_root, here, planner, datasets)
    finally:
        await channel.close()
        await server.stop()
        for closing in (scheduler, trainer, database):
            await closing.close()
        await others.stop()


async def refusal(call: Awaitable[object]) -> errors.ServiceError:
    """Return the refusal that a call must get."""
    with pytest.raises(errors.ServiceError) as refused:
        await call
    return refused.value
