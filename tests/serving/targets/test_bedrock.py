"""The target `bedrock`: botocore's stubs check every call against AWS's own description of it."""

import io
import json
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from services.common.errors import FailedPrecondition, Unavailable
from services.serving.deployments import deployment as domain
from services.serving.engines.engine_client import EngineRefused
from services.serving.targets.aws import Names
from services.serving.targets.bedrock import Bedrock
from services.serving.targets.target import TargetFailed
from tests.serving.targets.cloud import ANSWER, BUCKET, NAME, OPTIONS, Cloud, an_account, confirmed
from tests.serving.targets.runtime import a_runtime

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ARN = "arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdefgh1234"
JOB_ARN = "arn:aws:bedrock:us-east-1:123456789012:model-import-job/abcdefgh1234"
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": False}


@pytest.fixture
def cloud(tmp_path):
    with an_account():
        yield Cloud(tmp_path)


class Stubs:
    """What Bedrock says, in the order of the calls."""

    def __init__(self, aws):
        self.control = Stubber(aws.client("bedrock"))
        self.answers = Stubber(aws.client("bedrock-runtime"))

    def missing_model(self, name):
        self.control.add_client_error(
            "get_imported_model",
            "ResourceNotFoundException",
            expected_params={"modelIdentifier": name},
        )

    def model(self, name, arn=ARN):
        self.control.add_response(
            "get_imported_model",
            {"modelArn": arn, "modelName": name, "modelArchitecture": "llama"},
            {"modelIdentifier": name},
        )

    def missing_job(self):
        self.control.add_client_error("get_model_import_job", "ResourceNotFoundException")

    def job(self, status, **fields):
        answer = {"jobArn": JOB_ARN, "status": status, "creationTime": NOW, **fields}
        self.control.add_response("get_model_import_job", answer, {"jobIdentifier": ANY})

    def importing(self, *names):
        summaries = [
            {
                "jobArn": JOB_ARN,
                "jobName": name,
                "status": "InProgress",
                "creationTime": NOW,
            }
            for name in names
        ]
        self.control.add_response(
            "list_model_import_jobs",
            {"modelImportJobSummaries": summaries},
            {"statusEquals": "InProgress", "nameContains": ANY},
        )

    def imported(self, *names):
        summaries = [{"modelArn": ARN, "modelName": name, "creationTime": NOW} for name in names]
        self.control.add_response(
            "list_imported_models", {"modelSummaries": summaries}, {"nameContains": ANY}
        )

    def deleted(self, name):
        self.control.add_response("delete_imported_model", {}, {"modelIdentifier": name})

    def answer(self, body=ANSWER, expected=ANY):
        data = json.dumps(body).encode()
        self.answers.add_response(
            "invoke_model",
            {"body": StreamingBody(io.BytesIO(data), len(data)), "contentType": "application/json"},
            {
                "modelId": ARN,
                "contentType": "application/json",
                "accept": "application/json",
                "body": expected,
            },
        )

    @contextmanager
    def active(self):
        with self.control, self.answers:
            yield
        self.control.assert_no_pending_responses()
        self.answers.assert_no_pending_responses()


async def merged(cloud, target, deployment):
    """Return the version with its whole model, and the name that it has at Bedrock."""
    progress = await cloud.look(target, deployment)
    assert "merged" in progress.message
    await cloud.pause()
    (version,) = await cloud.versions.list_named(deployment.decided.model_versions)
    weights = None
    while weights is None:
        weights = await target._merging.advance(version)
        await cloud.pause()
    version = await cloud.versions.get(version.name)
    return version, Names(OPTIONS, deployment).of(version, weights)


async def begun(cloud, etag="e1"):
    version = await cloud.version()
    deployment = replace(cloud.deployment(version, etag), target="bedrock")
    target = cloud.target(Bedrock)
    version, name = await merged(cloud, target, deployment)
    return target, deployment, version, name, Stubs(cloud.aws)


async def test_a_model_is_uploaded_imported_tried_and_its_objects_are_deleted(cloud):
    target, deployment, version, name, stubs = await begun(cloud)
    stubs.missing_model(name)
    stubs.missing_job()
    stubs.importing()
    with stubs.active():
        assert "uploaded" in (await cloud.look(target, deployment)).message
        while len(cloud.objects()) < 2:
            await cloud.pause()
    prefix = f"attune/default/support/{name}/"
    assert {key.removeprefix(prefix) for key in cloud.objects()} == {"config.json", "parity.jsonl"}
    upload = target._uploads._uploads[prefix]
    await upload.task
    stubs.missing_model(name)
    stubs.missing_job()
    stubs.importing()
    tags = [
        {"key": "attune:deployment", "value": NAME},
        {"key": "attune:model-version", "value": version.name},
        {"key": "attune:spec-hash", "value": version.spec_hash},
    ]
    stubs.control.add_response(
        "create_model_import_job",
        {"jobArn": JOB_ARN},
        {
            "jobName": ANY,
            "importedModelName": name,
            "roleArn": OPTIONS.role_arn,
            "modelDataSource": {"s3DataSource": {"s3Uri": f"s3://{BUCKET}/{prefix}"}},
            "jobTags": tags,
            "importedModelTags": tags,
            "clientRequestToken": ANY,
        },
    )
    stubs.missing_model(name)
    stubs.job("InProgress", jobName=name)
    stubs.model(name)
    stubs.answer()
    stubs.imported(name, "attune-support-0000000000-x")
    with stubs.active():
        assert "is asked to import" in (await cloud.look(target, deployment)).message
        assert "takes some minutes" in (await cloud.look(target, deployment)).message
        done = await cloud.look(target, deployment)
    assert (done.is_done, done.external_name) == (True, ARN)
    assert cloud.objects() == {}


async def test_a_restarted_process_finds_the_import_of_the_one_before(cloud):
    _, deployment, _, name, _ = await begun(cloud)
    target = cloud.target(Bedrock)
    stubs = Stubs(cloud.aws)
    stubs.missing_model(name)
    stubs.job("InProgress", jobName=name)
    with stubs.active():
        assert "takes some minutes" in (await cloud.look(target, deployment)).message
    assert cloud.objects() == {}


async def test_an_import_that_fails_says_why_and_the_next_decision_imports_again(cloud):
    target, deployment, _, name, stubs = await begun(cloud)
    stubs.missing_model(name)
    stubs.job("Failed", failureMessage="The role cannot\nread the bucket.")
    stubs.missing_model(name)
    stubs.missing_job()
    stubs.importing()
    with stubs.active():
        with pytest.raises(TargetFailed, match=r"role cannot read the bucket\..*deploy it again"):
            await cloud.look(target, deployment)
        again = await cloud.look(target, replace(deployment, etag="e2"))
    assert "uploaded" in again.message


async def test_an_import_of_an_earlier_decision_is_waited_for(cloud):
    target, deployment, _, name, stubs = await begun(cloud)
    stubs.missing_model(name)
    stubs.missing_job()
    stubs.importing(name + "-0")
    with stubs.active():
        assert "must end first" in (await cloud.look(target, deployment)).message


async def test_an_architecture_that_is_not_imported_is_refused_before_anything_is_uploaded(cloud):
    target, deployment, version, name, stubs = await begun(cloud)
    folder = cloud.artefacts.model(f"merged/{version.merged_sha256[:12]}") / version.merged_sha256
    (folder / "config.json").write_text(json.dumps({"architectures": ["Gemma3ForCausalLM"]}))
    assert "Gemma3ForCausalLM" in (await target.offer(version)).objection
    with pytest.raises(FailedPrecondition, match="does not import models of the kind Gemma3"):
        target.check(version, [])
    stubs.missing_model(name)
    with stubs.active(), pytest.raises(TargetFailed, match="Gemma3ForCausalLM"):
        await cloud.look(target, deployment)


async def test_requests_go_to_the_imported_model_without_what_it_does_not_take(cloud):
    target, deployment, version, name, stubs = await begun(cloud)
    sent = json.dumps({"messages": CHAT["messages"]}).encode()
    stubs.model(name)
    stubs.answer(expected=sent)
    client = target.client(deployment, version)
    with stubs.active():
        answer = await client.ask("/v1/chat/completions", CHAT)
    assert answer["choices"][0]["message"]["content"] == "good day"


@pytest.mark.parametrize(
    ("code", "error", "match"),
    [
        ("ValidationException", EngineRefused, "too long"),
        ("ModelNotReadyException", Unavailable, "busy"),
        ("AccessDeniedException", Unavailable, "AccessDeniedException"),
        ("ModelErrorException", Unavailable, "ModelErrorException"),
    ],
)
async def test_what_bedrock_refuses_reaches_the_caller_as_an_engines_refusal_does(
    cloud, code, error, match
):
    target, deployment, version, name, stubs = await begun(cloud)
    stubs.model(name)
    stubs.answers.add_client_error("invoke_model", code, "The prompt is too long.")
    with stubs.active(), pytest.raises(error, match=match):
        await target.client(deployment, version).ask("/v1/chat/completions", CHAT)


async def test_an_answer_streams_with_an_event_for_each_chunk(cloud, monkeypatch):
    chunks = [
        {"choices": [{"delta": {"content": "good"}}]},
        {"choices": [{"delta": {"content": " day"}, "finish_reason": "stop"}]},
    ]
    lines = "\n".join(map(json.dumps, chunks)).encode()
    with a_runtime(lines) as (address, bodies):
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", address)
        target, deployment, version, name, stubs = await begun(cloud)
        stubs.model(name)
        client = target.client(deployment, version)
        with stubs.control:
            async with client.stream("/v1/chat/completions", {**CHAT, "stream": True}) as answer:
                assert [chunk async for batch in answer for chunk in batch] == chunks
    assert bodies == [{"messages": CHAT["messages"]}]


async def test_withdrawing_waits_for_an_import_and_deletes_what_is_of_the_deployment(cloud):
    target, deployment, _, name, stubs = await begun(cloud)
    leaving = domain.delete(confirmed(deployment))
    stubs.importing(name + "-0")
    stubs.importing()
    stubs.imported(name, "of-somebody-else")
    stubs.deleted(name)
    with stubs.active():
        assert not await target.withdraw(leaving)
        assert await target.withdraw(leaving)
    stubs.importing()
    stubs.imported()
    with stubs.active():
        assert await target.withdraw(leaving)


async def test_a_quota_that_is_reached_is_said_with_the_remedy(cloud):
    target, deployment, _, _, stubs = await begun(cloud)
    stubs.control.add_client_error(
        "get_imported_model", "ServiceQuotaExceededException", "Imported models per account: 3."
    )
    with stubs.active(), pytest.raises(TargetFailed, match=r"per account: 3\..*higher quota"):
        await cloud.look(target, deployment)
