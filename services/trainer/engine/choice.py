"""The engine that the settings ask for."""

from __future__ import annotations

import asyncio
import importlib

from services.trainer.devices import offered
from services.trainer.engine.engine import Engine
from services.trainer.engine.local import LocalEngine
from services.trainer.fork_server import ForkServer
from services.trainer.settings import TrainerSettings

RAY = "services.trainer.engine.ray_cluster"


async def open_engine(settings: TrainerSettings, forks: ForkServer) -> Engine:
    """Return the engine, ready to start runs.

    Args:
        settings: Of this service.
        forks: Forks the runs of this machine.

    Raises:
        SystemExit: In one line, if it is the cluster and that does not answer.
    """
    if settings.engine == "local":
        return LocalEngine(forks, await asyncio.to_thread(offered, settings.accelerator))
    try:
        # Whoever runs everything on one machine need not have it.
        ray_cluster = importlib.import_module(RAY)
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"ATTUNE_TRAINER_ENGINE=ray, but {error.name} is not installed. Run `make setup`."
        ) from None
    engine: Engine = await ray_cluster.RayEngine.connected(settings)
    return engine
