"""The service as a process: starts without NATS and planner, answers, stops when asked."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from attune.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common import peers
from services.scheduler.settings import SchedulerSettings
from tests.servers import free_port

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 30


async def start(home, port, *arguments):
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}",
        "ATTUNE_HOME": str(home),
        "ATTUNE_NATS_URL": f"nats://127.0.0.1:{free_port()}",
        "ATTUNE_SCHEDULER_PORT": str(port),
        "ATTUNE_SCHEDULER_PLANNER_ADDRESS": f"127.0.0.1:{free_port()}",
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.scheduler", *arguments),
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def until_listening(process):
    while line := await asyncio.wait_for(process.stderr.readline(), TIMEOUT_S):
        if b"listens" in line:
            return
    raise AssertionError("it ended without listening")


@pytest.mark.system
async def test_starts_alone_answers_and_stops(tmp_path):
    port = free_port()
    process = await start(tmp_path, port)
    try:
        await until_listening(process)
        assert (tmp_path / "run" / "scheduler.json").exists()
        async with peers.channel(f"127.0.0.1:{port}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            jobs = scheduler_pb2_grpc.SchedulerServiceStub(channel)
            request = scheduler_pb2.ListJobsRequest(parent="projects/default")
            assert not (await peers.call(jobs.ListJobs, request)).jobs
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), TIMEOUT_S) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.system
async def test_help_lists_every_setting(tmp_path):
    process = await start(tmp_path, 0, "--help")
    output, _ = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    for name in SchedulerSettings.model_fields:
        assert f"_{name.upper()}".encode() in output


@pytest.mark.parametrize("renew", [{}, {"ATTUNE_SCHEDULER_RENEW_S": "5"}])
def test_renewal_must_come_before_the_lease_ends(renew):
    with pytest.raises(SystemExit, match=r"RENEW_S=.* must be less than LEASE_S, 5"):
        SchedulerSettings.read("scheduler", {"ATTUNE_SCHEDULER_LEASE_S": "5", **renew})


def test_database_lies_in_the_home_unless_it_is_named(tmp_path):
    settings = SchedulerSettings.read("scheduler", {"ATTUNE_HOME": str(tmp_path)})
    assert settings.store_url == f"sqlite+aiosqlite:///{tmp_path / 'scheduler.db'}"
    named = settings.model_copy(update={"database_url": "postgresql+asyncpg://h/n"})
    assert named.store_url == "postgresql+asyncpg://h/n"
