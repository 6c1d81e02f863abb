"""Which processes run, with which commands and environments: decided here, started elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cli.endpoints import Endpoints
from cli.home import Home
from cli.launcher.cores import Cores
from cli.launcher.launch import Launch
from cli.ports import LOOPBACK

QUIET = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "TOKENIZERS_PARALLELISM": "false",
}
"""The journey needs no network, and nobody is told about it."""
TIERS = (("nats", "mlflow"), ("planner", "scheduler"), ("trainer", "serving"))
"""Started from the left, ended from the right; those of one tier together."""
NAMES = tuple(name for tier in TIERS for name in tier)
SERVICES = ("planner", "scheduler", "trainer", "serving")


@dataclass(frozen=True)
class PlannedProcess:
    """One process that is to be kept running."""

    name: str
    """Also the name of its record and of its log."""
    command: tuple[str, ...]
    """The first entry is an absolute path: nothing is looked up in PATH."""
    environment: Mapping[str, str]
    """All of it."""
    address: str
    """Where it answers."""


def process_plan(
    launch: Launch, home: Home, cores: Cores, prefix: Path, environ: Mapping[str, str]
) -> tuple[PlannedProcess, ...]:
    """Return what can run now, in the order to start it.

    Trainer and serving wait until the base model is at hand.

    Args:
        launch: What was asked for.
        home: Where everything is kept.
        cores: Who computes where.
        prefix: The Python environment, whose `bin` holds every command.
        environ: The caller's environment; it goes on to every process, and wins over the division
            of cores and the choice of base models.
    """
    addresses = Endpoints.of(launch.host, launch.ports)
    shared = shared_environment(launch, home, environ)
    commands = _commands(launch, home, prefix)
    settings = _settings(launch, addresses, cores, environ)
    tiers = TIERS if launch.at_hand else TIERS[:-1]
    return tuple(
        PlannedProcess(
            name, commands[name], shared | settings.get(name, {}), getattr(addresses, name)
        )
        for tier in tiers
        for name in tier
    )


def shared_environment(launch: Launch, home: Home, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what every process gets: the caller's environment, quiet, and where things are."""
    kept = {name: value for name, value in environ.items() if name not in ("PYTHONHOME",)}
    artefacts = environ.get("ATTUNE_ARTEFACTS") or str(home.root / "artefacts")
    beside_proxies = ",".join(filter(None, (environ.get("NO_PROXY"), LOOPBACK, "localhost")))
    return {
        **kept,
        **QUIET,
        "ATTUNE_HOME": str(home.root),
        "ATTUNE_ARTEFACTS": str(Path(artefacts).expanduser().resolve()),
        "ATTUNE_HOST": launch.host,
        "ATTUNE_NATS_URL": f"nats://{LOOPBACK}:{launch.ports.nats}",
        "NO_PROXY": beside_proxies,
        "no_proxy": beside_proxies,
        "PYTHONUNBUFFERED": "1",
    }


def _commands(launch: Launch, home: Home, prefix: Path) -> dict[str, tuple[str, ...]]:
    python = str(prefix / "bin" / "python")
    tracking = home.root / "tracking"
    services = {name: (python, "-m", f"services.{name}") for name in SERVICES}
    nats = (str(prefix / "bin" / "nats-server"), "--config", str(home.root / "nats.conf"))
    mlflow = (
        *(python, "-m", "mlflow", "server", "--workers", "1"),
        *("--host", LOOPBACK, "--port", str(launch.ports.mlflow)),
        *("--backend-store-uri", f"sqlite:///{tracking / 'mlflow.db'}"),
        *("--artifacts-destination", str(tracking / "artefacts")),
    )
    return {**services, "nats": nats, "mlflow": mlflow}


def _settings(
    launch: Launch, addresses: Endpoints, cores: Cores, environ: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Return the settings of each process that has some of its own."""
    ports = launch.ports
    settings = {
        "planner": {
            "ATTUNE_PLANNER_PORT": str(ports.planner),
            "ATTUNE_PLANNER_SCHEDULER_ADDRESS": addresses.scheduler,
            "ATTUNE_PLANNER_TRAINER_ADDRESS": addresses.trainer,
        },
        "scheduler": {
            "ATTUNE_SCHEDULER_PORT": str(ports.scheduler),
            "ATTUNE_SCHEDULER_PLANNER_ADDRESS": addresses.planner,
        },
        "trainer": {
            "ATTUNE_TRAINER_PORT": str(ports.trainer),
            "ATTUNE_TRAINER_SCHEDULER_ADDRESS": addresses.scheduler,
            "ATTUNE_TRAINER_MLFLOW_URL": addresses.mlflow,
        },
        "serving": {
            "ATTUNE_SERVING_PORT": str(ports.serving),
            "ATTUNE_SERVING_HTTP_PORT": str(ports.openai),
            "ATTUNE_SERVING_METRICS_PORT": str(ports.metrics),
            "ATTUNE_SERVING_ENGINE_PORT": str(ports.engine),
            "ATTUNE_SERVING_PLANNER_ADDRESS": addresses.planner,
            "ATTUNE_SERVING_SCHEDULER_ADDRESS": addresses.scheduler,
            "ATTUNE_SERVING_TRAINER_ADDRESS": addresses.trainer,
            "ATTUNE_SERVING_BASE_MODEL": launch.base_model,
        },
        "mlflow": {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
    }
    defaults = {
        "ATTUNE_PLANNER_BASE_MODELS": launch.base_model,
        "ATTUNE_TRAINER_ENGINE": launch.engine.name,
        "ATTUNE_TRAINER_RAY_ADDRESS": launch.engine.ray_address,
        "ATTUNE_TRAINER_ACCELERATOR": environ.get("ATTUNE_ACCELERATOR", "cpu"),
        **cores.environment(),
    }
    for variable, value in defaults.items():
        service = variable.split("_")[1].lower()
        settings[service][variable] = environ.get(variable, value)
    return settings
