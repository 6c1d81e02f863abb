"""Where this machine's Attune keeps what it knows about itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """The folder `$ATTUNE_HOME`, default `~/.attune`, and the launcher's files in it."""

    root: Path
    """Absolute."""

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Home:
        """Return the home that the environment names."""
        return cls(Path(environ.get("ATTUNE_HOME") or "~/.attune").expanduser().resolve())

    @property
    def logs(self) -> Path:
        """Folder of one log per process."""
        return self.root / "logs"

    @property
    def endpoints(self) -> Path:
        """Addresses of what runs; there is none when nothing does."""
        return self.root / "endpoints.json"

    @property
    def launch(self) -> Path:
        """What was asked of the launcher: ports and base model."""
        return self.root / "launch.json"

    @property
    def supervision(self) -> Path:
        """What the supervisor last knew of each process."""
        return self.root / "supervision.json"

    @property
    def lock(self) -> Path:
        """Held by the one supervisor of this home for as long as it lives."""
        return self.root / "run" / "supervisor.lock"

    def log(self, name: str) -> Path:
        """Return the log of one process."""
        return self.logs / f"{name}.log"


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old text or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text)
    temporary.rename(path)
