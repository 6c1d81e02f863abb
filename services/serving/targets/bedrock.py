"""The target `bedrock`: a whole model imported into Amazon Bedrock, which runs it when asked."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from services.common.artefacts import Artefacts
from services.common.errors import FailedPrecondition, Unavailable
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

NAME = "bedrock"
# Families by https://docs.aws.amazon.com/bedrock/latest/userguide/
# model-customization-import-model-architecture.html; of Qwen3 the first generation alone.
ARCHITECTURES = frozenset(
    {
        "MistralForCausalLM",
        "MixtralForCausalLM",
        "LlamaForCausalLM",
        "MllamaForConditionalGeneration",
        "GPTBigCodeForCausalLM",
        "Qwen2ForCausalLM",
        "Qwen2VLForConditionalGeneration",
        "Qwen2_5_VLForConditionalGeneration",
        "Qwen3ForCausalLM",
        "Qwen3MoeForCausalLM",
        "GptOssForCausalLM",
    }
)
REMEDY = (
    "Models imported before 11 November 2025 do not speak OpenAI's shape: delete the deployment "
    "and make it anew."
)
# Chats and completions in OpenAI's shape, without what says that they stream:
# https://docs.aws.amazon.com/bedrock/latest/userguide/invoke-imported-model.html
NOT_IN_BODY = ("stream", "stream_options", "user")


class Bedrock(AwsTarget):
    """Custom Model Import; models that nobody asks cost no computing."""

    name = NAME
    service = "bedrock"

    def __init__(self, aws: Aws, merging: Merging, artefacts: Artefacts, pace: Pace) -> None:
        """Keep what it needs, as `AwsTarget` does."""
        super().__init__(aws, merging, artefacts, pace)
        self._arns: dict[str, str] = {}
        """Of imported models, by their names."""

    async def offer(self, version: Version) -> Offer:
        """Return what it means for a version."""
        price = self._options.hour_cost_usd
        told = "the price is not configured here" if price is None else f"${price:,.2f} an hour"
        return Offer(
            target=self.name,
            title="Amazon Bedrock",
            description=(
                f"The whole model is imported into Bedrock in {self._options.region}. Requests "
                "still come here and are passed on."
            ),
            cost=f"A model copy while it is asked, in windows of 5 minutes: {told}; its storage.",
            hour_cost_micro_usd=None if price is None else round(price * 1e6),
            latency=(
                "Answers some minutes after the decision. After a pause the first request waits "
                "until the model is loaded again."
            ),
            limits=(
                "The weights leave this installation.",
                "Bedrock imports Llama, Mistral, Mixtral, Qwen 2 to 3, GPT-OSS and GPTBigCode.",
                "Bedrock imports models in some regions only; an import elsewhere fails.",
                "It is tried with one chat; its answers are not compared with the trainer's.",
            ),
            objection=self._objection(version),
            is_outside=True,
        )

    def check(self, version: Version, others: Sequence[tuple[Deployment, Version]]) -> None:
        """Refuse an architecture that Bedrock does not import.

        Raises:
            FailedPrecondition: If it is one.
        """
        if objection := self._objection(version):
            raise FailedPrecondition(
                f"{version.name}: {objection}", reason="NOT_IMPORTED", model_version=version.name
            )

    async def _advance(self, names: Names, version: Version, weights: Weights) -> str:
        """Bring one import nearer to its end; return how far it is, empty when it answers."""
        imported = names.of(version, weights)
        if await self._find(imported):
            await self._prove(names, version, imported)
            return ""
        if objection := self._objection(version):
            raise TargetFailed(objection)
        # A job has the name of its decision: deciding again tries again, a restart does not.
        job_name = f"{imported}-{sha256(names.deployment.etag.encode()).hexdigest()[:8]}"
        job = await self._job(job_name)
        if job is not None:
            return _message(imported, job)
        if await self._importing(imported):
            return f"An earlier import of {imported} must end first."
        if message := self._upload(names, weights, imported):
            return message
        uri = f"s3://{self._options.bucket}/{prefix_of(names, imported)}"
        await self._call(
            "create_model_import_job",
            "to import the model",
            jobName=job_name,
            importedModelName=imported,
            roleArn=self._options.role_arn,
            modelDataSource={"s3DataSource": {"s3Uri": uri}},
            jobTags=names.tags(version, key="key", value="value"),
            importedModelTags=names.tags(version, key="key", value="value"),
            clientRequestToken=job_name,
        )
        return f"Bedrock is asked to import {imported}."

    async def _prove(self, names: Names, version: Version, imported: str) -> None:
        """Let a model answer a chat before anything is sent to it; one that is asked costs."""
        if self._is_proved(names, version, imported):
            return
        await prove(self._client(imported), REMEDY)
        self._proved.add(imported)

    async def _prune(self, names: Names) -> None:
        """Delete what no way back needs: Bedrock bills what is stored."""
        needed = tuple(map(names.version_stem, names.deployment.needed_versions))
        for imported in await self._imported(names):
            if not imported.startswith(needed):
                await self._delete(imported)
        # Bedrock keeps a copy: the objects were for the import alone.
        await self._remove_objects(names)

    async def _withdraw(self, names: Names) -> Progress:
        if await self._importing(names.stem.rstrip("-")):
            return Progress(is_done=False, message="An import must end before it can be deleted.")
        for imported in await self._imported(names):
            await self._delete(imported)
        await self._remove_objects(names)
        return Progress(is_done=True)

    async def _find(self, imported: str) -> str:
        """Return the ARN of an imported model; empty if there is none."""
        found = await self._describe(
            "get_imported_model", "to look at an imported model", modelIdentifier=imported
        )
        if found is None:
            return ""
        self._arns[imported] = str(found["modelArn"])
        return self._arns[imported]

    async def _job(self, name: str) -> dict[str, Any] | None:
        return await self._describe(
            "get_model_import_job", "to look at an import", jobIdentifier=name
        )

    async def _importing(self, text: str) -> bool:
        """Return whether an import runs whose name contains a text."""
        found = await self._list(
            "list_model_import_jobs",
            "modelImportJobSummaries",
            statusEquals="InProgress",
            nameContains=text,
        )
        return bool(found)

    async def _imported(self, names: Names) -> list[str]:
        text = names.stem.rstrip("-")
        found = await self._list("list_imported_models", "modelSummaries", nameContains=text)
        listed = [str(one["modelName"]) for one in found]
        return [name for name in listed if name.startswith(names.stem)]

    async def _delete(self, imported: str) -> None:
        self._arns.pop(imported, None)
        self._proved.discard(imported)
        try:
            await self._aws.call(self.service, "delete_imported_model", modelIdentifier=imported)
        except AwsRefused as error:
            if not error.is_missing:
                raise error.failure("to delete what is not needed") from None

    def _objection(self, version: Version) -> str:
        """Return why Bedrock will not import a version; empty if nothing is known against it."""
        weights = self._merging.weights(version) or version.weights
        folder = self._artefacts.model(weights.model_id) / weights.revision
        unknown = [one for one in _architectures(folder) if one not in ARCHITECTURES]
        if not unknown:
            return ""
        return (
            f"Bedrock does not import models of the kind {unknown[0]}. Deploy it to another target."
        )

    def _external_name(self, imported: str) -> str:
        return self._arns[imported]

    def _client(self, imported: str) -> AwsClient:
        aws = self._aws

        async def ask(operation: str, body: bytes) -> dict[str, Any]:
            arn = self._arns.get(imported) or await self._arn(imported)
            return await aws.call(
                "bedrock-runtime",
                operation,
                modelId=arn,
                contentType="application/json",
                accept="application/json",
                body=body,
            )

        async def send(body: bytes) -> bytes:
            answer = await ask("invoke_model", body)
            data: bytes = await aws.run(answer["body"].read, answers=True)
            return data

        async def begin(body: bytes) -> tuple[Any, Iterator[bytes]]:
            events = (await ask("invoke_model_with_response_stream", body))["body"]
            return events, (one["chunk"]["bytes"] for one in events if "chunk" in one)

        return AwsClient(aws, send, begin, drop=NOT_IN_BODY)

    async def _arn(self, imported: str) -> str:
        """Return the ARN of an imported model that must be there.

        Raises:
            Unavailable: If it is not.
        """
        try:
            if arn := await self._find(imported):
                return arn
        except TargetFailed as error:
            log.warning("%s", error)
        raise Unavailable("The model is not to be found at Bedrock. Try again.", reason="AWS_AWAY")


def _message(imported: str, job: dict[str, Any]) -> str:
    """Return how far an import is whose model is not there.

    Raises:
        TargetFailed: If it is over.
    """
    if job["status"] == "InProgress":
        return f"Bedrock imports {imported}; it takes some minutes."
    if job["status"] == "Failed":
        why = " ".join(str(job.get("failureMessage") or "no reason given.").split())
        raise TargetFailed(
            f"Bedrock could not import the model: {why} Mend it, then deploy it again."
        )
    raise TargetFailed(f"The imported model {imported} was deleted at AWS. Deploy it again.")


def _architectures(folder: Path) -> list[str]:
    try:
        found = json.loads((folder / "config.json").read_text()).get("architectures")
    except (OSError, ValueError, AttributeError):
        return []
    return [str(one) for one in found] if isinstance(found, list) else []
