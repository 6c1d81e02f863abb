"""What was asked of the launcher, kept so that a later supervisor does the same."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cli.home import Home, write_whole
from cli.ports import Ports

STARTER = "attune/starter"


def base_model_of(id_or_path: str) -> tuple[str, str]:
    """Return a base model's id, and the folder that it is taken from, if it is one.

    Args:
        id_or_path: `attune/starter`, an id of the hub, or a path that begins with `/`, `.` or `~`.
    """
    if not id_or_path.startswith(("/", ".", "~")):
        return id_or_path, ""
    folder = Path(id_or_path).expanduser().resolve()
    name = re.sub(r"[^a-z0-9._-]+", "-", folder.name.lower()).strip("-._")
    return f"local/{name or 'model'}", str(folder)


@dataclass(frozen=True)
class RunEngine:
    """Where training runs."""

    name: str = "local"
    """`local` or `ray`."""
    ray_address: str = ""
    """Head of the cluster, `host:port` or `auto`; empty with `local`."""

    @classmethod
    def read(
        cls, environ: Mapping[str, str], name: str | None = None, ray_address: str | None = None
    ) -> RunEngine:
        """Return what is asked for.

        Args:
            environ: Says what is not given: `ATTUNE_ENGINE`, `ATTUNE_RAY_ADDRESS`.
            name: `local` or `ray`.
            ray_address: Head of the cluster.
        """
        chosen = name or environ.get("ATTUNE_ENGINE") or "local"
        if ray_address is None and chosen == "ray":
            ray_address = environ.get("ATTUNE_RAY_ADDRESS")
        return cls(chosen, ray_address or "")


@dataclass(frozen=True)
class Launch:
    """One way to run Attune on this machine."""

    host: str
    """Address that the services listen on."""
    ports: Ports
    base_model: str
    """Id of the base model that is served."""
    source: str = ""
    """The folder that the base model is taken from; empty for the starter and for the hub's."""
    at_hand: bool = False
    """Whether all its files are here; trainer and serving need them."""
    engine: RunEngine = field(default_factory=RunEngine)

    def write(self, home: Home) -> None:
        """Keep it."""
        write_whole(home.launch, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def find(cls, home: Home) -> Launch | None:
        """Return what was kept last, or None."""
        try:
            kept = json.loads(home.launch.read_text())
            parts = {"ports": Ports(**kept["ports"]), "engine": RunEngine(**kept["engine"])}
            return cls(**{**kept, **parts})
        except (OSError, ValueError, TypeError, KeyError):
            return None
