"""A whole Attune of its own for a bench: a new home, free ports, and nothing left afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ATTUNE = Path(sys.executable).parent / "attune"
ROOT = Path(__file__).parents[1]
COMMAND_TIMEOUT_S = 3600


@dataclass(frozen=True)
class System:
    """One home with its processes."""

    home: Path

    @property
    def environ(self) -> dict[str, str]:
        """Environment of every command on this home."""
        return os.environ | {"ATTUNE_HOME": str(self.home), "ATTUNE_PORT_BASE": "0"}

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one `attune` command; its output is kept.

        Raises:
            SystemExit: With its output, if it fails and `check` is set.
        """
        result = subprocess.run(
            [ATTUNE, *arguments],
            env=self.environ,
            cwd=ROOT,
            text=True,
            capture_output=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        if check and result.returncode != 0:
            raise SystemExit(f"attune {' '.join(arguments)}:\n{result.stdout}{result.stderr}")
        return result

    def json(self, *arguments: str) -> Any:
        """Run one command with --json and return what it printed."""
        return json.loads(self.run(*arguments, "--json").stdout)

    def endpoints(self) -> dict[str, str]:
        """Return the addresses of what runs."""
        addresses: dict[str, str] = json.loads((self.home / "endpoints.json").read_text())
        return addresses

    def processes(self) -> list[psutil.Process]:
        """Return every live process that was started for this home, whoever its parent is."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get("ATTUNE_HOME") == str(self.home)
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def name_of(self, process: psutil.Process) -> str:
        """Return the record that a process belongs to, by its group; its title otherwise."""
        try:
            group = os.getpgid(process.pid)
        except ProcessLookupError:
            return "gone"
        for path in (self.home / "run").glob("*.json"):
            try:
                if json.loads(path.read_text()).get("pid") == group:
                    return "run" if path.stem.startswith("run-") else path.stem
            except (OSError, ValueError):
                continue
        return "command"


@contextmanager
def a_system() -> Iterator[System]:
    """Yield a system with an empty home; take it down at the end."""
    with tempfile.TemporaryDirectory(prefix="attune-bench-") as folder:
        system = System(Path(folder).resolve())
        try:
            yield system
        finally:
            system.run("down", check=False)
