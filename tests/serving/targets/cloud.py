"""AWS as far as tests need it: moto in this process, and an account of nobody."""

import asyncio
import json
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

from botocore.loaders import create_loader
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID
from moto.sagemaker.models import FakeEndpoint, sagemaker_backends
from moto.sagemakerruntime.responses import SageMakerRuntimeResponse

from services.common.artefacts import Artefacts
from services.common.clock import SystemClock
from services.serving import store
from services.serving.deployments import deployment as domain
from services.serving.registry.version import lineage_of
from services.serving.registry.version_store import VersionStore
from services.serving.targets.aws import Aws, AwsOptions
from services.serving.targets.merging import Merging
from services.serving.targets.pace import Pace
from tests.serving.parts import Merger, a_job, an_adapter

REGION = "us-east-1"
BUCKET = "models-of-tests"
LOADER = create_loader()
NAME = "projects/default/deployments/support"
OPTIONS = AwsOptions(
    region=REGION,
    bucket=BUCKET,
    prefix="attune",
    role_arn="arn:aws:iam::123456789012:role/attune-serving",
    image="123456789012.dkr.ecr.us-east-1.amazonaws.com/vllm:1",
    instance_type="ml.g4dn.xlarge",
)
ANSWER = {
    "choices": [{"message": {"content": "good day"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 4, "completion_tokens": 3},
}


class Cloud:
    """An account with a bucket, and a registry whose versions go there."""

    def __init__(self, tmp_path):
        self.artefacts = Artefacts(tmp_path / "artefacts")
        self.database = store.new_database(f"sqlite+aiosqlite:///{tmp_path / 'serving.db'}")
        self.clock = SystemClock()
        self.versions = VersionStore(self.database, self.clock)
        self.trainer = Merger(self.artefacts)
        self.options = OPTIONS

    async def version(self, **config):
        await self.database.migrate()
        job = a_job(an_adapter(self.artefacts, lines=None, **config))
        return await self.versions.stage(lineage_of(job), None)

    def deployment(self, version, etag="e1"):
        now = self.clock.now()
        return domain.create(NAME, "sagemaker", version.name, etag=etag, now=now)

    def target(self, make):
        """Return a target as a fresh process has it, looking as often as it is asked."""
        self.aws = Aws(self.options)
        merging = Merging(self.trainer, self.versions)
        return make(self.aws, merging, self.artefacts, Pace(waiting_s=0.0))

    async def look(self, target, deployment):
        """Look once at what was decided, versions as they are kept now."""
        named = deployment.decided.model_versions
        versions = {one.name: one for one in await self.versions.list_named(named)}
        return await target.reconcile(deployment, [versions[name] for name in named])

    async def settle(self, target, deployment, looks=60):
        """Look until it is done; return what was said in between, and the last progress."""
        said = []
        for _ in range(looks):
            progress = await self.look(target, deployment)
            if progress.is_done:
                return said, progress
            said.append(progress.message)
            await self.pause()
        raise AssertionError(said)

    async def pause(self):
        """Let tasks and threads of this process go on."""
        await asyncio.sleep(0.01)

    def unpaced(self, target):
        """Return a target that has forgotten when it looked last."""
        target._pace = Pace(waiting_s=0.0)
        return target

    def objects(self):
        """Return the keys in the bucket with their sizes."""
        found = self.aws.client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return {one["Key"]: one["Size"] for one in found}


@contextmanager
def an_account():
    """Yield while AWS is moto's, with the bucket there."""
    # Each session reads megabytes of descriptions otherwise.
    with mock_aws(), patch("botocore.session.create_loader", return_value=LOADER):
        Aws(OPTIONS).client("s3").create_bucket(Bucket=BUCKET)
        yield


def answering(monkeypatch, body=ANSWER):
    """Let endpoints answer so; return the list of those that are asked, each with the request."""
    asked = []

    def invoke(self):
        asked.append((self.path.split("/")[2], json.loads(self.body)))
        return 200, {"Content-Type": "application/json"}, json.dumps(body)

    monkeypatch.setattr(SageMakerRuntimeResponse, "invoke_endpoint", invoke)
    return asked


def endpoints():
    """Return moto's endpoints by name."""
    found = sagemaker_backends[DEFAULT_ACCOUNT_ID][REGION].endpoints
    return {one.endpoint_name: one for one in found.values()}


def models():
    return sagemaker_backends[DEFAULT_ACCOUNT_ID][REGION]._models


def configurations():
    return sagemaker_backends[DEFAULT_ACCOUNT_ID][REGION].endpoint_configs


def coming_up_slowly(monkeypatch):
    """Let endpoints begin as those of AWS do; moto's are there at once."""
    begin = FakeEndpoint.__init__

    def begin_slowly(self, *args, **kwargs):
        begin(self, *args, **kwargs)
        self.endpoint_status = "Creating"

    monkeypatch.setattr(FakeEndpoint, "__init__", begin_slowly)


def confirmed(deployment):
    """Return a deployment whose target holds what was decided."""
    return replace(deployment, serving=deployment.decided, state=domain.DeploymentState.READY)
