"""Becomes another program after writing down that it runs: `python -m cli.launcher.recorded`.

So there is no moment in which a process runs that `attune down` cannot find: it is recorded before
it does anything, and if whoever started it has died meanwhile, it does not begin.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from services.common.processes import ProcessFolder


def recorded_command(name: str, home: Path, command: tuple[str, ...]) -> list[str]:
    """Return the command that runs `command` under a record.

    Args:
        name: Of the record.
        home: Holds the records.
        command: Program by absolute path, and its arguments.
    """
    own = [sys.executable, "-m", "cli.launcher.recorded", name, str(home), str(os.getpid())]
    return [*own, *command]


def main(arguments: list[str]) -> None:
    """Record this process and become the command.

    Raises:
        SystemExit: If the one who started it is gone, or the program cannot be started.
    """
    name, home, parent, *command = arguments
    folder = ProcessFolder(Path(home))
    folder.record_self(name)
    if os.getppid() != int(parent):
        folder.forget(name)
        raise SystemExit(f"{name}: whoever started it is gone.")
    try:
        os.execv(command[0], command)
    except OSError as error:
        folder.forget(name)
        raise SystemExit(
            f"{command[0]} cannot be started ({error.strerror}). Run `make setup`."
        ) from None


if __name__ == "__main__":
    main(sys.argv[1:])
