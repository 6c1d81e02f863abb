"""Starts the planner: `python -m services.planner`; `--help` lists its settings."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING

from attune.planner.v1 import dataset_pb2, dataset_pb2_grpc, planner_pb2, planner_pb2_grpc

from services.common.artefacts import Artefacts
from services.common.clock import Clock, SystemClock
from services.common.database import Database
from services.common.events import Bus
from services.common.outbox import Relay
from services.common.processes import ProcessFolder
from services.common.rpc import Server, until_signal
from services.common.telemetry import configure_logging
from services.planner.analysis import Analyses
from services.planner.dataset_store import DatasetStore
from services.planner.dialogue import Dialogue
from services.planner.peers import Scheduler, Trainer
from services.planner.plan.catalogue import load_catalogue
from services.planner.plan.recipe import load_recipes
from services.planner.proposals import Proposals
from services.planner.reading.interpreter import DeterministicReader
from services.planner.review import Review
from services.planner.revision import Revisions
from services.planner.row_previews import RowPreviews
from services.planner.servicer import PlannerServicer
from services.planner.servicer_dataset import DatasetServicer
from services.planner.settings import Settings
from services.planner.source_reader import SourceReader
from services.planner.spec_store import SpecStore
from services.planner.store import MIGRATIONS, OUTBOX, Store
from services.planner.upload import Uploads

if TYPE_CHECKING:
    from services.planner.reading.language_model import LanguageModelReader

log = logging.getLogger(__name__)


def build_server(
    settings: Settings, database: Database, scheduler: Scheduler, trainer: Trainer, clock: Clock
) -> Server:
    """Return the server with both APIs, not started.

    Args:
        settings: Of the planner.
        database: Migrated.
        scheduler: Estimates.
        trainer: Counts tokens.
        clock: Where the time comes from.
    """
    store = Store(database)
    datasets = DatasetStore(store)
    catalogue = load_catalogue()
    sources = SourceReader(
        datasets,
        trainer,
        catalogue,
        load_recipes(),
        settings.allowed_models,
        settings.report_wait_s,
    )
    artefacts = Artefacts(settings.artefact_root)
    analyses = Analyses(artefacts, datasets, sources, trainer, settings.decoded_bytes_max)
    uploads = Uploads(
        artefacts,
        datasets,
        clock,
        settings.upload_bytes_max,
        analyses.notify,
        analyses.abandon,
    )
    uploads.remove_abandoned()
    named = {model.id for model in catalogue} | set(settings.allowed_models)
    reader = message_reader(settings, named)
    server = Server("planner.attune")
    server.accompany(analyses.run)
    if not isinstance(reader, DeterministicReader):
        server.accompany(lambda: kept_open(reader))
    server.add(
        planner_pb2_grpc.add_PlannerServiceServicer_to_server,
        PlannerServicer(
            store,
            Dialogue(store, reader, sources, scheduler, clock),
            Proposals(store, reader, sources, scheduler, clock),
            Revisions(store, sources, scheduler, clock),
            Review(SpecStore(store), scheduler, trainer),
            sources,
            clock,
        ),
        planner_pb2.DESCRIPTOR.services_by_name["PlannerService"].full_name,
    )
    server.add(
        dataset_pb2_grpc.add_DatasetServiceServicer_to_server,
        DatasetServicer(datasets, uploads, RowPreviews(artefacts, datasets, sources, trainer)),
        dataset_pb2.DESCRIPTOR.services_by_name["DatasetService"].full_name,
    )
    return server


async def kept_open(reader: LanguageModelReader) -> None:
    """Close the connection to a language model when the server stops."""
    try:
        await asyncio.Event().wait()
    finally:
        await reader.close()


def message_reader(
    settings: Settings, base_models: Collection[str]
) -> DeterministicReader | LanguageModelReader:
    """Return who reads messages: a language model where one is configured, else patterns alone.

    Args:
        settings: Of the planner.
        base_models: Ids that a message may name.

    Raises:
        SystemExit: If the endpoint of a model is set and its name is not.
    """
    patterns = DeterministicReader(base_models)
    if not settings.llm_base_url:
        return patterns
    if not settings.llm_model:
        raise SystemExit("ATTUNE_PLANNER_LLM_MODEL is empty. Name the model at LLM_BASE_URL.")
    # Its library takes a second to import, which only those who use it should pay.
    from services.planner.reading.language_model import LanguageModelReader

    return LanguageModelReader(
        settings.llm_base_url,
        settings.llm_model,
        settings.llm_api_key.get_secret_value(),
        patterns,
        settings.llm_timeout_s,
    )


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    clock = SystemClock()
    database = Database(settings.database, MIGRATIONS)
    await database.migrate()
    scheduler, trainer = Scheduler(settings.scheduler_address), Trainer(settings.trainer_address)
    bus = Bus(settings.nats_url, "planner", settings.nats_replicas)
    relay = Relay(database, OUTBOX, bus, clock)
    server = build_server(settings, database, scheduler, trainer, clock)
    port = await server.start(settings.host, settings.port)
    log.info("planner listens on %s:%d", settings.host, port)
    relaying = asyncio.create_task(relay.run(), name="relay")
    try:
        await until_signal([relaying])
    finally:
        await server.stop()
        relaying.cancel()
        await asyncio.gather(relaying, return_exceptions=True)
        for closing in (scheduler, trainer, bus, database):
            await closing.close()


def main() -> None:
    """Read the settings and serve."""
    if "--help" in sys.argv[1:]:
        sys.stdout.write(f"{__doc__}\n\n{Settings.describe('planner')}\n")
        return
    settings = Settings.read("planner")
    ProcessFolder(settings.home).record_self("planner")
    configure_logging("planner", settings.log_level)
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
