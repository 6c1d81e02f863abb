"""The addresses of what runs, as `$ATTUNE_HOME/endpoints.json` tells every client."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from cli.home import Home, write_whole
from cli.ports import LOOPBACK, Ports
from services.common.errors import FailedPrecondition


@dataclass(frozen=True)
class Endpoints:
    """Where each part answers. The four services as `host:port`, the others as URLs."""

    planner: str
    scheduler: str
    trainer: str
    serving: str
    openai: str
    """Base URL for OpenAI clients."""
    mlflow: str
    nats: str

    @classmethod
    def of(cls, host: str, ports: Ports) -> Endpoints:
        """Return the addresses under which clients on this machine reach the parts."""
        reached = LOOPBACK if host in ("0.0.0.0", "::", "") else host
        return cls(
            planner=f"{reached}:{ports.planner}",
            scheduler=f"{reached}:{ports.scheduler}",
            trainer=f"{reached}:{ports.trainer}",
            serving=f"{reached}:{ports.serving}",
            openai=f"http://{reached}:{ports.openai}/v1",
            mlflow=f"http://{LOOPBACK}:{ports.mlflow}",
            nats=f"nats://{LOOPBACK}:{ports.nats}",
        )

    def write(self, home: Home) -> None:
        """Tell every client."""
        write_whole(home.endpoints, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, home: Home) -> Endpoints:
        """Return what was written last.

        Raises:
            FailedPrecondition: If nothing runs here.
        """
        try:
            return cls(**json.loads(home.endpoints.read_text()))
        except (OSError, ValueError, TypeError):
            raise FailedPrecondition(
                f"Attune does not run here: {home.endpoints} names no addresses. "
                "Start it with `attune up`.",
                reason="NOT_RUNNING",
                path=str(home.endpoints),
            ) from None
