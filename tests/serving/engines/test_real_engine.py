"""Serving as a process, on the real vLLM: one start of the engine for all there is to show."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID, uuid4

import grpc
import openai
import psutil
import pytest
from attune.events.v1 import events_pb2
from attune.serving.v1 import deployment_pb2, model_pb2
from attune.serving.v1.deployment_pb2_grpc import DeploymentServiceStub
from attune.serving.v1.model_pb2_grpc import ModelServiceStub
from google.protobuf.json_format import MessageToDict

from services.common.artefacts import MANIFEST, Artefacts, write_manifest
from services.common.events import Bus, subject_of
from services.common.processes import ProcessFolder, group_members
from services.serving.registry.parity import INCOMPLETE
from tests.servers import NatsServer, free_port, wait_for_port
from tests.serving.parts import a_job

MODEL = "attune/tiny"
READY_TIMEOUT_S = 400.0
POLL_S = 0.2
ROOT = Path(__file__).parents[3]


class ServingProcess:
    """`python -m services.serving` with a home of its own."""

    def __init__(self, home: Path, nats_url: str) -> None:
        self.home = home
        home.mkdir()
        self.port, self.http_port = free_port(), free_port()
        self.processes = ProcessFolder(home)
        self._process: subprocess.Popen | None = None
        self._environment = {
            **os.environ,
            "ATTUNE_HOME": str(home),
            "ATTUNE_NATS_URL": nats_url,
            "ATTUNE_SERVING_PORT": str(self.port),
            "ATTUNE_SERVING_HTTP_PORT": str(self.http_port),
            "ATTUNE_SERVING_ENGINE_PORT": "0",
            "ATTUNE_SERVING_ENGINE_CPUS": str(max(os.sched_getaffinity(0))),
            "ATTUNE_SERVING_SCHEDULER_ADDRESS": f"127.0.0.1:{free_port()}",
            "ATTUNE_SERVING_BASE_MODEL": MODEL,
        }
        channel = grpc.insecure_channel(f"127.0.0.1:{self.port}")
        self.models = ModelServiceStub(channel)
        self.deployments = DeploymentServiceStub(channel)

    def start(self) -> None:
        with (self.home / "serving.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.serving"],
                env=self._environment,
                stderr=log,
                start_new_session=True,
            )
        wait_for_port(self.port)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=60)

    def end_all(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        for record in self.processes.all():
            self.processes.end(record, grace_s=10)

    def settled(self, job: str) -> model_pb2.ModelVersion:
        """Return the one version of a job once it is READY or REJECTED."""
        request = model_pb2.ListModelVersionsRequest(parent="projects/default/models/-", job=job)

        def read():
            return self.models.ListModelVersions(request, timeout=10).model_versions

        found = until(read, lambda v: v and v[0].state != model_pb2.ModelVersion.STATE_STAGED)
        assert len(found) == 1
        return found[0]


def until(read, holds):
    """Poll another process until what it says holds."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not holds(found := read()):
        assert time.monotonic() < deadline, found
        time.sleep(POLL_S)  # It cannot tell us by itself.
    return found


def make_tiny_model(artefacts: Artefacts) -> str:
    """Return the hash of an adapter whose base lies in place too."""
    command = [sys.executable, str(Path(__file__).parents[1] / "tiny_model.py")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    made = subprocess.run(
        [*command, str(artefacts.root), MODEL],
        env=environment,
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    )
    return json.loads(made.stdout)["adapter_sha256"]


def tamper(artefacts: Artefacts, adapter_sha256: str) -> str:
    """Return the hash of a copy whose parity file expects one other log-probability."""
    staged = artefacts.root / "adapters" / "tampered"
    shutil.copytree(artefacts.adapter(adapter_sha256), staged)
    (staged / MANIFEST).unlink()
    lines = [json.loads(row) for row in (staged / "parity.jsonl").read_text().splitlines()]
    lines[1]["logprobs"][0] += 0.5
    (staged / "parity.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    tampered = write_manifest(staged, {"run": "tampered"})
    staged.rename(artefacts.adapter(tampered))
    return tampered


async def publish(nats_url: str, *jobs) -> None:
    """Publish `job.succeeded` of each job, twice."""
    bus = Bus(nats_url, "test")
    for job in jobs:
        data = MessageToDict(events_pb2.JobSucceeded(job=job), preserving_proto_field_name=True)
        for _ in range(2):
            event_id = str(uuid4())
            body = {"id": event_id, "type": "attune.v1.job.succeeded", "subject": job.name}
            payload = json.dumps({**body, "data": data}).encode()
            await bus.publish(subject_of("default", "job.succeeded", "j1"), payload, event_id)
    await bus.close()


@pytest.fixture
def serving(tmp_path, nats_server: NatsServer):
    process = ServingProcess(tmp_path / "home", nats_server.url)
    yield process
    process.end_all()


@pytest.mark.system
async def test_from_a_job_to_an_answer_on_the_real_engine(serving, nats_url):
    serving.start()  # Before there is a model: it waits for one.
    artefacts = Artefacts(serving.home / "artefacts")
    adapter_sha256 = make_tiny_model(artefacts)
    jobs = [
        a_job(adapter, name=f"j{index}")
        for index, adapter in enumerate((adapter_sha256, tamper(artefacts, adapter_sha256)))
    ]
    for job in jobs:
        job.base_model.id = MODEL
    await publish(nats_url, *jobs)

    good, bad = (serving.settled(job.name) for job in jobs)
    assert good.state == model_pb2.ModelVersion.STATE_READY, good.state_reason
    assert good.parity.prompt_count == 5
    assert good.parity.max_logprob_difference < 1e-3
    assert bad.state == model_pb2.ModelVersion.STATE_REJECTED
    assert bad.parity.text_mismatch_count == 0
    assert bad.parity.max_logprob_difference == pytest.approx(0.5, abs=1e-3)

    deployed = serving.deployments.CreateDeployment(
        deployment_pb2.CreateDeploymentRequest(
            parent="projects/default",
            deployment_id="tickets",
            deployment={"model_version": good.name, "target": "shared"},
            request_id=str(UUID(int=1)),
        ),
        timeout=10,
    )
    client = openai.OpenAI(base_url=deployed.endpoint, api_key="none")
    line = json.loads(
        (artefacts.adapter(adapter_sha256) / "parity.jsonl").read_text().splitlines()[0]
    )
    check_answers(client, line)

    engine = serving.processes.find("engine")
    serving.kill()
    assert engine.is_alive()
    serving.start()
    check_answers(client.with_options(max_retries=10), line)
    assert serving.processes.find("engine") == engine

    assert len(group_members(engine)) >= 2  # vLLM's own children are to end with it.
    assert serving.stop() == 0
    assert group_members(engine) == []
    assert not [
        process for process in psutil.process_iter() if str(serving.home) in _command(process)
    ]


def check_answers(client: openai.OpenAI, line: dict) -> None:
    """Check that the alias answers as the trainer's parity file says, at once and streamed."""
    asked = {"model": "tickets", "messages": line["messages"], "temperature": 0, "max_tokens": 48}
    answer = client.chat.completions.create(**asked)
    expected = line["answer"].rstrip(INCOMPLETE)
    assert answer.choices[0].message.content.rstrip(INCOMPLETE) == expected
    assert answer.model == "tickets"
    pieces = list(client.chat.completions.create(**asked, stream=True))
    streamed = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert streamed.rstrip(INCOMPLETE) == expected
    assert {piece.model for piece in pieces} == {"tickets"}
    base = client.chat.completions.create(**{**asked, "model": f"base:{MODEL}"})
    assert base.choices[0].message.content.rstrip(INCOMPLETE) != expected


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
