"""The target `sagemaker`: a whole model on an endpoint of Amazon SageMaker.

Each version of a deployment has an endpoint of its own there. So both can be asked while one takes
over from the other, requests go to a canary by the rules of every other target, and the version
that answered is known for certain: it is the one that was asked.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from services.common.artefacts import Artefacts
from services.serving.deployments.deployment import Deployment
from services.serving.engines.weights import Weights
from services.serving.registry.version import Version
from services.serving.targets.aws import Aws, AwsRefused, Names
from services.serving.targets.aws_client import AwsClient, prove
from services.serving.targets.aws_target import AwsTarget, prefix_of
from services.serving.targets.merging import Merging
from services.serving.targets.pace import Pace
from services.serving.targets.target import Offer, Progress, TargetFailed

log = logging.getLogger(__name__)

NAME = "sagemaker"
VARIANT = "model"
MODEL_FOLDER = "/opt/ml/model"
"""Where SageMaker puts the files into the container."""
# What says so to AWS's images: "vLLM" reads the first, "djl-inference" (LMI) the second.
# https://aws.github.io/deep-learning-containers/vllm/deployment/sagemaker/
# https://docs.djl.ai/docs/serving/serving/docs/lmi/user_guides/starting-guide.html
ENVIRONMENT = {"SM_VLLM_MODEL": MODEL_FOLDER, "HF_MODEL_ID": MODEL_FOLDER}
START_TIMEOUT_S = 3600
"""For the container to load its files and become healthy; the most that SageMaker allows."""
LINGER_S = 600.0
"""How long an endpoint stays that nothing is sent to any more: answers end, and a rollback within
it waits for nothing."""
REMEDY = "Correct ATTUNE_SERVING_AWS_IMAGE or ATTUNE_SERVING_AWS_ENVIRONMENT, then deploy it again."
SERVING = ("InService", "SystemUpdating")
COMING = ("Creating", "Updating", "RollingBack")
LEAVING = "Deleting"


class SageMaker(AwsTarget):
    """Endpoints with a container that the operator chose."""

    name = NAME
    service = "sagemaker"

    def __init__(
        self,
        aws: Aws,
        merging: Merging,
        artefacts: Artefacts,
        pace: Pace,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep what it needs, as `AwsTarget` does.

        Args:
            aws: Calls AWS.
            merging: Makes whole models of adapters.
            artefacts: Where whole models are.
            pace: How often endpoints are looked at.
            clock: Seconds that only grow.
        """
        super().__init__(aws, merging, artefacts, pace)
        self._clock = clock
        self._asked: set[tuple[str, str]] = set()
        """Endpoints that this process asked for, each with the decision's etag."""
        self._spare_since: dict[str, float] = {}

    async def offer(self, version: Version) -> Offer:
        """Return what it means for a version."""
        options = self._options
        many = f"{options.instance_count} x {options.instance_type}"
        price = options.hour_cost_usd
        hour, told = None, "the price is not configured here"
        if price is not None:
            hour = round(price * options.instance_count * 1e6)
            told = f"${price * options.instance_count:,.2f} an hour"
        return Offer(
            target=self.name,
            title="Amazon SageMaker",
            description=(
                f"The whole model goes to S3 and onto an endpoint in {options.region}. Requests "
                "still come here and are passed on."
            ),
            cost=f"{many}, for as long as it is deployed: {told}. S3 besides.",
            hour_cost_micro_usd=hour,
            latency="Answers some minutes after the decision; then as fast as the instance is.",
            limits=(
                "The weights leave this installation.",
                "A canary, or a switch until it is done, takes the same instances again.",
                "An answer must be complete within 60 s, a streamed one within 8 minutes.",
                "It is tried with one chat; its answers are not compared with the trainer's.",
            ),
            objection="",
            is_outside=True,
        )

    def check(self, version: Version, others: Sequence[tuple[Deployment, Version]]) -> None:
        """Refuse nothing: AWS knows its limits, and says so later."""

    async def _advance(self, names: Names, version: Version, weights: Weights) -> str:
        """Bring one endpoint nearer to answering; return how far it is, empty when it answers."""
        endpoint = names.of(version, weights)
        found = await self._find(endpoint)
        status = "" if found is None else str(found["EndpointStatus"])
        if status in SERVING:
            await self._prove(names, version, endpoint)
            return ""
        if status in COMING:
            return f"SageMaker brings the endpoint {endpoint} up ({status}); it takes some minutes."
        if status == LEAVING:
            return f"SageMaker still deletes an earlier endpoint {endpoint}."
        asked = (endpoint, names.deployment.etag)
        if found is not None:
            if asked in self._asked:
                raise TargetFailed(
                    f"SageMaker could not bring the endpoint {endpoint} up ({status}): "
                    f"{found.get('FailureReason', 'no reason given')} Its log is in CloudWatch. "
                    "Mend it, then deploy it again."
                )
            await self._delete("endpoint", endpoint)
            return f"An endpoint {endpoint} that failed before is deleted first."
        if message := self._upload(names, weights, endpoint):
            return message
        await self._make(names, version, endpoint)
        self._asked.add(asked)
        return f"SageMaker is asked for the endpoint {endpoint}."

    async def _make(self, names: Names, version: Version, endpoint: str) -> None:
        """Make model, configuration and endpoint of one name, whatever was made of it before."""
        await self._delete("endpoint_config", endpoint)
        await self._delete("model", endpoint)
        options, tags = self._options, names.tags(version)
        source = {
            "S3Uri": f"s3://{options.bucket}/{prefix_of(names, endpoint)}",
            "S3DataType": "S3Prefix",
            "CompressionType": "None",
        }
        await self._call(
            "create_model",
            "to make a model",
            ModelName=endpoint,
            ExecutionRoleArn=options.role_arn,
            PrimaryContainer={
                "Image": options.image,
                "Environment": {**ENVIRONMENT, **options.environment},
                "ModelDataSource": {"S3DataSource": source},
            },
            Tags=tags,
        )
        variant = {
            "VariantName": VARIANT,
            "ModelName": endpoint,
            "InstanceType": options.instance_type,
            "InitialInstanceCount": options.instance_count,
            "InitialVariantWeight": 1.0,
            "ModelDataDownloadTimeoutInSeconds": START_TIMEOUT_S,
            "ContainerStartupHealthCheckTimeoutInSeconds": START_TIMEOUT_S,
        }
        await self._call(
            "create_endpoint_config",
            "to make an endpoint configuration",
            EndpointConfigName=endpoint,
            ProductionVariants=[variant],
            Tags=tags,
        )
        await self._call(
            "create_endpoint",
            "to make an endpoint",
            EndpointName=endpoint,
            EndpointConfigName=endpoint,
            Tags=tags,
        )

    async def _prove(self, names: Names, version: Version, endpoint: str) -> None:
        """Let an endpoint answer a chat before anything is sent to it."""
        if self._is_proved(names, version, endpoint):
            return
        try:
            await prove(self._client(endpoint), REMEDY)
        except TargetFailed:
            # Nobody should pay for it, and the next decision must not find it.
            await self._delete("endpoint", endpoint)
            raise
        self._proved.add(endpoint)

    async def _prune(self, names: Names) -> None:
        """Delete endpoints that nothing is sent to any more, then what no way back needs."""
        deployment = names.deployment
        sent_to = {*deployment.decided.model_versions, *deployment.serving.model_versions}
        used = tuple(map(names.version_stem, sent_to))
        now = self._clock()
        lingering = []
        for endpoint in await self._named("list_endpoints", "Endpoints", "EndpointName", names):
            if endpoint.startswith(used):
                self._spare_since.pop(endpoint, None)
            elif now - self._spare_since.setdefault(endpoint, now) < LINGER_S:
                lingering.append(endpoint)
            else:
                await self._delete("endpoint", endpoint)
                del self._spare_since[endpoint]
        kept = (*map(names.version_stem, deployment.needed_versions), *lingering)
        await self._clear(names, kept)

    async def _clear(self, names: Names, kept: tuple[str, ...]) -> None:
        """Delete configurations, models and objects but those whose names begin so."""
        for what, operation, key, field in (
            ("endpoint_config", "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"),
            ("model", "list_models", "Models", "ModelName"),
        ):
            for one in await self._named(operation, key, field, names):
                if not kept or not one.startswith(kept):
                    await self._delete(what, one)
        await self._remove_objects(names, kept)

    async def _withdraw(self, names: Names) -> Progress:
        left = await self._named("list_endpoints", "Endpoints", "EndpointName", names)
        for endpoint in left:
            self._proved.discard(endpoint)
            await self._delete("endpoint", endpoint)
        if left:
            return Progress(is_done=False, message="SageMaker deletes its endpoints.")
        await self._clear(names, ())
        return Progress(is_done=True)

    async def _find(self, endpoint: str) -> dict[str, Any] | None:
        return await self._describe(
            "describe_endpoint", "to look at an endpoint", EndpointName=endpoint
        )

    async def _named(self, operation: str, key: str, field: str, names: Names) -> list[str]:
        """Return the names of what there is of a deployment."""
        found = await self._list(operation, key, NameContains=names.stem)
        return [one[field] for one in found if one[field].startswith(names.stem)]

    async def _delete(self, what: str, name: str) -> None:
        """Delete something; what is not there, or cannot be deleted yet, is left for later."""
        field = {"endpoint": "EndpointName", "endpoint_config": "EndpointConfigName"}
        arguments = {field.get(what, "ModelName"): name}
        try:
            await self._aws.call(self.service, f"delete_{what}", **arguments)
        except AwsRefused as error:
            if not error.is_missing and "in-progress" not in error.message:
                raise error.failure("to delete what is not needed") from None

    def _external_name(self, endpoint: str) -> str:
        return endpoint

    def _client(self, endpoint: str) -> AwsClient:
        return _client(self._aws, endpoint)


def _client(aws: Aws, endpoint: str) -> AwsClient:
    json_type = "application/json"

    async def send(body: bytes) -> bytes:
        def work() -> bytes:
            answer = aws.client("sagemaker-runtime").invoke_endpoint(
                EndpointName=endpoint, ContentType=json_type, Accept=json_type, Body=body
            )
            data: bytes = answer["Body"].read()
            return data

        return await aws.run(work, answers=True)

    async def begin(body: bytes) -> tuple[Any, Iterator[bytes]]:
        answer = await aws.call(
            "sagemaker-runtime",
            "invoke_endpoint_with_response_stream",
            EndpointName=endpoint,
            ContentType=json_type,
            Body=body,
        )
        events = answer["Body"]
        return events, (one["PayloadPart"]["Bytes"] for one in events if "PayloadPart" in one)

    return AwsClient(aws, send, begin)
