"""Reports are made by a process of their own, whatever becomes of it or of the planner."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from attune.planner.v1 import dataset_pb2, dataset_pb2_grpc

from services.common import peers as clients
from services.planner.report_child import PROGRAM
from tests.planner.peer_servers import files_under, some_rows
from tests.planner.planner_service import PARENT, running_planner
from tests.planner.test_main import COMMAND, environment
from tests.servers import free_port, wait_for_port

ROOT = Path(__file__).parents[2]
GOOD = some_rows(12)
ANALYSING = dataset_pb2.Dataset.STATE_ANALYSING
READY, INVALID = dataset_pb2.Dataset.STATE_READY, dataset_pb2.Dataset.STATE_INVALID


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'planner.db'}"


def reporters(parent: int) -> list[psutil.Process]:
    children = psutil.Process(parent).children()
    return [child for child in children if PROGRAM in child.cmdline()]


async def until(holds) -> None:
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.02)  # Processes come and go in their own time; they tell nobody.
    raise AssertionError("it never came true")


async def stored(service, content: bytes = GOOD) -> dataset_pb2.Dataset:
    """Upload a file and return it as soon as its process asks for tokens, which never come."""
    service.peers.trainer.answers.clear()
    header = dataset_pb2.UploadHeader(
        parent=PARENT, display_name="x.jsonl", request_id=str(uuid4())
    )
    messages = [
        dataset_pb2.UploadDatasetRequest(header=header),
        dataset_pb2.UploadDatasetRequest(chunk=content),
    ]
    dataset = await service.upload_stream(messages)
    await until(lambda: service.peers.trainer.batches)
    assert len(reporters(os.getpid())) == 1
    return dataset


async def test_a_killed_report_is_told_and_made_again_when_the_file_comes_again(tmp_path, url):
    async with running_planner(tmp_path, url) as service:
        dataset = await stored(service)
        reporters(os.getpid())[0].kill()
        service.peers.trainer.answers.set()
        failed = await service.analysed(dataset.name)
        assert failed.state == INVALID
        assert [each.code for each in failed.report.finding_counts] == ["report_failed"]
        again = await service.upload(GOOD)
        assert (again.name, again.state) == (dataset.name, READY)
        assert again.report.row_count == 12


async def test_signals_to_the_whole_group_leave_the_report_to_the_planner(tmp_path, url):
    async with running_planner(tmp_path, url) as service:
        dataset = await stored(service)
        for number in (signal.SIGTERM, signal.SIGINT):
            reporters(os.getpid())[0].send_signal(number)
        service.peers.trainer.answers.set()
        assert (await service.analysed(dataset.name)).state == READY


async def test_a_planner_that_stops_ends_the_process_and_the_report_still_waits(tmp_path, url):
    async with running_planner(tmp_path, url) as service:
        dataset = await stored(service)
    assert reporters(os.getpid()) == []
    async with running_planner(tmp_path, url) as service:
        assert (await service.analysed(dataset.name)).state == READY


async def test_a_dataset_that_is_deleted_meanwhile_leaves_nothing(tmp_path, url):
    async with running_planner(tmp_path, url) as service:
        dataset = await stored(service)
        request = dataset_pb2.DeleteDatasetRequest(name=dataset.name, request_id=str(uuid4()))
        await clients.call(service.datasets.DeleteDataset, request)
        assert reporters(os.getpid()) == []
        assert files_under(service.artefacts) == []
        service.peers.trainer.answers.set()
        assert (await service.upload(GOOD)).state == READY


async def test_a_folder_that_a_deletion_left_half_way_is_replaced(tmp_path, url):
    async with running_planner(tmp_path, url) as service:
        dataset = await service.upload(GOOD)
        request = dataset_pb2.DeleteDatasetRequest(name=dataset.name, request_id=str(uuid4()))
        await clients.call(service.datasets.DeleteDataset, request)
        folder = service.artefacts / "datasets" / dataset.sha256
        folder.mkdir()
        (folder / "rows.jsonl").write_bytes(b"half")
        assert (await service.upload(GOOD)).state == READY
        assert (folder / "rows.jsonl").read_bytes() == GOOD


async def test_a_previous_dataset_that_is_gone_costs_the_difference_only(tmp_path, url):
    async with running_planner(tmp_path, url) as service:
        first = await service.upload(GOOD)
        (service.artefacts / "datasets" / first.sha256 / "original").unlink()
        second = await service.upload(some_rows(13, start=1), previous_dataset=first.name)
        assert second.state == READY
        assert not second.report.HasField("difference")


def test_the_process_ends_when_its_input_closes():
    command = [sys.executable, "-m", PROGRAM]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE) as process:
        process.stdin.close()
        assert process.wait(20) == 1


@pytest.mark.system
async def test_a_planner_killed_in_mid_report_leaves_no_process_and_makes_it_anew(tmp_path):
    port = free_port()
    settings = environment(
        tmp_path,
        ATTUNE_PLANNER_PORT=str(port),
        ATTUNE_PLANNER_SCHEDULER_ADDRESS=f"127.0.0.1:{free_port()}",
        ATTUNE_PLANNER_TRAINER_ADDRESS=f"127.0.0.1:{free_port()}",
        ATTUNE_NATS_URL=f"nats://127.0.0.1:{free_port()}",
    )
    channel = clients.channel(f"127.0.0.1:{port}")
    datasets = dataset_pb2_grpc.DatasetServiceStub(channel)

    async def pieces():
        header = dataset_pb2.UploadHeader(
            parent=PARENT, display_name="x.jsonl", request_id=str(uuid4())
        )
        yield dataset_pb2.UploadDatasetRequest(header=header)
        rows = some_rows(30_000)
        for start in range(0, len(rows), 500_000):
            yield dataset_pb2.UploadDatasetRequest(chunk=rows[start : start + 500_000])

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(COMMAND, cwd=ROOT, env=settings, stderr=subprocess.DEVNULL)

    with start() as killed:
        wait_for_port(port)
        dataset = await clients.call(datasets.UploadDataset, pieces(), timeout_s=60)
        await until(lambda: reporters(killed.pid))
        reporter = reporters(killed.pid)[0]
        killed.send_signal(signal.SIGKILL)
    await until(lambda: not reporter.is_running())
    with start() as restarted:
        try:
            wait_for_port(port)
            request = dataset_pb2.GetDatasetRequest(name=dataset.name)
            for _ in range(600):
                found = await clients.call(datasets.GetDataset, request)
                if found.state != ANALYSING:
                    break
                await asyncio.sleep(0.1)
            assert found.report.row_count == 30_000
        finally:
            restarted.kill()
            await channel.close()
