"""How each process is: its record, its supervisor's view and its own answer put together."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from cli.endpoints import Endpoints
from cli.home import Home
from cli.launcher.health import healthy
from cli.launcher.launch import Launch
from cli.launcher.process_plan import NAMES
from cli.launcher.supervision import State, Supervised, read_supervision
from cli.launcher.teardown import SUPERVISOR
from cli.ports import LOOPBACK
from services.common.processes import ProcessFolder, ProcessRecord

ENGINE = "engine"
HEALTHY = "healthy"
STARTING = "starting"
STOPPED = "stopped"


@dataclass(frozen=True)
class ProcessStatus:
    """One line of `attune status`."""

    name: str
    state: str
    """healthy, starting, restarting, given up or stopped."""
    pid: int
    """0 when it does not run."""
    address: str
    since: str
    """Start time, ISO 8601 in UTC; empty when it does not run."""
    restarts: int
    reason: str
    """Its last words before it last died; empty when it never did."""


async def process_statuses(home: Home) -> list[ProcessStatus]:
    """Return how every process of a home is; the supervisor first, the engine if there is one."""
    launch = Launch.find(home)
    addresses = asdict(Endpoints.of(launch.host, launch.ports)) if launch else {}
    if launch:
        addresses[ENGINE] = engine_health_url(launch)
    folder = ProcessFolder(home.root)
    records = {record.name: record for record in folder.all() if record.is_alive()}
    names = [SUPERVISOR, *NAMES, *([ENGINE] if ENGINE in records else [])]
    asked = {name: addresses[name] for name in names if name in records and name in addresses}
    answers = await healthy(asked)
    answers[SUPERVISOR] = SUPERVISOR in records
    known = read_supervision(home) if SUPERVISOR in records else {}
    return [
        _status(name, records.get(name), answers.get(name, False), known.get(name), addresses)
        for name in names
    ]


def all_healthy(statuses: list[ProcessStatus]) -> bool:
    """Return whether everything answers; the engine may still be warming."""
    return all(status.state == HEALTHY for status in statuses if status.name != ENGINE)


def engine_health_url(launch: Launch) -> str:
    """Return the page that answers once vLLM has loaded the base model."""
    return f"http://{LOOPBACK}:{launch.ports.engine}/health"


def _status(
    name: str,
    record: ProcessRecord | None,
    answers: bool,
    known: Supervised | None,
    addresses: dict[str, str],
) -> ProcessStatus:
    if record is not None:
        state = HEALTHY if answers else STARTING
    elif known is not None and known.state is not State.RUNNING:
        state = known.state.value
    else:
        state = STOPPED
    began = datetime.fromtimestamp(record.start_time, UTC) if record else None
    return ProcessStatus(
        name=name,
        state=state,
        pid=record.pid if record else 0,
        address=addresses.get(name, "").removesuffix("/health"),
        since=began.isoformat(timespec="seconds") if began else "",
        restarts=known.restart_count if known else 0,
        reason=known.reason if known else "",
    )
