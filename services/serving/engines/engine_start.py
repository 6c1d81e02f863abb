"""Writes down the present process as the engine, then becomes it.

Run by `engine` as a process of its own: were the record written by the parent, a parent that dies
in between would leave an engine that nobody knows of.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from services.common.processes import ProcessFolder


def main(arguments: list[str]) -> None:
    """Record this process, then execute a command in its place.

    Args:
        arguments: Home folder, name of the record, then the command with an absolute program.
    """
    home, name, *command = arguments
    ProcessFolder(Path(home)).record_self(name)
    os.chdir(home)  # Python puts the working folder on the engine's import path.
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
