"""Starts serving: settings, database, engine, gRPC server, HTTP endpoint, background loops."""

from __future__ import annotations

import asyncio
import logging
import sys

import uvloop
from attune.serving.v1 import deployment_pb2, engine_pb2, key_pb2, model_pb2, playground_pb2
from attune.serving.v1.deployment_pb2_grpc import add_DeploymentServiceServicer_to_server
from attune.serving.v1.engine_pb2_grpc import add_EngineServiceServicer_to_server
from attune.serving.v1.key_pb2_grpc import add_KeyServiceServicer_to_server
from attune.serving.v1.model_pb2_grpc import add_ModelServiceServicer_to_server
from attune.serving.v1.playground_pb2_grpc import add_PlaygroundServiceServicer_to_server

from services.common import peers
from services.common.artefacts import Artefacts
from services.common.clock import SystemClock
from services.common.events import Bus
from services.common.outbox import Relay
from services.common.processes import ProcessFolder
from services.common.rpc import Server, check_port_is_free, until_signal
from services.common.telemetry import configure_logging
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
from services.serving.keys.gate import Gate
from services.serving.keys.key_store import KeyStore
from services.serving.keys.keyring import Keyring
from services.serving.keys.keys import Keys
from services.serving.keys.limits import Limits
from services.serving.keys.meter import Meter
from services.serving.keys.usage_store import UsageStore
from services.serving.peers import Planner, Scheduler, Trainer
from services.serving.playground.exchange_store import ExchangeStore
from services.serving.playground.export import PreferenceExports
from services.serving.playground.generation import Generations
from services.serving.playground.history import History
from services.serving.playground.playground import Playground
from services.serving.registry.deletion import Deletions
from services.serving.registry.export import VersionExports
from services.serving.registry.proof import Proofs
from services.serving.registry.registration import Registration
from services.serving.registry.version_store import CONSUMER, VersionStore
from services.serving.servicer_deployment import DeploymentServicer
from services.serving.servicer_engine import EngineServicer
from services.serving.servicer_key import KeyServicer
from services.serving.servicer_model import ModelServicer
from services.serving.servicer_playground import PlaygroundServicer
from services.serving.settings import ServingSettings
from services.serving.targets.dedicated import Dedicated
from services.serving.targets.merging import Merging
from services.serving.targets.shared import Shared
from services.serving.targets.target import Target

log = logging.getLogger(__name__)


class Serving:
    """All parts of the service, wired."""

    def __init__(self, settings: ServingSettings) -> None:
        """Make every part; nothing runs yet.

        Args:
            settings: Read and checked.
        """
        clock = SystemClock()
        artefacts = Artefacts(settings.artefact_root)
        self._settings = settings
        self._anonymous_project = settings.anonymous_project  # First: it may refuse to start.
        self._database = store.new_database(settings.store_url)
        self._bus = Bus(settings.nats_url, "serving", settings.nats_replicas)
        self._channels = [
            peers.channel(address)
            for address in (
                settings.scheduler_address,
                settings.trainer_address,
                settings.planner_address,
            )
        ]
        scheduler, trainer = Scheduler(self._channels[0]), Trainer(self._channels[1])
        self._engines = Engines(settings.home, artefacts, _options(settings))
        versions = VersionStore(self._database, clock)
        self._deployments = DeploymentStore(self._database, clock)
        merging = Merging(trainer, versions)
        targets: dict[str, Target] = {
            Shared.name: Shared(self._engines),
            Dedicated.name: Dedicated(self._engines, merging, artefacts),
        }
        if settings.aws_target:
            targets[settings.aws_target] = _aws_target(settings, merging, artefacts)
        routes = Routes(versions, self._deployments, targets, self._engines)
        self._arm_meter = ArmMeter(ArmStore(self._database))
        self._serve_keys(routes, clock)
        self._models = ModelServicer(
            versions,
            self._engines,
            Deletions(versions, scheduler, artefacts),
            VersionExports(versions, trainer, artefacts),
        )
        exchanges = ExchangeStore(self._database, clock)
        generations = Generations(self._engines, settings.engine_hour_cost_micro_usd)
        self._playground = PlaygroundServicer(
            Playground(routes, generations, trainer, exchanges, clock),
            History(exchanges, clock),
            PreferenceExports(exchanges, versions, Planner(self._channels[2])),
        )
        self._deploying = DeploymentServicer(
            self._deployments,
            Deployer(self._deployments, versions, targets, self._arm_meter, clock),
            self._arm_meter,
        )
        self._showing = EngineServicer(self._engines, versions)
        self._registration = Registration(versions, scheduler)
        self._proofs = Proofs(self._database, versions, self._engines, trainer, artefacts, clock)
        self._reconciler = Reconciler(
            self._database, self._deployments, versions, targets, self._engines
        )
        self._relay = Relay(self._database, store.outbox, self._bus, clock)

    async def run(self) -> None:
        """Serve until a signal; then end the engine and everything else in order."""
        settings = self._settings
        await self._database.migrate()
        await self._keys.load()
        check_port_is_free(settings.endpoint_host, settings.http_port)
        listener = http.listen(settings.endpoint_host, settings.http_port)
        http_port = listener.getsockname()[1]
        self._deployments.endpoint = (
            settings.endpoint_url or f"http://{settings.endpoint_host}:{http_port}/v1"
        )
        server = self._server()
        port = await server.start(settings.host, settings.port)
        log.info("serving on port %d, endpoint %s", port, self._deployments.endpoint)
        web = http.HttpServer(self._endpoint.app)
        web_task = asyncio.create_task(web.serve([listener]), name="endpoint")
        metrics = self._metrics_server()
        tasks = [
            asyncio.create_task(self._engines.run(), name="engines"),
            asyncio.create_task(self._relay.run(), name="relay"),
            asyncio.create_task(
                self._bus.consume(CONSUMER, "job.succeeded", self._registration.take_event),
                name="consumer",
            ),
            asyncio.create_task(self._registration.run(), name="registration"),
            asyncio.create_task(self._proofs.run(), name="proofs"),
            asyncio.create_task(self._reconciler.run(), name="reconciler"),
            asyncio.create_task(self._meter.run(), name="meter"),
            asyncio.create_task(self._arm_meter.run(), name="arms"),
            *metrics,
        ]
        try:
            await until_signal([*tasks, web_task])
        finally:
            web.should_exit = True
            await asyncio.gather(server.stop(), web_task, return_exceptions=True)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._meter.stop()
            await self._engines.stop()
            await self._bus.close()
            for channel in self._channels:
                await channel.close(None)
            await self._database.close()

    def _serve_keys(self, routes: Routes, clock: SystemClock) -> None:
        """Make the endpoint and what lets requests in and counts them."""
        settings = self._settings
        default = Limits(
            settings.requests_per_minute, settings.tokens_per_minute, settings.concurrent_requests
        )
        keyring = Keyring(clock, default, self._anonymous_project)
        keys, usage = KeyStore(self._database, clock), UsageStore(self._database)
        gate = Gate(settings.running_max, settings.waiting_max, settings.wait_max_s)
        self._keys = Keys(keys, keyring, clock)
        self._meter = Meter(usage, keys, keyring, clock)
        self._metrics = Metrics(gate)
        self._keying = KeyServicer(self._keys, usage, self._meter, clock)
        self._endpoint = http.Endpoint(
            routes,
            self._engines,
            Admission(keyring, gate),
            [self._meter.observe, self._arm_meter.observe, self._metrics.observe],
            settings.request_timeout_s,
        )

    def _metrics_server(self) -> list[asyncio.Task[None]]:
        """Serve /metrics, on an address of its own, if that is asked for."""
        host, port = self._settings.metrics_host, self._settings.metrics_port
        if port is None:
            return []
        check_port_is_free(host, port)
        listener = http.listen(host, port)
        log.info("metrics at http://%s:%d/metrics", host, listener.getsockname()[1])
        web = http.HttpServer(self._metrics.app)
        return [asyncio.create_task(web.serve([listener]), name="metrics")]

    def _server(self) -> Server:
        server = Server("serving.attune")
        for register, servicer, file in (
            (add_ModelServiceServicer_to_server, self._models, model_pb2),
            (add_PlaygroundServiceServicer_to_server, self._playground, playground_pb2),
            (add_DeploymentServiceServicer_to_server, self._deploying, deployment_pb2),
            (add_EngineServiceServicer_to_server, self._showing, engine_pb2),
            (add_KeyServiceServicer_to_server, self._keying, key_pb2),
        ):
            (service,) = file.DESCRIPTOR.services_by_name.values()
            server.add(register, servicer, service.full_name)
        return server


def _options(settings: ServingSettings) -> EngineOptions:
    return EngineOptions(
        warm_model=settings.base_model,
        replica_count=settings.engine_replicas,
        process_max=settings.engine_processes_max,
        idle_s=settings.engine_idle_s,
        port=settings.engine_port,
        cpus=settings.engine_cpus,
        addresses=settings.engine_addresses,
    )


def _aws_target(settings: ServingSettings, merging: Merging, artefacts: Artefacts) -> Target:
    # Imported where it is asked for: AWS's library takes time and memory.
    from services.serving.targets.aws import Aws, AwsOptions
    from services.serving.targets.bedrock import Bedrock
    from services.serving.targets.pace import Pace
    from services.serving.targets.sagemaker import SageMaker

    bucket, prefix = settings.aws_bucket
    options = AwsOptions(
        region=settings.aws_region,
        bucket=bucket,
        prefix=prefix,
        role_arn=settings.aws_role_arn,
        image=settings.aws_image,
        instance_type=settings.aws_instance_type,
        instance_count=settings.aws_instance_count,
        environment=settings.aws_variables,
        hour_cost_usd=settings.aws_hour_cost_usd,
    )
    if settings.aws_target == Bedrock.name:
        return Bedrock(Aws(options), merging, artefacts, Pace())
    return SageMaker(Aws(options), merging, artefacts, Pace())


def main() -> None:
    """Print the settings with --help; serve otherwise."""
    if "--help" in sys.argv[1:]:
        print(ServingSettings.describe("serving"))  # noqa: T201
        return
    settings = ServingSettings.read("serving")
    configure_logging("serving", settings.log_level)
    ProcessFolder(settings.home).record_self("serving")
    # Its loop takes about half the time of asyncio's own for every piece of every stream.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings))


async def _serve(settings: ServingSettings) -> None:
    await Serving(settings).run()


if __name__ == "__main__":
    main()
