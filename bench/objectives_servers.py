"""The planner on real ports with its peers, in this process, for a bench that only talks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from attune.planner.v1 import planner_pb2, planner_pb2_grpc
from attune.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from attune.spec.v1 import compute_pb2
from attune.trainer.v1 import grader_pb2, grader_pb2_grpc, render_pb2, render_pb2_grpc

from services.common import peers as clients
from services.common.clock import SystemClock
from services.common.database import Database
from services.common.rpc import Server
from services.planner.__main__ import build_server
from services.planner.dataset_store import DatasetStore
from services.planner.peers import Scheduler, Trainer
from services.planner.settings import Settings
from services.planner.store import MIGRATIONS, Store
from services.scheduler.account import Shares
from services.scheduler.board import Board
from services.scheduler.catalogue import read_catalogue
from services.scheduler.changes import Changes
from services.scheduler.desk import Desk
from services.scheduler.node_store import NodeStore
from services.scheduler.observation_store import ObservationStore
from services.scheduler.servicer import SchedulerServicer
from services.scheduler.store import MIGRATIONS as SCHEDULER_MIGRATIONS
from services.scheduler.store import JobStore
from services.scheduler.usage_store import UsageStore

STARTER = compute_pb2.ModelShape(
    id="attune/starter",
    revision="ab" * 32,
    licence="Apache-2.0",
    context_length=1024,
    parameter_count=1_312_000,
    layer_count=4,
    hidden_size=128,
    intermediate_size=352,
    vocabulary_size=4096,
    head_count=4,
    kv_head_count=4,
)
"""The one model at hand, as on a laptop that has just been set up."""


class ListsStarter(render_pb2_grpc.RenderServiceServicer):
    """Says which models are at hand; nothing else is asked while people only talk."""

    async def ListLocalModels(self, request, context):  # noqa: N802  # gRPC's name.
        """Return the starter."""
        return render_pb2.ListLocalModelsResponse(models=[STARTER])


class HasJudge(grader_pb2_grpc.GraderServiceServicer):
    """Says that there is a judge, so that every kind of grader may be proposed."""

    async def GetJudge(self, request, context):  # noqa: N802  # gRPC's name.
        """Return that one is set."""
        return grader_pb2.GetJudgeResponse(is_set=True)


@asynccontextmanager
async def planner(
    folder: Path,
) -> AsyncIterator[tuple[planner_pb2_grpc.PlannerServiceStub, DatasetStore]]:
    """Run the planner and yield a client of it, and the store of its datasets.

    Args:
        folder: Empty; databases and artefacts go there.
    """
    clock = SystemClock()
    desk_database = Database(f"sqlite+aiosqlite:///{folder}/scheduler.db", SCHEDULER_MIGRATIONS)
    await desk_database.migrate()
    changes = Changes(desk_database)
    jobs, nodes = JobStore(desk_database), NodeStore(desk_database)
    usage, catalogue = UsageStore(desk_database), read_catalogue()
    observations = ObservationStore(desk_database)
    board = Board(jobs, nodes, usage, observations, changes, catalogue, Shares(), clock)
    beside = Server("peers.bench")
    beside.add(
        scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server,
        SchedulerServicer(Desk(jobs, nodes, board, changes, catalogue, clock)),
        scheduler_pb2.DESCRIPTOR.services_by_name["SchedulerService"].full_name,
    )
    beside.add(
        render_pb2_grpc.add_RenderServiceServicer_to_server,
        ListsStarter(),
        render_pb2.DESCRIPTOR.services_by_name["RenderService"].full_name,
    )
    beside.add(
        grader_pb2_grpc.add_GraderServiceServicer_to_server,
        HasJudge(),
        grader_pb2.DESCRIPTOR.services_by_name["GraderService"].full_name,
    )
    address = f"127.0.0.1:{await beside.start('127.0.0.1', 0)}"
    database = Database(f"sqlite+aiosqlite:///{folder}/planner.db", MIGRATIONS)
    await database.migrate()
    scheduler, trainer = Scheduler(address), Trainer(address)
    server = build_server(Settings(home=folder), database, scheduler, trainer, clock)
    channel = clients.channel(f"127.0.0.1:{await server.start('127.0.0.1', 0)}")
    try:
        yield planner_pb2_grpc.PlannerServiceStub(channel), DatasetStore(Store(database))
    finally:
        await channel.close()
        await server.stop()
        changes.close()
        for closing in (scheduler, trainer, database, desk_database):
            await closing.close()
        await beside.stop()


async def say(
    client: planner_pb2_grpc.PlannerServiceStub, request: planner_pb2.SendMessageRequest
) -> planner_pb2.Turn:
    """Send one message and return the whole turn."""
    turn = planner_pb2.Turn()
    async for piece in client.SendMessage(request):
        if piece.HasField("turn"):
            turn = piece.turn
    return turn
