"""Amazon Web Services: its clients, and what its refusals mean in words that help."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from threading import Lock
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)

from services.common.errors import Unavailable
from services.serving.deployments.deployment import Deployment
from services.serving.engines.weights import Weights
from services.serving.registry.version import Version
from services.serving.targets.target import TargetFailed

CALLS_MAX = 8
"""Calls at once that arrange things."""
ANSWERS_MAX = 64
"""Calls at once that wait for answers of models."""
ATTEMPTS_MAX = 4
"""Tries of one call that arranges something; botocore waits longer before each."""
LISTED_MAX = 1000
CONNECT_TIMEOUT_S = 10
CALL_TIMEOUT_S = 60
ANSWER_TIMEOUT_S = 600
RETRY_AFTER_S = 10.0
MESSAGE_MAX = 400
ANSWERING = ("sagemaker-runtime", "bedrock-runtime")
CREDENTIALS = (
    "Give this process credentials by AWS's usual chain: environment, profile, or the role of the "
    "machine or task."
)
PASSING = re.compile(
    r"Throttl|TooManyRequests|RequestLimitExceeded|SlowDown|InternalFailure|InternalServer"
    r"|InternalError|ServiceUnavailable|RequestTimeout|ModelNotReady|ModelTimeout"
    r"|InternalDependency|5\d\d"
)
"""Codes of what is better a moment later."""
CREDENTIAL_CODES = re.compile(
    r"ExpiredToken|InvalidClientTokenId|UnrecognizedClient|InvalidAccessKeyId|AuthFailure"
    r"|SignatureDoesNotMatch|InvalidSignature|IncompleteSignature|MissingAuthenticationToken"
    r"|RequestExpired|TokenRefreshRequired"
)
"""Codes whose messages may repeat parts of the request's signature: they are never shown."""
REMEDIES = (
    (
        re.compile(r"AccessDenied|NotAuthorized|Unauthorized|Forbidden|^403$"),
        "Allow it to the identity of this process, or to the role of ATTUNE_SERVING_AWS_ROLE_ARN",
    ),
    (
        re.compile(r"LimitExceeded|QuotaExceeded|InsufficientInstanceCapacity|CapacityError"),
        "Ask AWS for a higher quota, delete what is not needed, or change "
        "ATTUNE_SERVING_AWS_INSTANCE_TYPE or ATTUNE_SERVING_AWS_REGION",
    ),
    (
        re.compile(r"NoSuchBucket|^404$|PermanentRedirect|^301$"),
        "Make the bucket of ATTUNE_SERVING_AWS_ARTEFACTS in the region, or correct the setting",
    ),
    (
        re.compile(r"Validation|ParamValidation"),
        "Correct the settings ATTUNE_SERVING_AWS_*",
    ),
)
KEY_ID = re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{12,}\b")

T = TypeVar("T")


@dataclass(frozen=True)
class AwsOptions:
    """What the operator decides about AWS; never credentials."""

    region: str
    bucket: str
    prefix: str
    """Of keys in the bucket, without slashes around it; nobody else writes there."""
    role_arn: str
    """Role that SageMaker or Bedrock takes on to read the bucket."""
    image: str = ""
    """Container that answers on SageMaker."""
    instance_type: str = ""
    instance_count: int = 1
    environment: dict[str, str] = field(default_factory=dict)
    """Of the container, besides what says where the model is."""
    hour_cost_usd: float | None = None
    """Price of an hour of one instance or model copy; None when unknown."""


class AwsRefused(Exception):
    """AWS understood a call and said no."""

    def __init__(self, code: str, message: str, response: dict[str, Any]) -> None:
        """Keep AWS's code, its message in one line without ids of keys, and the whole response."""
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.response = code, message, response

    @property
    def is_missing(self) -> bool:
        """Whether what was named does not exist."""
        # SageMaker has no code of its own for it.
        return self.code.startswith(("ResourceNotFound", "NoSuchKey", "NoSuchUpload")) or (
            self.code.startswith("Validation") and "Could not find" in self.message
        )

    def failure(self, doing: str) -> TargetFailed:
        """Return what it means for a deployment.

        Args:
            doing: What was tried, such as `to make an endpoint`.
        """
        remedy = next((text for codes, text in REMEDIES if codes.search(self.code)), "Mend it")
        return TargetFailed(
            f"AWS refused {doing} ({self.code}): {self.message} {remedy}, then deploy it again."
        )


class Aws:
    """Calls AWS in threads: its library knows no other way."""

    def __init__(self, options: AwsOptions) -> None:
        """Keep the options; nothing is called, and no credentials are looked for, yet."""
        self.options = options
        self._session: Any = boto3.session.Session(region_name=options.region)
        self._clients: dict[str, Any] = {}
        self._lock = Lock()
        self._calls = ThreadPoolExecutor(CALLS_MAX, "aws")
        self._answers = ThreadPoolExecutor(ANSWERS_MAX, "aws-answers")

    def client(self, service: str) -> Any:
        """Return the client of a service, such as `sagemaker`; the first time takes a moment."""
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._session.client(service, config=_config(service))
            return self._clients[service]

    async def call(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        """Return the response to one call.

        Raises:
            AwsRefused: If AWS says no.
            Unavailable: If it cannot be reached, is busy, or does not know who is calling.
        """

        def work() -> dict[str, Any]:
            response: dict[str, Any] = getattr(self.client(service), operation)(**arguments)
            return response

        return await self.run(work, answers=service in ANSWERING)

    async def list(
        self, service: str, operation: str, key: str, **arguments: Any
    ) -> list[dict[str, Any]]:
        """Return what a call lists over all its pages, at most 1,000 things.

        Raises:
            AwsRefused: As `call`.
            Unavailable: As `call`.
        """

        def work() -> list[dict[str, Any]]:
            pages = self.client(service).get_paginator(operation).paginate(**arguments)
            return list(islice((one for page in pages for one in page.get(key) or []), LISTED_MAX))

        return await self.run(work)

    async def run(self, work: Callable[[], T], *, answers: bool = False) -> T:
        """Return what blocking work returns that calls AWS.

        Args:
            work: Called in a thread.
            answers: Whether it waits for a model, which must not hold up what is arranged.

        Raises:
            AwsRefused: As `call`.
            Unavailable: As `call`.
        """
        executor = self._answers if answers else self._calls
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, work)
        except ClientError as error:
            raise _refusal(error) from None
        except (NoCredentialsError, PartialCredentialsError):
            raise _away(
                "AWS_CREDENTIALS", f"No AWS credentials were found. {CREDENTIALS}"
            ) from None
        except ParamValidationError as error:
            raise AwsRefused("ParamValidation", _one_line(str(error)), {}) from None
        except BotoCoreError as error:
            kind = type(error).__name__
            raise _away(
                "AWS_AWAY", f"AWS could not be reached ({kind}). It is tried again."
            ) from None


@dataclass(frozen=True)
class Names:
    """Names at AWS, made of what they stand for: after a crash they are found again."""

    options: AwsOptions
    deployment: Deployment

    @property
    def stem(self) -> str:
        """How all names of the deployment begin, 35 characters at most; no other's begin so."""
        place = f"{self.options.bucket}/{self.options.prefix} {self.deployment.name}"
        alias = re.sub("-+", "-", self.deployment.alias[:16]).strip("-")
        return f"attune-{alias}-{_digest(place, 10)}-"

    def version_stem(self, model_version: str) -> str:
        """Return how all names of one version of it begin."""
        return f"{self.stem}{_digest(model_version, 8)}-"

    def of(self, version: Version, weights: Weights) -> str:
        """Return the name of a version with its weights: 52 characters at most."""
        return self.version_stem(version.name) + weights.revision[:8]

    @property
    def folder(self) -> str:
        """Prefix of the keys of all its objects."""
        _, project, _, alias = self.deployment.name.split("/")
        return "/".join(filter(None, (self.options.prefix, project, alias))) + "/"

    def tags(
        self, version: Version, *, key: str = "Key", value: str = "Value"
    ) -> list[dict[str, str]]:
        """Return what tells people at AWS where it comes from; services spell the fields so."""
        told = {
            "attune:deployment": self.deployment.name,
            "attune:model-version": version.name,
            "attune:spec-hash": version.spec_hash,
        }
        return [{key: name, value: text} for name, text in told.items()]


def _config(service: str) -> Config:
    is_answering = service in ANSWERING
    return Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=ANSWER_TIMEOUT_S if is_answering else CALL_TIMEOUT_S,
        max_pool_connections=ANSWERS_MAX if is_answering else CALLS_MAX,
        # An answer that was paid for is not asked for again behind the caller's back.
        retries={"mode": "standard", "total_max_attempts": 1 if is_answering else ATTEMPTS_MAX},
    )


def _refusal(error: ClientError) -> AwsRefused | Unavailable:
    response: dict[str, Any] = dict(error.response)
    code = str(response.get("Error", {}).get("Code", "Unknown"))
    if CREDENTIAL_CODES.search(code):
        return _away(
            "AWS_CREDENTIALS", f"AWS does not accept the credentials ({code}). {CREDENTIALS}"
        )
    if PASSING.search(code):
        return _away("AWS_BUSY", f"AWS is busy ({code}). It is tried again.")
    return AwsRefused(code, _one_line(str(response["Error"].get("Message", ""))), response)


def _away(reason: str, message: str) -> Unavailable:
    return Unavailable(message, reason=reason, retry_after_s=RETRY_AFTER_S)


def _one_line(text: str) -> str:
    line = KEY_ID.sub("(key id)", " ".join(text.split()))
    return line if len(line) <= MESSAGE_MAX else line[:MESSAGE_MAX] + "..."


def _digest(text: str, digits: int) -> str:
    return sha256(text.encode()).hexdigest()[:digits]
