"""What the tests of serving are made of: jobs, adapters, a base model, and the parts wired."""

import asyncio
import hashlib
import json
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

import aiohttp
from attune.scheduler.v1 import scheduler_pb2
from attune.serving.v1 import deployment_pb2, engine_pb2, model_pb2, playground_pb2
from attune.serving.v1.deployment_pb2_grpc import (
    DeploymentServiceStub,
    add_DeploymentServiceServicer_to_server,
)
from attune.serving.v1.engine_pb2_grpc import (
    EngineServiceStub,
    add_EngineServiceServicer_to_server,
)
from attune.serving.v1.model_pb2_grpc import ModelServiceStub, add_ModelServiceServicer_to_server
from attune.serving.v1.playground_pb2_grpc import (
    PlaygroundServiceStub,
    add_PlaygroundServiceServicer_to_server,
)
from grpc import aio

from services.common.artefacts import Artefacts, write_manifest
from services.common.clock import SystemClock
from services.common.errors import Unavailable
from services.common.processes import ProcessFolder
from services.common.rpc import Server
from services.serving import store
from services.serving.deployments.arm_meter import ArmMeter
from services.serving.deployments.arm_store import ArmStore
from services.serving.deployments.deployer import Deployer
from services.serving.deployments.deployment_store import DeploymentStore
from services.serving.deployments.reconcile import Reconciler
from services.serving.deployments.route import Routes
from services.serving.endpoint import http
from services.serving.endpoint.admission import Admission
from services.serving.endpoint.metrics import Metrics
from services.serving.engines.pool import EngineOptions, Engines
from services.serving.engines.weights import Weights
from services.serving.keys.gate import Gate
from services.serving.keys.key_store import KeyStore
from services.serving.keys.keyring import Keyring
from services.serving.keys.keys import Keys
from services.serving.keys.limits import Limits
from services.serving.keys.meter import Meter
from services.serving.keys.usage_store import UsageStore
from services.serving.playground.exchange_store import ExchangeStore
from services.serving.playground.export import PreferenceExports
from services.serving.playground.generation import Generations
from services.serving.playground.history import History
from services.serving.playground.playground import Playground
from services.serving.registry.deletion import Deletions
from services.serving.registry.export import VersionExports
from services.serving.registry.proof import Proofs
from services.serving.registry.version import lineage_of
from services.serving.registry.version_store import VersionStore
from services.serving.servicer_deployment import DeploymentServicer
from services.serving.servicer_engine import EngineServicer
from services.serving.servicer_model import ModelServicer
from services.serving.servicer_playground import PlaygroundServicer
from services.serving.targets.dedicated import Dedicated
from services.serving.targets.merging import Merging
from services.serving.targets.shared import Shared

ENGINE_SERVER = Path(__file__).with_name("engine_server.py")
BASE = "attune/starter"
REVISION = "r1"
TOLERANCE = 0.01
WAIT_S = 60
"""Longest wait for something that must happen; machines under load are slow."""


def a_line(question="hello", answer="good day", shift=0.0):
    """Return one line of a parity file."""
    return {
        "messages": [{"role": "user", "content": question}],
        "prompt_token_ids": [3, 9, 1, 4],
        "answer_token_ids": [7, 8, 1],
        "answer": answer,
        "logprobs": [-0.1 + shift, -0.2, -0.3],
    }


def a_base_model(artefacts: Artefacts, revision=REVISION, model_id=BASE):
    folder = artefacts.model(model_id) / revision
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    write_manifest(folder, {"id": model_id})
    return folder


def an_adapter(artefacts: Artefacts, *, lines=None, fault=None, **config) -> str:
    """Write an adapter folder and return its hash."""
    staged = artefacts.root / "adapters" / uuid4().hex
    staged.mkdir(parents=True)
    settings = {"peft_type": "LORA", "r": 8, "modules_to_save": None, "use_dora": False, **config}
    (staged / "adapter_config.json").write_text(json.dumps(settings))
    (staged / "adapter_model.safetensors").write_bytes(b"weights")
    rows = [a_line()] if lines is None else lines
    (staged / "parity.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if fault:
        (staged / "fault.json").write_text(json.dumps(fault))
    adapter_sha256 = write_manifest(staged, {"run": staged.name})
    staged.rename(artefacts.adapter(adapter_sha256))
    return adapter_sha256


def a_job(adapter_sha256="a" * 64, *, name="", alias="tickets", revision=REVISION, **fields):
    job = scheduler_pb2.Job(
        name=f"projects/default/jobs/{name or 'j' + uuid4().hex[:20]}",
        spec="projects/default/specs/s1",
        spec_hash="b" * 64,
        state=scheduler_pb2.Job.STATE_SUCCEEDED,
        **fields,
    )
    job.base_model.id, job.base_model.revision = BASE, revision
    job.serving.alias, job.serving.target = alias, "shared"
    job.serving.parity_tolerance = TOLERANCE
    job.result.adapter_sha256, job.result.lora_rank = adapter_sha256, 8
    job.result.report.tuned_score = 0.75
    return job


class Merger:
    """In place of the trainer: makes whole models of adapters, or refuses as told."""

    def __init__(self, artefacts):
        self.artefacts = artefacts
        self.refusal = None
        self.merged = {}

    async def merge(self, adapter_sha256):
        if self.refusal is not None:
            raise self.refusal
        if adapter_sha256 not in self.merged:
            digest = hashlib.sha256(adapter_sha256.encode()).hexdigest()
            parity = (self.artefacts.adapter(adapter_sha256) / "parity.jsonl").read_text()
            self.merged[adapter_sha256] = self.publish(digest, parity)
        return self.merged[adapter_sha256]

    def publish(self, merged_sha256, parity=""):
        """Write a whole model and put it at hand as a base; return its hash."""
        text = parity or json.dumps(a_line()) + "\n"
        model_id = f"merged/{merged_sha256[:12]}"
        for folder in (
            self.artefacts.merged(merged_sha256),
            self.artefacts.model(model_id) / merged_sha256,
        ):
            folder.mkdir(parents=True)
            (folder / "config.json").write_text("{}")
            (folder / "parity.jsonl").write_text(text)
            write_manifest(folder, {"id": model_id})
        return merged_sha256


class Away:
    """In place of a service that does not answer."""

    async def grade(self, grader, sample):
        raise Unavailable("The trainer is away.", reason="UNAVAILABLE")

    async def upload(self, parent, display_name, content, request_id):
        raise Unavailable("The planner is away.", reason="UNAVAILABLE")


class Jobs:
    """In place of the scheduler: the jobs that may still train."""

    def __init__(self):
        self.unfinished = []

    async def list_unfinished_jobs(self):
        yield self.unfinished


class Parts:
    """Serving's parts on a test engine, without NATS and scheduler."""

    def __init__(self, tmp_path: Path, database_url: str = "", port: int = 0, **engines) -> None:
        self.home = tmp_path
        self.artefacts = Artefacts(tmp_path / "artefacts")
        self.database = store.new_database(
            database_url or f"sqlite+aiosqlite:///{tmp_path / 'serving.db'}"
        )
        clock = SystemClock()
        self.trainer = Merger(self.artefacts)
        options = EngineOptions(warm_model=BASE, port=port, command=engine_command, **engines)
        self.engines = Engines(tmp_path, self.artefacts, options)
        self.versions = VersionStore(self.database, clock)
        self.deployments = DeploymentStore(self.database, clock)
        self.merging = Merging(self.trainer, self.versions)
        self.targets = {
            "shared": Shared(self.engines),
            "dedicated": Dedicated(self.engines, self.merging, self.artefacts),
        }
        self.routes = Routes(self.versions, self.deployments, self.targets, self.engines)
        self.arm_meter = ArmMeter(ArmStore(self.database))
        self.deployer = Deployer(
            self.deployments, self.versions, self.targets, self.arm_meter, clock
        )
        self.proofs = Proofs(
            self.database, self.versions, self.engines, self.trainer, self.artefacts, clock
        )
        self.reconciler = Reconciler(
            self.database, self.deployments, self.versions, self.targets, self.engines
        )
        self.scheduler = Jobs()
        self.deletions = Deletions(self.versions, self.scheduler, self.artefacts)
        self.exports = VersionExports(self.versions, self.trainer, self.artefacts)
        self.processes = ProcessFolder(tmp_path)
        self.ended = asyncio.Queue()
        self.gate = Gate(running_max=20, waiting_max=2, wait_max_s=0.3)
        self.keyring = Keyring(clock, Limits(1000, 100_000, 10), "default")
        key_store, self.usage = KeyStore(self.database, clock), UsageStore(self.database)
        self.keys = Keys(key_store, self.keyring, clock)
        self.meter = Meter(self.usage, key_store, self.keyring, clock)
        self.metrics = Metrics(self.gate)
        self.exchanges = ExchangeStore(self.database, clock)
        self.graders = self.planner = Away()
        self.hour_cost_micro_usd = 0

    def playground(self):
        """Return the playground's servicer, wired to the graders and the planner set before."""
        clock = SystemClock()
        generations = Generations(self.engines, self.hour_cost_micro_usd)
        return PlaygroundServicer(
            Playground(self.routes, generations, self.graders, self.exchanges, clock),
            History(self.exchanges, clock),
            PreferenceExports(self.exchanges, self.versions, self.planner),
        )

    async def stage(self, **fields):
        """Make a STAGED version with an adapter of its own."""
        keys = {"alias", "revision"}
        verdict, target = fields.pop("verdict", 0), fields.pop("target", "shared")
        job = a_job(
            an_adapter(self.artefacts, **{key: fields[key] for key in fields if key not in keys}),
            **{key: fields[key] for key in fields if key in keys},
        )
        job.result.report.verdict, job.serving.target = verdict, target
        return await self.versions.stage(lineage_of(job), None)

    async def ready(self, **fields):
        """Make a version and wait until it is READY."""
        staged = await self.stage(**fields)
        return await self.settled(staged.name)

    async def settled(self, name):
        """Return a version once it is not STAGED any more."""
        return await self.until(lambda: self.versions.get(name), lambda v: v.state != "STAGED")

    async def until(self, read, holds):
        """Return what `read` gives once it holds; commits cause the looks."""
        changed = asyncio.Event()
        self.database.on_commit(changed.set)
        async with asyncio.timeout(WAIT_S):
            while True:
                changed.clear()
                if holds(found := await read()):
                    return found
                await changed.wait()

    def member(self, model_id=BASE, index=0):
        """Return an engine with what it holds; None while there is none."""
        for weights, group in self.engines.groups().items():
            if weights.model_id == model_id and len(group.members) > index:
                return group.members[index]
        return None

    @property
    def engine(self):
        """The first engine of the base."""
        member = self.member()
        return None if member is None else member.engine

    @property
    def adapters(self):
        """What the first engine of the base holds."""
        return self.member().adapters

    @property
    def base(self) -> Weights:
        return Weights(BASE, self.engine.model.revision)

    async def at_generation(self, generation: int) -> None:
        """Return when the first engine has become READY that many times."""
        async with asyncio.timeout(WAIT_S):
            while not (
                self.engine
                and self.engine.generation == generation
                and self.engine.state == "READY"
            ):
                await self.engines.wait_for_change(0.05)

    async def test(self, **behaviour):
        """Set the test engine's behaviour, if any is given, and return its state."""
        port = json.loads((self.home / "run" / "engine-facts.json").read_text())["port"]
        async with aiohttp.ClientSession() as session:
            if behaviour:
                await session.post(f"http://127.0.0.1:{port}/test", json=behaviour)
            async with session.get(f"http://127.0.0.1:{port}/test") as response:
                return await response.json()


def engine_command(base, port):
    return [sys.executable, str(ENGINE_SERVER), str(port), base.id, str(base.folder)]


@asynccontextmanager
async def running(parts: Parts, *, loops=True):
    """Run the engine and the loops; end every process afterwards."""
    await parts.database.migrate()
    runs = [parts.engines.run()]
    if loops:
        runs += [parts.proofs.run(), parts.reconciler.run()]
    tasks = [asyncio.create_task(run) for run in runs]
    try:
        yield parts
    finally:
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)
        await parts.engines.stop()
        await parts.database.close()


@asynccontextmanager
async def grpc_services(parts: Parts):
    """Serve the three services and yield their stubs."""
    server = Server("serving.attune")
    for register, servicer, name in (
        (
            add_ModelServiceServicer_to_server,
            ModelServicer(parts.versions, parts.engines, parts.deletions, parts.exports),
            model_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name,
        ),
        (
            add_PlaygroundServiceServicer_to_server,
            parts.playground(),
            playground_pb2.DESCRIPTOR.services_by_name["PlaygroundService"].full_name,
        ),
        (
            add_DeploymentServiceServicer_to_server,
            DeploymentServicer(parts.deployments, parts.deployer, parts.arm_meter),
            deployment_pb2.DESCRIPTOR.services_by_name["DeploymentService"].full_name,
        ),
        (
            add_EngineServiceServicer_to_server,
            EngineServicer(parts.engines, parts.versions),
            engine_pb2.DESCRIPTOR.services_by_name["EngineService"].full_name,
        ),
    ):
        server.add(register, servicer, name)
    port = await server.start("127.0.0.1", 0)
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield (
            ModelServiceStub(channel),
            PlaygroundServiceStub(channel),
            DeploymentServiceStub(channel),
            EngineServiceStub(channel),
        )
    await server.stop()


@asynccontextmanager
async def endpoint(parts: Parts, **options):
    """Serve the OpenAI-compatible endpoint and yield its base URL; `parts.ended` has its calls."""
    listener = http.listen("127.0.0.1", 0)
    observers = [
        parts.ended.put_nowait,
        parts.meter.observe,
        parts.arm_meter.observe,
        parts.metrics.observe,
    ]
    admission = Admission(parts.keyring, parts.gate)
    made = http.Endpoint(parts.routes, parts.engines, admission, observers, **options)
    web = http.HttpServer(made.app)
    task = asyncio.create_task(web.serve([listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        web.should_exit = True
        await task
