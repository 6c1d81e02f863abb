"""The target `sagemaker` on moto's account: made, switched, failed, killed half-way, given back."""

from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from services.serving.deployments import deployment as domain
from services.serving.deployments.deployment import Canary
from services.serving.targets import sagemaker
from services.serving.targets.aws import Aws, Names
from services.serving.targets.sagemaker import SageMaker
from services.serving.targets.target import TargetFailed
from tests.serving.targets.cloud import (
    OPTIONS,
    Cloud,
    an_account,
    answering,
    coming_up_slowly,
    configurations,
    confirmed,
    endpoints,
    models,
)


@pytest.fixture
def cloud(tmp_path):
    with an_account():
        yield Cloud(tmp_path)


@pytest.fixture(autouse=True)
def asked(cloud, monkeypatch):
    return answering(monkeypatch)


def refusing(monkeypatch, operation, code, message):
    """Let AWS refuse one operation."""
    call = Aws.call

    async def refuse(self, service, wanted, **arguments):
        if wanted != operation:
            return await call(self, service, wanted, **arguments)

        def work():
            raise ClientError({"Error": {"Code": code, "Message": message}}, operation)

        return await self.run(work)

    monkeypatch.setattr(Aws, "call", refuse)


async def test_a_version_is_merged_uploaded_and_gets_an_endpoint_that_answers(cloud, asked):
    version = await cloud.version()
    deployment = cloud.deployment(version)
    said, progress = await cloud.settle(cloud.target(SageMaker), deployment)
    (endpoint,) = endpoints()
    assert progress.external_name == endpoint
    assert said[0] == "The adapter is merged into its base."
    assert any("uploaded to S3" in one for one in said)
    container = models()[endpoint].primary_container
    assert container["Image"] == OPTIONS.image
    source = container["ModelDataSource"]["S3DataSource"]
    folder = source["S3Uri"].removeprefix("s3://models-of-tests/")
    assert folder.startswith("attune/default/support/")
    assert {key.removeprefix(folder) for key in cloud.objects()} == {"config.json", "parity.jsonl"}
    tags = {one["Key"]: one["Value"] for one in endpoints()[endpoint].tags}
    assert tags["attune:model-version"] == version.name
    assert [name for name, _ in asked] == [endpoint]


async def test_an_endpoint_that_comes_up_is_waited_for(cloud, monkeypatch):
    coming_up_slowly(monkeypatch)
    version = await cloud.version()
    target, deployment = cloud.target(SageMaker), cloud.deployment(version)
    with pytest.raises(AssertionError, match="some minutes"):
        await cloud.settle(target, deployment, looks=12)
    (endpoint,) = endpoints().values()
    endpoint.endpoint_status = "InService"
    assert (await cloud.look(target, deployment)).is_done


@pytest.mark.parametrize(
    "operation", ["put_object", "create_model", "create_endpoint_config", "create_endpoint"]
)
async def test_a_process_that_dies_after_a_call_leaves_work_that_the_next_one_ends(
    cloud, monkeypatch, operation
):
    version = await cloud.version()
    deployment = cloud.deployment(version)
    call = Aws.call

    async def die(self, service, wanted, **arguments):
        result = await call(self, service, wanted, **arguments)
        if wanted == operation:
            raise RuntimeError("dead")
        return result

    with monkeypatch.context() as dying, pytest.raises(RuntimeError, match="dead"):
        dying.setattr(Aws, "call", die)
        await cloud.settle(cloud.target(SageMaker), deployment)
    await cloud.settle(cloud.target(SageMaker), deployment)
    (endpoint,) = endpoints()
    assert list(models()) == [endpoint]
    assert list(configurations()) == [endpoint]
    assert len(cloud.objects()) == 2


async def test_what_is_in_the_bucket_already_is_not_uploaded_again(cloud):
    version = await cloud.version()
    deployment = cloud.deployment(version)
    await cloud.settle(cloud.target(SageMaker), deployment)
    before = cloud.aws.client("s3").list_objects_v2(Bucket=OPTIONS.bucket)["Contents"]
    cloud.aws.client("sagemaker").delete_endpoint(EndpointName=next(iter(endpoints())))
    await cloud.settle(cloud.target(SageMaker), deployment)
    after = cloud.aws.client("s3").list_objects_v2(Bucket=OPTIONS.bucket)["Contents"]
    assert [one["LastModified"] for one in after] == [one["LastModified"] for one in before]
    assert len(endpoints()) == 1


async def test_a_failed_endpoint_fails_the_decision_and_the_next_one_begins_anew(
    cloud, monkeypatch
):
    coming_up_slowly(monkeypatch)
    version = await cloud.version()
    target, deployment = cloud.target(SageMaker), cloud.deployment(version)
    while not endpoints():
        await cloud.look(target, deployment)
        await cloud.pause()
    (endpoint,) = endpoints().values()
    endpoint.endpoint_status, endpoint.failure_reason = "Failed", "No capacity."
    with pytest.raises(TargetFailed, match=r"No capacity\..*deploy it again"):
        await cloud.look(target, deployment)
    again = replace(deployment, etag="e2")
    progress = await cloud.look(target, again)
    assert "failed before is deleted first" in progress.message
    while not endpoints():
        await cloud.look(target, again)
        await cloud.pause()
    (endpoint,) = endpoints().values()
    endpoint.endpoint_status = "InService"
    assert (await cloud.look(target, again)).is_done


@pytest.mark.parametrize(
    ("operation", "code", "message", "expected"),
    [
        (
            "create_endpoint",
            "ResourceLimitExceeded",
            "The account-level service limit 'ml.g4dn.xlarge for endpoint usage' is 0 Instances.",
            r"ResourceLimitExceeded.*is 0 Instances.*higher quota.*AWS_INSTANCE_TYPE",
        ),
        (
            "create_model",
            "AccessDeniedException",
            "User: arn:aws:iam::123456789012:user/x is not authorized to perform: iam:PassRole",
            r"AccessDeniedException.*iam:PassRole.*Allow it to the identity",
        ),
        (
            "put_object",
            "NoSuchBucket",
            "The specified bucket does not exist",
            "NoSuchBucket.*ATTUNE_SERVING_AWS_ARTEFACTS",
        ),
        (
            "create_endpoint_config",
            "ValidationException",
            "Instance type\nis wrong for AKIAIOSFODNN7EXAMPLE",
            r"Instance type is wrong for \(key id\).*ATTUNE_SERVING_AWS_\*",
        ),
    ],
)
async def test_a_refusal_of_aws_becomes_one_line_with_the_remedy(
    cloud, monkeypatch, operation, code, message, expected
):
    version = await cloud.version()
    refusing(monkeypatch, operation, code, message)
    with pytest.raises(TargetFailed, match=expected) as refusal:
        await cloud.settle(cloud.target(SageMaker), cloud.deployment(version))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ThrottlingException", r"AWS is busy \(ThrottlingException\)"),
        ("ExpiredTokenException", "does not accept the credentials .*usual chain"),
        ("SignatureDoesNotMatch", "does not accept the credentials .*usual chain"),
    ],
)
async def test_what_passes_is_waited_for_and_never_shows_what_was_signed(
    cloud, monkeypatch, code, expected
):
    version = await cloud.version()
    with monkeypatch.context() as refused:
        refusing(refused, "describe_endpoint", code, "x-amz-security-token:SECRET")
        target, deployment = cloud.target(SageMaker), cloud.deployment(version)
        with pytest.raises(AssertionError, match=expected) as said:
            await cloud.settle(target, deployment, looks=4)
        assert "SECRET" not in str(said.value)
    await cloud.settle(target, deployment)


async def test_without_credentials_it_waits_and_says_how_they_are_given(cloud, monkeypatch):
    version = await cloud.version()
    target, deployment = cloud.target(SageMaker), cloud.deployment(version)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(AssertionError, match=r"No AWS credentials were found.*usual chain"):
        await cloud.settle(target, deployment, looks=4)


async def test_an_endpoint_that_does_not_speak_openais_shape_is_deleted_and_said(
    cloud, monkeypatch
):
    answering(monkeypatch, {"generated_text": "hello"})
    version = await cloud.version()
    with pytest.raises(
        TargetFailed, match=r"does not speak OpenAI's shape.*ATTUNE_SERVING_AWS_IMAGE"
    ):
        await cloud.settle(cloud.target(SageMaker), cloud.deployment(version))
    assert endpoints() == {}


async def test_a_switch_makes_the_new_endpoint_first_and_deletes_the_old_one_later(
    cloud, monkeypatch
):
    old, new = await cloud.version(), await cloud.version(alias_marker=2)
    now = [0.0]
    target = cloud.target(lambda *parts: SageMaker(*parts, clock=lambda: now[0]))
    first = cloud.deployment(old)
    _, made = await cloud.settle(target, first)
    switched = replace(domain.point_at(confirmed(first), new.name), etag="e2")
    switched = replace(switched, state=domain.DeploymentState.PENDING)
    _, done = await cloud.settle(target, switched)
    assert set(endpoints()) == {made.external_name, done.external_name}
    ready = confirmed(switched)
    await cloud.look(target, ready)
    assert len(endpoints()) == 2
    now[0] += sagemaker.LINGER_S
    await cloud.look(cloud.unpaced(target), ready)
    assert list(endpoints()) == [done.external_name]
    # A rollback needs the model and its files again.
    assert set(models()) == {made.external_name, done.external_name}
    assert len(cloud.objects()) == 4
    gone = replace(ready, previous_model_version="")
    await cloud.look(cloud.unpaced(target), gone)
    assert list(models()) == [done.external_name]
    assert len(cloud.objects()) == 2


async def test_a_canary_has_an_endpoint_of_its_own_and_both_can_be_asked(cloud, asked):
    one, other = await cloud.version(), await cloud.version(alias_marker=2)
    target = cloud.target(SageMaker)
    deployment = cloud.deployment(one)
    await cloud.settle(target, deployment)
    tried = domain.try_canary(confirmed(deployment), Canary(other.name, 10))
    await cloud.settle(target, replace(tried, etag="e2"))
    assert len(endpoints()) == 2
    asked.clear()
    for version in (one, other):
        kept = await cloud.versions.get(version.name)
        client = target.client(tried, kept)
        body = {"model": "merged/x", "messages": [{"role": "user", "content": "hi"}]}
        answer = await client.ask("/v1/chat/completions", body)
        assert answer["choices"][0]["message"]["content"] == "good day"
    assert {name for name, _ in asked} == set(endpoints())
    assert all("model" not in body for _, body in asked)


async def test_withdrawing_deletes_everything_of_the_deployment_and_nothing_else(cloud):
    version = await cloud.version()
    target, deployment = cloud.target(SageMaker), cloud.deployment(version)
    await cloud.settle(target, deployment)
    s3 = cloud.aws.client("s3")
    s3.put_object(Bucket=OPTIONS.bucket, Key="attune/default/support2/x", Body=b"1")
    begun = s3.create_multipart_upload(Bucket=OPTIONS.bucket, Key="attune/default/support/y")
    assert begun["UploadId"]
    leaving = domain.delete(deployment)
    assert not await target.withdraw(leaving)
    assert await target.withdraw(leaving)
    assert await cloud.target(SageMaker).withdraw(leaving)
    assert (endpoints(), dict(models()), dict(configurations())) == ({}, {}, {})
    assert list(cloud.objects()) == ["attune/default/support2/x"]
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=OPTIONS.bucket)


async def test_an_endpoint_that_cannot_be_deleted_yet_is_deleted_later(cloud, monkeypatch):
    version = await cloud.version()
    target, deployment = cloud.target(SageMaker), cloud.deployment(version)
    await cloud.settle(target, deployment)
    leaving = domain.delete(deployment)
    with monkeypatch.context() as refused:
        refusing(
            refused, "delete_endpoint", "ValidationException", "Cannot update in-progress endpoint"
        )
        assert not await target.withdraw(leaving)
    assert not await target.withdraw(leaving)
    assert await target.withdraw(leaving)
    assert endpoints() == {}


async def test_the_offer_says_what_it_costs_or_that_it_is_not_known(cloud):
    version = await cloud.version()
    unknown = await cloud.target(SageMaker).offer(version)
    assert unknown.hour_cost_micro_usd is None
    assert "the price is not configured" in unknown.cost
    cloud.options = replace(OPTIONS, instance_count=2, hour_cost_usd=0.736)
    known = await cloud.target(SageMaker).offer(version)
    assert known.hour_cost_micro_usd == 1_472_000
    assert "2 x ml.g4dn.xlarge" in known.cost
    assert "$1.47 an hour" in known.cost


def test_names_at_aws_fit_and_tell_deployments_and_installations_apart(cloud, tmp_path):
    class One:
        name = "projects/p/deployments/" + "a-" * 31 + "b"
        alias = "a-" * 31 + "b"

    class Other(One):
        name = "projects/q/deployments/" + One.alias

    stems = {
        Names(options, one).stem
        for options in (OPTIONS, replace(OPTIONS, prefix="other"))
        for one in (One, Other)
    }
    assert len(stems) == 4
    assert all(len(stem) <= 35 and "--" not in stem for stem in stems)


async def test_a_restarted_process_does_not_try_again_what_answers(cloud, asked):
    version = await cloud.version()
    deployment = cloud.deployment(version)
    await cloud.settle(cloud.target(SageMaker), deployment)
    assert (await cloud.look(cloud.target(SageMaker), confirmed(deployment))).is_done
    assert len(asked) == 1
