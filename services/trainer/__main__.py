"""Start the trainer: `python -m services.trainer`, or with --help to see its settings."""

import asyncio
import logging
import os
import sys
from typing import Any

# Only the standard library up here: a forked run imports this file again.

QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}
"""No network unless asked for, and no threads beside those that are counted."""


def main() -> None:
    """Answer --help, or serve until SIGTERM."""
    from services.common.processes import ProcessFolder
    from services.common.telemetry import configure_logging
    from services.trainer.settings import JudgeSettings, TrainerSettings

    if "--help" in sys.argv[1:]:
        sys.stdout.write(TrainerSettings.describe("trainer") + "\n")
        sys.stdout.write(JudgeSettings.describe_own("judge") + "\n")
        return
    settings = TrainerSettings.read("trainer")
    JudgeSettings.of_environment()  # A wrong one is refused now, not in the first run.
    ProcessFolder(settings.home).record_self("trainer")
    configure_logging("trainer", settings.log_level)
    # The fork server and its children inherit these; set later they would have no effect.
    threads = str(settings.threads)
    os.environ.update(QUIET, OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads)
    if settings.accelerator == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    else:
        # With several in sight the trainer library would spread one process over all of them.
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    asyncio.run(_serve(settings))


async def _serve(settings: Any) -> None:
    """Wire everything and serve until SIGTERM; only `main` calls it."""
    from attune.trainer.v1 import (
        grader_pb2,
        grader_pb2_grpc,
        render_pb2,
        render_pb2_grpc,
        trainer_pb2,
        trainer_pb2_grpc,
    )

    from services.common.artefacts import Artefacts
    from services.common.clock import SystemClock
    from services.common.rpc import Server, until_signal
    from services.trainer import wire
    from services.trainer.fork_server import ForkServer
    from services.trainer.peers import SchedulerPeer
    from services.trainer.servicer import TrainerServicer
    from services.trainer.servicer_grader import GraderServicer
    from services.trainer.servicer_render import RenderServicer
    from services.trainer.supervisor import Supervisor
    from services.trainer.tracking import Tracker
    from services.trainer.worker import Worker, close_orphans

    artefacts = Artefacts(settings.artefact_root)
    forks = ForkServer()
    server = Server(wire.DOMAIN)
    server.add(
        trainer_pb2_grpc.add_TrainerServiceServicer_to_server,
        TrainerServicer(artefacts, SystemClock(), forks),
        trainer_pb2.DESCRIPTOR.services_by_name["TrainerService"].full_name,
    )
    server.add(
        render_pb2_grpc.add_RenderServiceServicer_to_server,
        RenderServicer(artefacts, forks),
        render_pb2.DESCRIPTOR.services_by_name["RenderService"].full_name,
    )
    server.add(
        grader_pb2_grpc.add_GraderServiceServicer_to_server,
        GraderServicer(),
        grader_pb2.DESCRIPTOR.services_by_name["GraderService"].full_name,
    )
    port = await server.start(settings.host, settings.port)
    logging.getLogger(__name__).info("listening on %s:%d", settings.host, port)
    forks.warm()
    tracker = Tracker(settings.mlflow_url) if settings.mlflow_url else None
    await asyncio.to_thread(close_orphans, settings, tracker)
    scheduler = SchedulerPeer(settings.scheduler_address)
    worker = Worker(settings, scheduler, Supervisor(settings, scheduler, forks, tracker))
    leasing = asyncio.create_task(worker.run(), name="worker")
    try:
        await until_signal([leasing])
    finally:
        leasing.cancel()
        await worker.stop()
        await server.stop()
        await scheduler.close()
        forks.close()
        if tracker is not None:
            await asyncio.to_thread(tracker.close)


if __name__ == "__main__":
    main()
