"""Finds the job of a plan and follows it, also over a restart of the scheduler."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from attune.scheduler.v1 import scheduler_pb2
from attune.spec.v1 import spec_pb2

from cli.client import Client
from cli.resource_names import PROJECT, short
from cli.views.job import asks
from services.common.errors import Unavailable
from services.common.peers import call, stream

FOUND_TIMEOUT_S = 45.0
"""A lost event is made good after 30 s at the latest."""
POLL_S = 0.2
AWAY_MAX_S = 60.0
FINAL = frozenset(
    (
        scheduler_pb2.Job.STATE_SUCCEEDED,
        scheduler_pb2.Job.STATE_FAILED,
        scheduler_pb2.Job.STATE_CANCELLED,
    )
)


async def job_of_spec(client: Client, approved: spec_pb2.Spec) -> scheduler_pb2.Job:
    """Return the job of an approved plan as soon as there is one.

    Raises:
        Unavailable: If there is none within 45 s.
    """
    request = scheduler_pb2.ListJobsRequest(parent=PROJECT, spec=approved.name)
    deadline = time.monotonic() + FOUND_TIMEOUT_S
    while time.monotonic() < deadline:
        for job in (await call(client.scheduler.ListJobs, request)).jobs:
            if job.spec_hash == approved.hash:
                return job  # type: ignore[no-any-return]
        await asyncio.sleep(POLL_S)
    raise Unavailable(
        f"No job was made from {short(approved.name)} within {FOUND_TIMEOUT_S:.0f} s. "
        "See `attune status`; the approval is kept, and the job follows.",
        reason="NO_JOB",
        spec=approved.name,
    )


async def watch_job(client: Client, name: str) -> AsyncIterator[scheduler_pb2.Job]:
    """Yield a job, then its every change, up to a final state or one that a person must answer.

    Raises:
        Unavailable: If the scheduler stays away for a minute.
    """
    request = scheduler_pb2.WatchJobRequest(name=name)
    heard = time.monotonic()
    while True:
        try:
            async for job in stream(client.scheduler.WatchJob, request):
                heard = time.monotonic()
                yield job
                if job.state in FINAL or asks(job):
                    return
        except Unavailable:
            if time.monotonic() - heard > AWAY_MAX_S:
                raise
        await asyncio.sleep(POLL_S)  # The scheduler is being restarted.
