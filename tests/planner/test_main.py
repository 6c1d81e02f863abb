"""The planner as a process of its own, with none of the others there."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common import peers as clients
from services.common.processes import ProcessFolder
from services.planner.__main__ import message_reader
from services.planner.reading.interpreter import DeterministicReader
from services.planner.settings import Settings
from tests.servers import free_port, wait_for_port

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "services.planner"]


def environment(home: Path, **settings: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ATTUNE_")}
    path = os.pathsep.join([str(ROOT), str(ROOT / "protos")])
    return {**kept, "PYTHONPATH": path, "ATTUNE_HOME": str(home), **settings}


@pytest.fixture
def running(tmp_path):
    """The process and its port; every other service's address leads nowhere."""
    port = free_port()
    settings = environment(
        tmp_path,
        ATTUNE_PLANNER_PORT=str(port),
        ATTUNE_PLANNER_SCHEDULER_ADDRESS=f"127.0.0.1:{free_port()}",
        ATTUNE_PLANNER_TRAINER_ADDRESS=f"127.0.0.1:{free_port()}",
        ATTUNE_NATS_URL=f"nats://127.0.0.1:{free_port()}",
    )
    with subprocess.Popen(COMMAND, cwd=ROOT, env=settings, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for_port(port)
            yield process, port
        finally:
            process.kill()


@pytest.mark.system
async def test_it_starts_without_the_others_reports_healthy_and_stops_when_asked(running, tmp_path):
    process, port = running
    channel = clients.channel(f"127.0.0.1:{port}")
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("PlannerService", "DatasetService"):
        request = health_pb2.HealthCheckRequest(service=f"attune.planner.v1.{service}")
        answer = await clients.call(stub.Check, request)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    await channel.close()
    record = ProcessFolder(tmp_path).find("planner")
    assert record is not None
    assert record.pid == process.pid
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_help_names_every_setting(tmp_path):
    found = subprocess.run(
        [*COMMAND, "--help"], cwd=ROOT, env=environment(tmp_path), capture_output=True, check=True
    )
    for name in Settings.model_fields:
        assert name.upper() in found.stdout.decode()
    assert list(tmp_path.iterdir()) == []


def test_a_setting_that_does_not_exist_is_refused_in_one_line(tmp_path):
    settings = environment(tmp_path, ATTUNE_PLANNER_PROT="1")
    found = subprocess.run(COMMAND, cwd=ROOT, env=settings, capture_output=True, check=False)
    assert found.returncode == 1
    assert found.stderr.decode().strip() == (
        "ATTUNE_PLANNER_PROT is not a setting. --help lists those that are."
    )


def test_a_language_model_reads_only_where_one_is_configured():
    assert isinstance(message_reader(Settings.read("planner", {}), ()), DeterministicReader)
    endpoint = {"ATTUNE_PLANNER_LLM_BASE_URL": "http://127.0.0.1:1/v1"}
    with pytest.raises(SystemExit, match="ATTUNE_PLANNER_LLM_MODEL is empty"):
        message_reader(Settings.read("planner", endpoint), ())
    settings = Settings.read("planner", {**endpoint, "ATTUNE_PLANNER_LLM_MODEL": "m"})
    assert type(message_reader(settings, ())).__name__ == "LanguageModelReader"


def test_the_key_of_a_language_model_is_never_shown():
    settings = Settings.read("planner", {"ATTUNE_PLANNER_LLM_API_KEY": "sk-secret"})
    assert settings.llm_api_key.get_secret_value() == "sk-secret"
    assert "sk-secret" not in repr(settings)


def test_base_models_are_read_from_a_list():
    settings = Settings.read("planner", {"ATTUNE_PLANNER_BASE_MODELS": "attune/starter, org/own,"})
    assert settings.allowed_models == ("attune/starter", "org/own")
