"""Serving's settings."""

from __future__ import annotations

import re

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from services.common.settings import SECRET, Settings
from services.serving.keys.loopback import is_loopback

DEFAULT_PROJECT = "default"
ENGINE_URL = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}=https?://[A-Za-z0-9._-]+(:[0-9]{1,5})?/?"
)
AWS_ARTEFACTS = re.compile(
    r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(/(?P<prefix>[A-Za-z0-9][A-Za-z0-9/_.-]*?))?/?"
)
AWS_ENVIRONMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}=\S{0,500}")
AWS_SECRET = re.compile(r"TOKEN$|SECRET|PASSWORD|CREDENTIAL|(^|_)KEY(_|$)", re.IGNORECASE)
AWS_NEEDED = {
    "sagemaker": ("aws_region", "aws_artefacts", "aws_role_arn", "aws_image", "aws_instance_type"),
    "bedrock": ("aws_region", "aws_artefacts", "aws_role_arn"),
}
"""Settings without which a target of AWS cannot work."""
AWS_OPTIONAL = {
    "sagemaker": ("aws_instance_count", "aws_environment", "aws_hour_cost_usd"),
    "bedrock": ("aws_hour_cost_usd",),
}


class ServingSettings(Settings):
    """What `python -m services.serving` reads from the environment."""

    port: int = Field(7104, ge=0, le=65535)
    """Port of the gRPC server, in [0, 65535]; 0 picks a free one."""
    database_url: str = ""
    """Database; empty for sqlite+aiosqlite:///$ATTUNE_HOME/serving.db."""
    scheduler_address: str = "127.0.0.1:7102"
    """Host and port of the scheduler, which the reconciler asks for succeeded jobs."""
    trainer_address: str = "127.0.0.1:7103"
    """Host and port of the trainer, which merges adapters and runs graders."""
    planner_address: str = "127.0.0.1:7101"
    """Host and port of the planner, which takes in datasets that are made of preferences."""
    http_port: int = Field(7180, ge=0, le=65535)
    """Port of the OpenAI-compatible endpoint, in [0, 65535]; 0 picks a free one."""
    endpoint_url: str = Field("", pattern=r"^(https?://[^\s]{1,500})?$")
    """Base URL of that endpoint as applications reach it, such as `https://models.example.com/v1`,
    which deployments show; made from host and port when empty."""
    http_host: str = ""
    """Address that the endpoint listens on; ATTUNE_HOST when empty. All other servers have no
    authentication: give the endpoint alone an address that others reach."""
    anonymous: bool | None = None
    """Whether requests without an API key are answered, as ones of the project `default`; only
    where the endpoint listens on loopback. Default: true there, false elsewhere."""
    metrics_port: int | None = Field(None, ge=0, le=65535)
    """Port of /metrics for Prometheus, in [0, 65535]; 0 picks a free one. None: there is none."""
    metrics_host: str = "127.0.0.1"
    """Address that /metrics is served on."""
    request_timeout_s: float = Field(600.0, ge=1, le=86_400)
    """Longest time of a request, in seconds, in [1, 86,400]."""
    running_max: int = Field(256, ge=1, le=4000)
    """Requests that the endpoint answers at once, in [1, 4,000]."""
    waiting_max: int = Field(1024, ge=0, le=100_000)
    """Requests that wait for their turn, in [0, 100,000]."""
    wait_max_s: float = Field(30.0, ge=0.1, le=3600)
    """Longest wait for a turn, in seconds, in [0.1, 3,600]."""
    requests_per_minute: int = Field(10_000, ge=1, le=1_000_000)
    """Limit of a key that has none of its own, in [1, 1,000,000]."""
    tokens_per_minute: int = Field(10_000_000, ge=1, le=1_000_000_000)
    """Limit of a key that has none of its own, prompts and answers, in [1, 1,000,000,000]."""
    concurrent_requests: int = Field(200, ge=1, le=10_000)
    """Limit of a key that has none of its own, in [1, 10,000]."""
    engine_port: int = Field(7190, ge=0, le=65535)
    """Port of the first engine, which listens on loopback only, in [0, 65535]; 0 picks a free one.
    Further engines pick free ones."""
    base_model: str = Field("attune/starter", min_length=1)
    """Id of the base model whose engine is kept warm."""
    engine_replicas: int = Field(1, ge=1, le=16)
    """Engines of the warm model and of each model that is deployed, in [1, 16]."""
    engine_processes_max: int = Field(2, ge=1, le=64)
    """Engines that this machine runs at most, in [1, 64]. One of them is the warm model's."""
    engine_idle_s: float = Field(600.0, ge=10, le=86_400)
    """How long an engine that is neither warm nor deployed runs without a request, in seconds, in
    [10, 86,400]."""
    engine_hour_cost_micro_usd: int = Field(0, ge=0, le=1_000_000_000)
    """Price of one engine's hour in millionths of a US dollar, in [0, 1,000,000,000], from which
    the playground tells what an answer costs; 0 for none."""
    engine_urls: str = Field("", max_length=10_000)
    """Engines that others look after, such as `attune/starter=http://vllm:8000`, separated by
    spaces; several of one model share its requests. They see the artefact root under the same
    path."""
    engine_cpus: str = Field("", pattern=r"^([0-9]+([-,][0-9]+)*)?$")
    """Cores of the engine, such as `1` or `2,3` or `4-7`; all when empty."""
    aws_target: str = Field("", pattern="^(sagemaker|bedrock)?$")
    """Deploy target at AWS that is offered beside one of ours, `sagemaker` or `bedrock`; none when
    empty. Credentials come from the usual AWS chain, never from a setting."""
    aws_region: str = Field("", pattern=r"^([a-z]{2}(-[a-z]+)+-[0-9])?$", validate_default=True)
    """Region, such as `us-east-1`."""
    aws_artefacts: str = Field("", max_length=500, validate_default=True)
    """Where models are put for it, such as `s3://my-bucket/attune`: a bucket in that region, and a
    prefix that belongs to this installation alone."""
    aws_role_arn: str = Field(
        "", pattern=r"^(arn:aws[a-z-]*:iam::[0-9]{12}:role/\S{1,500})?$", validate_default=True
    )
    """Role that SageMaker or Bedrock takes on; it may read the bucket and, for SageMaker, the
    image."""
    aws_image: str = Field("", pattern=r"^([^\s/]+\.[^\s/]+/\S{1,400})?$", validate_default=True)
    """For `sagemaker`: URI of a container with vLLM, AWS's own or yours, in that region."""
    aws_instance_type: str = Field(
        "", pattern=r"^(ml\.[a-z0-9-]+\.[a-z0-9]+)?$", validate_default=True
    )
    """For `sagemaker`: kind of instance, such as `ml.g5.xlarge`."""
    aws_instance_count: int = Field(1, ge=1, le=100)
    """For `sagemaker`: instances of each endpoint, in [1, 100]."""
    aws_environment: str = Field("", max_length=5000)
    """For `sagemaker`: variables of the container, such as `SM_VLLM_MAX_MODEL_LEN=8192`, separated
    by spaces; no secrets, for AWS shows them."""
    aws_hour_cost_usd: float | None = Field(None, ge=0, le=10_000)
    """Price of an hour of one instance, or of one model copy at `bedrock`, in US dollars, in
    [0, 10,000]; unknown when absent."""

    @field_validator("engine_urls")
    @classmethod
    def _are_urls(cls, value: str) -> str:
        for entry in value.split():
            if not ENGINE_URL.fullmatch(entry):
                raise ValueError(f"'{entry[:200]}' is not MODEL=http://HOST:PORT")
        return value

    @field_validator(*AWS_NEEDED["sagemaker"], *AWS_OPTIONAL["sagemaker"])
    @classmethod
    def _belongs_to_target(cls, value: object, info: ValidationInfo) -> object:
        name, target = str(info.field_name), info.data.get("aws_target")
        if target is None:  # Refused already.
            return value
        needed = AWS_NEEDED.get(target, ())
        if name in needed and not value:
            raise ValueError(f"ATTUNE_SERVING_AWS_TARGET={target} needs it")
        is_set = value != cls.model_fields[name].default
        if is_set and name not in (*needed, *AWS_OPTIONAL.get(target, ())):
            shown = target or "empty"
            raise ValueError(f"ATTUNE_SERVING_AWS_TARGET is {shown}, which has no use for it")
        return value

    @field_validator("aws_artefacts")
    @classmethod
    def _is_bucket(cls, value: str) -> str:
        if value and not AWS_ARTEFACTS.fullmatch(value):
            raise ValueError("it is not s3://BUCKET or s3://BUCKET/PREFIX")
        return value

    @field_validator("aws_environment")
    @classmethod
    def _are_variables(cls, value: str) -> str:
        for entry in value.split():
            if not AWS_ENVIRONMENT.fullmatch(entry):
                raise ValueError(f"'{entry[:80]}' is not NAME=VALUE")
            if AWS_SECRET.search(entry.split("=", 1)[0]):
                name = entry.split("=", 1)[0]
                raise PydanticCustomError(
                    SECRET, "'{name}' sounds like a secret, which AWS would show", {"name": name}
                )
        return value

    @property
    def aws_bucket(self) -> tuple[str, str]:
        """Bucket and prefix for models at AWS; both empty without a target there."""
        found = AWS_ARTEFACTS.fullmatch(self.aws_artefacts)
        return (found["bucket"], found["prefix"] or "") if found else ("", "")

    @property
    def aws_variables(self) -> dict[str, str]:
        """Variables of the container at SageMaker."""
        return dict(entry.split("=", 1) for entry in self.aws_environment.split())

    @property
    def endpoint_host(self) -> str:
        """Address that the endpoint listens on."""
        return self.http_host or self.host

    @property
    def anonymous_project(self) -> str:
        """Id of the project of requests without a key; empty when none are answered.

        Raises:
            SystemExit: If they are to be answered where others reach the endpoint.
        """
        is_private = is_loopback(self.endpoint_host)
        if self.anonymous and not is_private:
            raise SystemExit(
                "ATTUNE_SERVING_ANONYMOUS=true needs an endpoint on loopback, and this one listens "
                f"on {self.endpoint_host}. Leave it out, and give applications API keys."
            )
        return DEFAULT_PROJECT if is_private and self.anonymous is not False else ""

    @property
    def engine_addresses(self) -> dict[str, list[str]]:
        """Addresses of the engines that others look after, by model id."""
        found: dict[str, list[str]] = {}
        for entry in self.engine_urls.split():
            model_id, address = entry.split("=", 1)
            found.setdefault(model_id, []).append(address.rstrip("/"))
        return found

    @property
    def store_url(self) -> str:
        """URL of the database, with the default filled in."""
        return self.database_url or f"sqlite+aiosqlite:///{self.home / 'serving.db'}"
