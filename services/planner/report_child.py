"""Has a report made by a process of its own, and answers what that one asks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable, Sequence

from attune.planner.v1 import dataset_pb2

from services.planner.dataset.report_job import HEAD, Counts, Job, Letter, frame

PROGRAM = "services.planner.dataset.report_process"
REPORT_S_MAX = 2 * 3600.0
"""Longest time for one report: 16 GiB at 20 MB/s take a quarter of an hour, its sample minutes."""


class ReportFault(Exception):
    """The process ended without a report."""


async def make_report(
    job: Job,
    tell: Callable[[float], Awaitable[None]],
    count: Callable[[Sequence[str]], Awaitable[Counts]],
) -> dataset_pb2.DatasetReport:
    """Return a report; the rows of a file without errors are written by then.

    The process has ended when this returns or raises, cancelled or not.

    Args:
        job: What to report on.
        tell: Told the share that is made, in [0, 1].
        count: Counts the tokens of rows, each a JSON object.

    Raises:
        ReportFault: If the process failed or was ended; the text is for the log.
        TimeoutError: If it takes longer than REPORT_S_MAX.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", PROGRAM, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(REPORT_S_MAX):
            return await _talk(job, tell, count, process.stdin, process.stdout)
    except (asyncio.IncompleteReadError, ConnectionError):
        raise ReportFault(f"its process ended with {await process.wait()}") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _talk(
    job: Job,
    tell: Callable[[float], Awaitable[None]],
    count: Callable[[Sequence[str]], Awaitable[Counts]],
    to_process: asyncio.StreamWriter,
    from_process: asyncio.StreamReader,
) -> dataset_pb2.DatasetReport:
    to_process.write(frame(Letter.JOB, job.to_bytes()))
    await to_process.drain()
    while True:
        letter, size = HEAD.unpack(await from_process.readexactly(HEAD.size))
        body = await from_process.readexactly(size)
        match Letter(letter):
            case Letter.PROGRESS:
                await tell(float(body))
            case Letter.ROWS:
                counts = await count(json.loads(body))
                to_process.write(frame(Letter.COUNTS, counts.to_bytes()))
                await to_process.drain()
            case Letter.REPORT:
                return dataset_pb2.DatasetReport.FromString(body)
            case _:
                raise ReportFault(body.decode(errors="replace"))
