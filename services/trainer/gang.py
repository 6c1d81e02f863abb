"""Several processes that train one run together: who is who, and where they meet.

The first one leads: it goes through every phase, writes all that is kept, and alone is told to stop
or to halt. The others follow it in TRAIN and nowhere else, in folders of their own within the
attempt's. They meet through a file of the attempt, for the leader alone knows which port is free on
its machine and which checkpoint is the newest.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, MutableMapping
from dataclasses import asdict, dataclass
from pathlib import Path

from services.common.artefacts import sync

MEETING = "gang.json"
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")
"""As torchrun names them."""


@dataclass(frozen=True)
class Gang:
    """The processes of one attempt, as one of them sees it."""

    rank: int
    """Of this process, from 0."""
    size: int
    """Processes in all, at least 2."""
    local_rank: int
    """Which of the devices in its sight this process computes on."""
    host: str
    """Where the others reach the leader."""

    @property
    def leads(self) -> bool:
        """Whether this process is the first one."""
        return self.rank == 0

    def folder(self, attempt: Path) -> Path:
        """Return where this process writes what it has to say."""
        return attempt if self.leads else attempt / f"rank-{self.rank}"

    def environment(self) -> dict[str, str]:
        """Return what a process of the gang is started with."""
        values = (self.rank, self.size, self.local_rank, self.host)
        return dict(zip(VARIABLES, map(str, values), strict=True))


@dataclass(frozen=True)
class Meeting:
    """Where and with what the processes of a gang begin TRAIN."""

    host: str
    port: int
    resume_from: str
    """Folder of the checkpoint to go on from; empty without one."""

    @classmethod
    def call(cls, gang: Gang, attempt: Path, resume_from: Path | None) -> Meeting:
        """Write where the others are to come; only the leader does."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            port = probe.getsockname()[1]
        meeting = cls(gang.host, port, str(resume_from or ""))
        temporary = attempt / f".{MEETING}.tmp"
        temporary.write_text(json.dumps(asdict(meeting)))
        sync(temporary)
        temporary.rename(attempt / MEETING)
        return meeting

    @classmethod
    def find(cls, attempt: Path) -> Meeting | None:
        """Return the meeting of an attempt, or None while it was not called."""
        try:
            return cls(**json.loads((attempt / MEETING).read_text()))
        except FileNotFoundError:
            return None


def take_gang(environ: MutableMapping[str, str]) -> Gang | None:
    """Return the gang that this process was started in, or None if it is alone.

    The variables are taken out: a library that sees them joins the others at once, and that is
    right in TRAIN only.
    """
    values = {name: environ.pop(name) for name in VARIABLES if name in environ}
    if int(values.get("WORLD_SIZE", "1")) < 2:
        return None
    return _gang(values)


def _gang(values: Mapping[str, str]) -> Gang:
    return Gang(
        rank=int(values["RANK"]),
        size=int(values["WORLD_SIZE"]),
        local_rank=int(values["LOCAL_RANK"]),
        host=values["MASTER_ADDR"],
    )
