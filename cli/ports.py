"""Which port each process listens on."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields

from services.common.errors import InvalidArgument

LOOPBACK = "127.0.0.1"
PORT_MAX = 65_535
BASE = 7100
OFFSETS = {
    "planner": 1,
    "scheduler": 2,
    "trainer": 3,
    "serving": 4,
    "nats": 22,
    "mlflow": 50,
    "openai": 80,
    "metrics": 81,
    "engine": 90,
}
VARIABLES = {
    "planner": "ATTUNE_PLANNER_PORT",
    "scheduler": "ATTUNE_SCHEDULER_PORT",
    "trainer": "ATTUNE_TRAINER_PORT",
    "serving": "ATTUNE_SERVING_PORT",
    "nats": "ATTUNE_NATS_PORT",
    "mlflow": "ATTUNE_MLFLOW_PORT",
    "openai": "ATTUNE_SERVING_HTTP_PORT",
    "metrics": "ATTUNE_SERVING_METRICS_PORT",
    "engine": "ATTUNE_SERVING_ENGINE_PORT",
}


@dataclass(frozen=True)
class Ports:
    """One port for each listener, in [1, 65535]; 0 only before `resolved`."""

    planner: int
    scheduler: int
    trainer: int
    serving: int
    openai: int
    mlflow: int
    nats: int
    metrics: int
    """Of serving, for Prometheus."""
    engine: int
    """Of vLLM, which only serving calls."""

    @classmethod
    def read(cls, environ: Mapping[str, str], base: int | None = None) -> Ports:
        """Return the ports that are asked for.

        Args:
            environ: May name single ports; they win.
            base: First of a range of 100; 0 asks for free ones. `ATTUNE_PORT_BASE` or 7100 when
                left out.

        Raises:
            InvalidArgument: If a number is none, or no port.
        """
        if base is None:
            base = _number("ATTUNE_PORT_BASE", environ.get("ATTUNE_PORT_BASE", str(BASE)))
        chosen = {}
        for name, variable in VARIABLES.items():
            default = base + OFFSETS[name] if base else 0
            chosen[name] = _number(variable, environ.get(variable, str(default)))
        return cls(**chosen)

    def resolved(self) -> Ports:
        """Return the same ports with every 0 replaced by a port that is free now."""
        chosen = asdict(self)
        with ExitStack() as held:  # All at once: the same port must not be found twice.
            for name, port in chosen.items():
                if port == 0:
                    probe = held.enter_context(socket.socket())
                    probe.bind((LOOPBACK, 0))
                    chosen[name] = int(probe.getsockname()[1])
        return Ports(**chosen)

    def items(self) -> list[tuple[str, int]]:
        """Return name and port of each."""
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


def _number(variable: str, text: str) -> int:
    if text.strip().isdecimal() and int(text) <= PORT_MAX:
        return int(text)
    raise InvalidArgument(
        f"{variable}={text!r} is no port. Give a number from 0 to {PORT_MAX}; 0 picks a free one.",
        reason="BAD_PORT",
        variable=variable,
        value=text,
    )
