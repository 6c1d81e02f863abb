"""The service as a process: it starts, it stops, and it leaves nobody behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from attune.scheduler.v1.scheduler_pb2 import PHASE_TRAIN
from attune.scheduler.v1.worker_pb2 import FinishRunRequest
from attune.trainer.v1 import render_pb2, render_pb2_grpc

from services.common import peers
from services.common.processes import ProcessFolder
from tests.servers import free_port
from tests.trainer import tiny
from tests.trainer.scheduler_server import SchedulerServer

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 180.0


def environ(home: Path, scheduler: str, port: int) -> dict[str, str]:
    ours = {
        "ATTUNE_HOME": str(home),
        "ATTUNE_ARTEFACTS": str(home / "artefacts"),
        "ATTUNE_TRAINER_PORT": str(port),
        "ATTUNE_TRAINER_SCHEDULER_ADDRESS": scheduler,
        "ATTUNE_TRAINER_MLFLOW_URL": "",
        "ATTUNE_TRAINER_NODE": "node-test",
    }
    return {**os.environ, **ours}


def family(pid: int) -> set[psutil.Process]:
    process = psutil.Process(pid)
    return {process, *process.children(recursive=True)}


async def gone(processes: set[psutil.Process]) -> None:
    """Wait until none of them is there; they are not our children."""
    async with asyncio.timeout(TIMEOUT_S):
        while any(one.is_running() and one.status() != "zombie" for one in processes):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def test_help_prints_every_setting():
    command = [sys.executable, "-m", "services.trainer", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "ATTUNE_TRAINER_SCHEDULER_ADDRESS" in done.stdout


def test_a_wrong_setting_is_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "services.trainer"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "ATTUNE_TRAINER_THREADS": "none"},
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.system
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_whatever_ends_the_service_ends_all_that_it_started(
    tmp_path, artefacts, revision, number
):
    scheduler, port = SchedulerServer(), free_port()
    train = tiny.put_rows(artefacts, tiny.rows(72))
    spec = tiny.a_spec(revision, train, tiny.put_rows(artefacts, tiny.rows(6)), epoch_count=100.0)
    async with scheduler.serving() as address:
        (tmp_path / "home").mkdir()
        settings = {**environ(tmp_path / "home", address, port)}
        settings["ATTUNE_ARTEFACTS"] = str(artefacts.root)
        with (tmp_path / "log").open("wb") as log:
            service = subprocess.Popen(  # noqa: ASYNC220
                [sys.executable, "-m", "services.trainer"], cwd=ROOT, env=settings, stderr=log
            )
        await scheduler.queue.put(tiny.a_lease(spec))
        await asyncio.wait_for(scheduler.until_phase(PHASE_TRAIN, 2), TIMEOUT_S)
        channel = peers.channel(f"127.0.0.1:{port}")
        request = render_pb2.CountTokensRequest(
            base_model=tiny.MODEL, rows=[json.dumps(row) for row in tiny.rows(2)]
        )
        render = render_pb2_grpc.RenderServiceStub(channel)
        await peers.call(render.CountTokens, request, timeout_s=60)
        await channel.close(None)
        processes = family(service.pid)
        folder = ProcessFolder(tmp_path / "home")
        assert {record.name for record in folder.all()} == {"trainer", "run-j1-s0"}
        # Itself, the fork server, the resource tracker, the run and the rendering process.
        assert len(processes) == 5
        os.kill(service.pid, number)
        code = await asyncio.to_thread(service.wait)
        await gone(processes)
        if number == signal.SIGTERM:
            assert code == 0, (tmp_path / "log").read_text()
            request = scheduler.outcomes.get_nowait()
            assert request.outcome == FinishRunRequest.OUTCOME_LOST
    lines = (tmp_path / "log").read_text().splitlines()
    assert any("listening on 127.0.0.1" in line for line in lines)
