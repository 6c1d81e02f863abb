"""Has the base model put at hand by the trainer's command, and tells how far that is."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable

from cli.home import Home
from cli.launcher.cores import divide, usable_cores
from cli.launcher.launch import Launch
from cli.launcher.process_end import process_ended
from cli.launcher.process_plan import shared_environment
from cli.launcher.recorded import recorded_command
from cli.log_files import last_words, open_log, read_tail
from services.common.errors import Unavailable
from services.common.processes import ProcessFolder

NAME = "base-model"
GRACE_S = 5.0
LINE_BYTES_MAX = 1024 * 1024

Progress = Callable[[int, int, float | None], None]
"""Takes what is done, out of how much (0 when unknown), and the loss if there is one."""


async def ensure_base_model(home: Home, launch: Launch, progress: Progress) -> None:
    """Return once all files of the base model are here.

    Args:
        home: Of the installation.
        launch: Names the model.
        progress: Called as it goes on.

    Raises:
        Unavailable: If it cannot be had, with the reason.
    """
    folder = ProcessFolder(home.root)
    # Somebody else may be at it; what they make need not be made twice.
    if (other := folder.find(NAME)) is not None and other.is_alive():
        await process_ended(other.pid)
    source = ("--from", launch.source) if launch.source else ()
    module = (sys.executable, "-m", "services.trainer.models.base_models")
    environment = shared_environment(launch, home, os.environ)
    with open_log(home.log(NAME)) as log:
        offset = log.tell()
        process = await asyncio.create_subprocess_exec(
            *recorded_command(NAME, home.root, (*module, "ensure", launch.base_model, *source)),
            env=environment | divide(usable_cores()).environment(),
            cwd=home.root,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            limit=LINE_BYTES_MAX,
        )
    try:
        await _follow(process, progress)
        code = await process.wait()
    finally:
        if process.returncode is None:
            await _end(process, folder)
        folder.forget(NAME)
    if code != 0:
        reason, _ = last_words(read_tail(home.log(NAME), offset))
        raise Unavailable(
            f"{launch.base_model} could not be put at hand: {reason or 'no reason was given'} "
            f"(log: {home.log(NAME)})",
            reason="BASE_MODEL",
            model=launch.base_model,
        )


async def _end(process: asyncio.subprocess.Process, folder: ProcessFolder) -> None:
    record = folder.find(NAME)
    if record is not None and record.pid == process.pid:
        await asyncio.to_thread(folder.end, record, GRACE_S)
    else:
        process.kill()  # It has not come to writing its record.
    await process.communicate()  # Its pipe must not outlive the event loop.


async def _follow(process: asyncio.subprocess.Process, progress: Progress) -> None:
    assert process.stdout is not None
    async for line in process.stdout:
        try:
            said = json.loads(line)
        except ValueError:
            continue  # Some library talks on standard output too.
        if isinstance(said, dict) and "done" in said:
            progress(int(said["done"]), int(said.get("total") or 0), said.get("loss"))
