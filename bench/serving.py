"""A serving of its own for a bench: NATS, the service, and vLLM or an engine that answers at once.

The service runs as a process, as it does anywhere; versions come to it as they do in the journey,
by `job.succeeded`. Nothing is left afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from attune.events.v1 import events_pb2
from attune.scheduler.v1 import scheduler_pb2
from attune.serving.v1 import deployment_pb2, engine_pb2, model_pb2
from attune.serving.v1.deployment_pb2_grpc import DeploymentServiceStub
from attune.serving.v1.engine_pb2_grpc import EngineServiceStub
from attune.serving.v1.model_pb2_grpc import ModelServiceStub
from google.protobuf.json_format import MessageToDict

from bench.system import ROOT
from services.common.artefacts import Artefacts, write_manifest
from services.common.errors import NotFound, Unavailable
from services.common.events import Bus, EventsAway, subject_of
from services.common.peers import call, channel
from services.common.processes import ProcessFolder
from services.common.settings import Settings
from services.serving.engines.base_model import find_base_model

MODEL = "attune/starter"
PROJECT = "projects/default"
CALL_TIMEOUT_S = 30.0
READY_TIMEOUT_S = 400.0
PUBLISH_TIMEOUT_S = 60.0
POLL_S = 0.2
GRACE_S = 60.0
PARITY_TOLERANCE = 0.01


@dataclass(frozen=True)
class Setting:
    """What a serving is started with."""

    is_real: bool
    """Whether vLLM answers; else an engine that answers at once."""
    adapter_count: int
    starter: Path | None = None
    """An artefact root that has the starter; it is made where there is none."""


class Serving:
    """One service with its engine."""

    def __init__(self, folder: Path, setting: Setting) -> None:
        """Prepare; `start` does the rest."""
        folder = folder.resolve()
        self.home = folder / "home"
        self.artefacts = Artefacts(self.home / "artefacts")
        self.adapters: list[str] = []
        """Hashes of those that were made, in order."""
        self.engine_start_s = 0.0
        """From the start of the service until its engine made a token."""
        self.url, self.engine_url = "", ""
        self._setting = setting
        self._folder = folder
        self._processes: list[subprocess.Popen[Any]] = []
        self._revision = ""
        self._ports = {name: free_port() for name in ("nats", "grpc", "http")}
        opened = channel(f"127.0.0.1:{self._ports['grpc']}")
        self.models = ModelServiceStub(opened)
        self.deployments = DeploymentServiceStub(opened)
        self._engines = EngineServiceStub(opened)
        self._channel = opened
        self._bus = Bus(f"nats://127.0.0.1:{self._ports['nats']}", "bench")

    async def start(self) -> None:
        """Start everything and wait for the engine."""
        self._make_artefacts()
        nats = Path(sys.executable).parent / "nats-server"
        store = str(self._folder / "nats")
        listening = ["-a", "127.0.0.1", "-p", str(self._ports["nats"])]
        self._spawn("nats", [str(nats), *listening, "-js", "-sd", store], {})
        environment = {
            "ATTUNE_HOME": str(self.home),
            "ATTUNE_NATS_URL": f"nats://127.0.0.1:{self._ports['nats']}",
            "ATTUNE_SERVING_PORT": str(self._ports["grpc"]),
            "ATTUNE_SERVING_HTTP_PORT": str(self._ports["http"]),
            "ATTUNE_SERVING_ENGINE_PORT": "0",
            "ATTUNE_SERVING_ENGINE_CPUS": str(max(os.sched_getaffinity(0))),
            "ATTUNE_SERVING_SCHEDULER_ADDRESS": f"127.0.0.1:{free_port()}",
            "ATTUNE_SERVING_BASE_MODEL": MODEL,
        }
        if not self._setting.is_real:
            self.engine_url = self._instant_engine()
            environment["ATTUNE_SERVING_ENGINE_URLS"] = f"{MODEL}={self.engine_url}"
        begin_s = time.monotonic()
        self._spawn("serving", [sys.executable, "-m", "services.serving"], environment)
        await self._until_ready()
        self.engine_start_s = time.monotonic() - begin_s
        self.url = f"http://127.0.0.1:{self._ports['http']}"
        if self._setting.is_real:
            facts = json.loads((self.home / "run" / "engine-facts.json").read_text())
            self.engine_url = f"http://127.0.0.1:{facts['port']}"

    @property
    def service_pid(self) -> int:
        """Process of the service."""
        return self._processes[-1].pid

    async def register(self, adapters: Sequence[str]) -> list[model_pb2.ModelVersion]:
        """Tell that jobs made adapters, and return the versions when they are READY.

        Raises:
            SystemExit: If one is rejected, with the reason.
        """
        jobs = [a_job(adapter, self._revision) for adapter in adapters]
        for job in jobs:
            data = MessageToDict(events_pb2.JobSucceeded(job=job), preserving_proto_field_name=True)
            body = {"id": str(uuid4()), "type": "attune.v1.job.succeeded", "subject": job.name}
            await self._publish(json.dumps({**body, "data": data}).encode(), body["id"])
        return [await self._settled(job.name) for job in jobs]

    async def deploy(self, alias: str, version: str) -> None:
        """Point a new alias of the target `shared` at a version."""
        request = deployment_pb2.CreateDeploymentRequest(
            parent=PROJECT, deployment_id=alias, request_id=str(uuid4())
        )
        request.deployment.model_version, request.deployment.target = version, "shared"
        await call(self.deployments.CreateDeployment, request, timeout_s=CALL_TIMEOUT_S)

    def parity_of(self, adapter_sha256: str) -> list[dict[str, Any]]:
        """Return what an adapter is known to answer."""
        path = self.artefacts.adapter(adapter_sha256) / "parity.jsonl"
        return [json.loads(row) for row in path.read_text().splitlines()]

    async def stop(self) -> None:
        """End every process."""
        await self._bus.close()
        await self._channel.close(None)
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.to_thread(process.wait, GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
        for record in ProcessFolder(self.home).all():
            ProcessFolder(self.home).end(record, GRACE_S)

    async def _publish(self, payload: bytes, event_id: str) -> None:
        """Publish `job.succeeded`; again where NATS does not confirm, as a relay does.

        Raises:
            EventsAway: If it still does not after some time.
        """
        deadline = time.monotonic() + PUBLISH_TIMEOUT_S
        while True:
            try:
                subject = subject_of("default", "job.succeeded", "j1")
                return await self._bus.publish(subject, payload, event_id)
            except EventsAway:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(POLL_S)  # The connection comes back by itself.

    def _make_artefacts(self) -> None:
        self.artefacts.model(MODEL).parent.mkdir(parents=True)
        count = self._setting.adapter_count
        if self._setting.is_real:
            self._put_starter_at_hand()
            maker = ("-m", "bench.random_adapters", str(self.artefacts.root), MODEL, str(count))
            self.adapters = json.loads(python(*maker, home=self.home).splitlines()[-1])
        else:
            folder = self.artefacts.model(MODEL) / "r1"
            folder.mkdir(parents=True)
            (folder / "config.json").write_text("{}")
            write_manifest(folder, {"id": MODEL})
            self.adapters = [an_empty_adapter(self.artefacts, number) for number in range(count)]
        found = find_base_model(self.artefacts, MODEL)
        assert found is not None
        self._revision = found.revision

    def _put_starter_at_hand(self) -> None:
        kept = self._setting.starter
        if kept is not None and find_base_model(Artefacts(kept), MODEL) is not None:
            shutil.copytree(Artefacts(kept).model(MODEL), self.artefacts.model(MODEL))
            return
        print("The starter model is made first; about a minute.", flush=True)
        python("-m", "services.trainer.models.base_models", "ensure", MODEL, home=self.home)

    def _instant_engine(self) -> str:
        folder = find_base_model(self.artefacts, MODEL)
        assert folder is not None
        command = [sys.executable, "-m", "bench.instant_engine", MODEL, str(folder.folder)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self._processes.append(process)
        assert process.stdout is not None
        return f"http://127.0.0.1:{int(process.stdout.readline())}"

    def _spawn(self, name: str, command: Sequence[str], environment: dict[str, str]) -> None:
        self.home.mkdir(exist_ok=True)
        with (self.home / f"{name}.log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(
                    command, cwd=ROOT, env=os.environ | environment, stdout=log, stderr=log
                )
            )

    async def _until_ready(self) -> None:
        """Wait until an engine makes tokens.

        Raises:
            SystemExit: If it takes too long.
        """
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                answer = await call(
                    self._engines.ListEngines, engine_pb2.ListEnginesRequest(), timeout_s=5
                )
                if any(one.state == engine_pb2.Engine.STATE_READY for one in answer.engines):
                    return
            except Unavailable:
                pass
            await asyncio.sleep(POLL_S)  # Another process starts; nothing to await.
        raise SystemExit(f"No engine was ready after {READY_TIMEOUT_S:g} s.")

    async def _settled(self, job: str) -> model_pb2.ModelVersion:
        request = model_pb2.ListModelVersionsRequest(parent=f"{PROJECT}/models/-", job=job)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                found = await call(self.models.ListModelVersions, request, timeout_s=CALL_TIMEOUT_S)
            except (NotFound, Unavailable):
                continue
            for version in found.model_versions:
                if version.state == model_pb2.ModelVersion.STATE_READY:
                    return version
                if version.state == model_pb2.ModelVersion.STATE_REJECTED:
                    raise SystemExit(f"{version.name} was rejected: {version.state_reason}")
            await asyncio.sleep(POLL_S)  # Another process proves it.
        raise SystemExit(f"The version of {job} was not ready after {READY_TIMEOUT_S:g} s.")


@asynccontextmanager
async def a_serving(setting: Setting) -> AsyncIterator[Serving]:
    """Yield a serving whose engine answers; end it afterwards."""
    with tempfile.TemporaryDirectory(prefix="attune-bench-") as folder:
        serving = Serving(Path(folder), setting)
        try:
            await serving.start()
            yield serving
        finally:
            await serving.stop()


def a_parser(doc: str | None) -> argparse.ArgumentParser:
    """Return the parser of a bench's options, with those that all of serving's have."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="less of everything; for a first look")
    parser.add_argument(
        "--starter",
        type=Path,
        default=Settings.read("bench").artefact_root,
        help="artefact root that may have the starter model; it is made where there is none",
    )
    return parser


def a_job(adapter_sha256: str, revision: str) -> scheduler_pb2.Job:
    """Return a job that made an adapter."""
    job = scheduler_pb2.Job(
        name=f"{PROJECT}/jobs/j{uuid4().hex[:20]}",
        spec=f"{PROJECT}/specs/s1",
        spec_hash="b" * 64,
        state=scheduler_pb2.Job.STATE_SUCCEEDED,
    )
    job.base_model.id, job.base_model.revision = MODEL, revision
    job.serving.alias, job.serving.target = "bench", "shared"
    job.serving.parity_tolerance = PARITY_TOLERANCE
    job.result.adapter_sha256, job.result.lora_rank = adapter_sha256, 8
    job.result.report.tuned_score = 0.75
    return job


def an_empty_adapter(artefacts: Artefacts, number: int) -> str:
    """Return the hash of an adapter for an engine that has no model; its answers are its own."""
    staged = artefacts.adapter(f"empty-{number}")
    staged.mkdir(parents=True)
    (staged / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 8}))
    line = {
        "messages": [{"role": "user", "content": "Who are you?"}],
        "prompt_token_ids": [3, 9, 1, 4],
        "answer_token_ids": [7, 8, 1],
        "answer": f"number {number}",
        "logprobs": [-0.1, -0.2, -0.3],
    }
    (staged / "parity.jsonl").write_text(json.dumps(line) + "\n")
    adapter_sha256 = write_manifest(staged, {"run": staged.name})
    staged.rename(artefacts.adapter(adapter_sha256))
    return adapter_sha256


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def python(*arguments: str, home: Path) -> str:
    """Run Python on a home and return what it printed; raises CalledProcessError if it fails."""
    environment = os.environ | {
        "ATTUNE_HOME": str(home),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout
