"""Files on their way to S3, in parts and half-way."""

import asyncio
import os

import pytest

from services.common.artefacts import write_manifest
from services.serving.targets import aws_upload
from services.serving.targets.aws import Aws, AwsRefused
from services.serving.targets.aws_upload import Uploads
from services.serving.targets.target import TargetFailed
from tests.serving.targets.cloud import BUCKET, OPTIONS, an_account

PREFIX = "attune/default/support/one/"
PART = 5 * 1024 * 1024
"""The smallest that S3 takes."""
LOOKS_MAX = 6000


@pytest.fixture
def aws():
    with an_account():
        yield Aws(OPTIONS)


def a_folder(tmp_path, **files):
    folder = tmp_path / "model"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    write_manifest(folder, {})
    return folder


async def upload(aws, folder):
    uploads = Uploads(aws)
    for _ in range(LOOKS_MAX):
        if not uploads.advance(folder, PREFIX):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not done")


def keys(aws):
    found = aws.client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return [one["Key"].removeprefix(PREFIX) for one in found]


async def test_a_large_file_goes_in_parts_and_arrives_whole(aws, tmp_path, monkeypatch):
    monkeypatch.setattr(aws_upload, "PART_BYTES", PART)
    data = os.urandom(2 * PART + 17)
    await upload(aws, a_folder(tmp_path, weights=data, config=b"{}"))
    s3 = aws.client("s3")
    found = s3.get_object(Bucket=BUCKET, Key=PREFIX + "weights")
    assert found["Body"].read() == data
    assert found["ETag"].endswith('-3"')
    assert sorted(keys(aws)) == ["config", "weights"]
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=BUCKET)


async def test_parts_of_a_process_that_died_are_ended_before_it_begins_again(aws, tmp_path):
    s3 = aws.client("s3")
    s3.create_multipart_upload(Bucket=BUCKET, Key=PREFIX + "weights")
    s3.create_multipart_upload(Bucket=BUCKET, Key="of-somebody-else")
    await upload(aws, a_folder(tmp_path, weights=b"1"))
    left = s3.list_multipart_uploads(Bucket=BUCKET)["Uploads"]
    assert [one["Key"] for one in left] == ["of-somebody-else"]


async def test_a_part_that_is_refused_leaves_no_parts_behind(aws, tmp_path, monkeypatch):
    monkeypatch.setattr(aws_upload, "PART_BYTES", PART)
    call = Aws.call

    async def refuse(self, service, operation, **arguments):
        if arguments.get("PartNumber") == 2:
            raise AwsRefused("AccessDenied", "Not for you.", {})
        return await call(self, service, operation, **arguments)

    monkeypatch.setattr(Aws, "call", refuse)
    with pytest.raises(TargetFailed, match="to store its files in S3"):
        await upload(aws, a_folder(tmp_path, weights=os.urandom(PART + 1)))
    assert "Uploads" not in aws.client("s3").list_multipart_uploads(Bucket=BUCKET)


async def test_a_file_that_is_not_the_manifests_is_not_uploaded(aws, tmp_path):
    folder = a_folder(tmp_path, weights=b"1")
    (folder / "weights").write_bytes(b"2")
    with pytest.raises(TargetFailed, match="not those of its manifest"):
        await upload(aws, folder)
    assert keys(aws) == []


async def test_an_object_of_other_bytes_is_uploaded_over(aws, tmp_path):
    s3 = aws.client("s3")
    s3.put_object(Bucket=BUCKET, Key=PREFIX + "weights", Body=b"2", Metadata={"sha256": "0"})
    await upload(aws, a_folder(tmp_path, weights=b"1"))
    assert s3.get_object(Bucket=BUCKET, Key=PREFIX + "weights")["Body"].read() == b"1"
