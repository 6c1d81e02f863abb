"""Starts the scheduler: reads settings, wires the parts, serves until a signal."""

from __future__ import annotations

import asyncio
import logging
import sys

from attune.scheduler.v1 import (
    scheduler_pb2,
    scheduler_pb2_grpc,
    worker_pb2,
    worker_pb2_grpc,
)

from services.common import peers, rpc
from services.common.clock import SystemClock
from services.common.database import Database
from services.common.events import Bus
from services.common.outbox import Relay
from services.common.processes import ProcessFolder
from services.common.telemetry import configure_logging
from services.scheduler.account import read_shares
from services.scheduler.board import Board
from services.scheduler.catalogue import read_catalogue
from services.scheduler.changes import Changes
from services.scheduler.desk import Desk
from services.scheduler.dispatch import Dispatcher
from services.scheduler.intake import Intake
from services.scheduler.lease import LeaseTerms
from services.scheduler.node_store import NodeStore
from services.scheduler.observation_store import ObservationStore
from services.scheduler.peers import PlannerPeer
from services.scheduler.row_store import OUTBOX
from services.scheduler.servicer import SchedulerServicer
from services.scheduler.servicer_worker import WorkerServicer
from services.scheduler.settings import SchedulerSettings
from services.scheduler.steward import Steward
from services.scheduler.store import CONSUMER, MIGRATIONS, JobStore
from services.scheduler.sweep import LeaseSweep
from services.scheduler.usage_store import UsageStore

log = logging.getLogger(__name__)

SERVICES = scheduler_pb2.DESCRIPTOR.services_by_name
WORKER_SERVICES = worker_pb2.DESCRIPTOR.services_by_name


async def serve(settings: SchedulerSettings) -> None:
    """Run until SIGTERM or SIGINT."""
    clock = SystemClock()
    catalogue = read_catalogue(settings.profiles_file, settings.allowed_profiles)
    shares = read_shares(settings.quotas_file)
    terms = LeaseTerms(settings.lease_s, settings.renew_s)
    database = Database(settings.store_url, MIGRATIONS)
    await database.migrate()
    bus = Bus(settings.nats_url, "scheduler", settings.nats_replicas)
    planner = peers.channel(settings.planner_address)
    changes, jobs, nodes = Changes(database), JobStore(database), NodeStore(database)
    usage, observations = UsageStore(database), ObservationStore(database)
    board = Board(jobs, nodes, usage, observations, changes, catalogue, shares, clock)
    intake = Intake(jobs, PlannerPeer(planner), clock)
    sweep = LeaseSweep(jobs, terms, clock)
    server = rpc.Server("scheduler.attune")
    server.add(
        scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server,
        SchedulerServicer(Desk(jobs, nodes, board, changes, catalogue, clock)),
        SERVICES["SchedulerService"].full_name,
    )
    server.add(
        worker_pb2_grpc.add_WorkerServiceServicer_to_server,
        WorkerServicer(Dispatcher(jobs, nodes, board, changes, catalogue, terms, clock)),
        WORKER_SERVICES["WorkerService"].full_name,
    )
    port = await server.start(settings.host, settings.port)
    log.info("scheduler listens on %s:%d", settings.host, port)
    loops = {
        "relay": Relay(database, OUTBOX, bus, clock).run(),
        "consumer": bus.consume(CONSUMER, "spec.approved", intake.take_event),
        "reconciler": intake.reconcile_for_ever(),
        "sweep": sweep.run(),
        "steward": Steward(jobs, board, clock).run(),
    }
    tasks = [asyncio.create_task(loop, name=name) for name, loop in loops.items()]
    try:
        await rpc.until_signal(tasks)
    finally:
        changes.close()
        await server.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await bus.close()
        await planner.close(None)
        await database.close()


def main() -> None:
    """Start the service, or print its settings."""
    if "--help" in sys.argv[1:]:
        print(SchedulerSettings.describe("scheduler"))  # noqa: T201  # Asked for.
        return
    settings = SchedulerSettings.read("scheduler")
    settings.home.mkdir(parents=True, exist_ok=True)
    ProcessFolder(settings.home).record_self("scheduler")
    configure_logging("scheduler", settings.log_level)
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
