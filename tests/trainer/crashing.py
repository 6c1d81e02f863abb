"""Runs that are changed on purpose before they begin, in processes forked from the warm server."""

from __future__ import annotations

import os
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from services.trainer.crash_points import VARIABLE

JOIN_S = 120.0


def start(target: Callable[..., None], *arguments: object):
    """Start a function in a process that has the libraries; returns it and our end of its pipe."""
    context = get_context("forkserver")
    ours, theirs = context.Pipe(duplex=True)
    process = context.Process(target=target, args=(*arguments, theirs))
    process.start()
    theirs.close()
    return process, ours


def finish(target: Callable[..., None], *arguments: object) -> int:
    """Execute a function to the end of its process and return the exit code."""
    process, ours = start(target, *arguments)
    process.join(JOIN_S)
    ours.close()
    assert process.exitcode is not None
    return process.exitcode


def run(folder: Path, crash_at: str, connection: Connection) -> None:
    """Execute an attempt that dies at a named point; an empty name lets it live."""
    from services.trainer import run_process

    os.environ.pop(VARIABLE, None)
    if crash_at:
        os.environ[VARIABLE] = crash_at
    run_process.main(folder, connection)
