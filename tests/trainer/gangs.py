"""Starts gangs that train by a recipe alone; see `sharded_rank`."""

import json
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tests.servers import free_port

TIMEOUT_S = 120.0
"""Longest that one process of a gang may take."""


def train(folder: Path, size: int, name: str, **changes: Any) -> list[dict[str, Any]]:
    """Train in so many processes; returns what each of them has noted, by rank.

    Args:
        folder: With the model in `model`.
        size: Processes.
        name: Of the folder for notes and checkpoints, in that folder.
        changes: Of the `Task`.
    """
    port, context = free_port(), get_context("forkserver")
    tasks = [
        {"rank": rank, "size": size, "folder": str(folder), "port": port, "name": name, **changes}
        for rank in range(size)
    ]
    processes = [context.Process(target=_execute, args=(task,)) for task in tasks]
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join(TIMEOUT_S)
    finally:
        for process in processes:
            process.kill()
    logs = [(folder / name / f"log-{rank}").read_text()[-3000:] for rank in range(size)]
    assert [process.exitcode for process in processes] == [0] * size, "\n".join(logs)
    return [json.loads((folder / name / f"notes-{rank}.json").read_text()) for rank in range(size)]


def _execute(task: dict[str, Any]) -> None:
    from tests.trainer.sharded_rank import Task, execute

    execute(Task(**task))
