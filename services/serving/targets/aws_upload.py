"""A model's files in S3: uploaded once, taken up again after a crash, deleted with the rest."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from services.common.artefacts import MANIFEST, read_manifest
from services.common.errors import ServiceError
from services.serving.targets.aws import Aws, AwsRefused
from services.serving.targets.target import TargetFailed

PART_BYTES = 64 * 1024 * 1024
"""Files beyond it go in parts of it; S3 takes 10,000 parts of a file."""
PARTS_AT_ONCE = 4
DELETED_AT_ONCE = 1000
"""As many as S3 takes in a call."""
DELETES_MAX = 100


@dataclass
class Upload:
    """One folder on its way."""

    size_bytes: int
    task: asyncio.Task[None]
    done_bytes: int = 0


class Uploads:
    """Puts folders of the artefact root under prefixes of the bucket."""

    def __init__(self, aws: Aws) -> None:
        """Keep whom to call."""
        self._aws = aws
        self._bucket = aws.options.bucket
        self._uploads: dict[str, Upload] = {}

    def advance(self, folder: Path, prefix: str) -> str:
        """Return how far an upload is, in words; empty when all files are there.

        Args:
            folder: With its manifest, whose files are uploaded; those that are there already, with
                their size and hash, are not uploaded again.
            prefix: Of their keys, with a slash at its end.

        Raises:
            TargetFailed: If it cannot be done.
            ServiceError: If AWS is away.
        """
        if prefix not in self._uploads:
            try:
                files = json.loads((folder / MANIFEST).read_text())["files"]
            except (OSError, ValueError, KeyError):
                raise _broken(folder) from None
            size = sum(int(one["size_bytes"]) for one in files.values())
            task = asyncio.create_task(self._upload(folder, prefix, files))
            self._uploads[prefix] = Upload(size, task)
        upload = self._uploads[prefix]
        if not upload.task.done():
            done, all_of_it = upload.done_bytes / 1e6, upload.size_bytes / 1e6
            return f"Its files are uploaded to S3: {done:,.0f} of {all_of_it:,.0f} MB."
        del self._uploads[prefix]
        try:
            upload.task.result()
        except AwsRefused as error:
            raise error.failure("to store its files in S3") from None
        return ""

    async def remove(self, prefix: str, keep: tuple[str, ...] = ()) -> None:
        """Delete all objects under a prefix, and what uploads left half-way; twice is as once.

        Args:
            prefix: With a slash at its end.
            keep: Beginnings of keys that stay.

        Raises:
            AwsRefused: If AWS says no.
            ServiceError: If AWS is away.
        """
        for key in [key for key in self._uploads if key.startswith(prefix)]:
            if not key.startswith(keep or ("\0",)):
                self._uploads.pop(key).task.cancel()
        await self._abort(prefix, keep)
        for _ in range(DELETES_MAX):
            if not (keys := await self._keys(prefix, keep)):
                break
            objects = [{"Key": key} for key in keys[:DELETED_AT_ONCE]]
            answer = await self._aws.call(
                "s3", "delete_objects", Bucket=self._bucket, Delete={"Objects": objects}
            )
            if errors := answer.get("Errors"):
                first = errors[0]
                raise AwsRefused(str(first.get("Code")), str(first.get("Message")), answer)

    async def _keys(self, prefix: str, keep: tuple[str, ...]) -> list[str]:
        found = await self._aws.list(
            "s3", "list_objects_v2", "Contents", Bucket=self._bucket, Prefix=prefix
        )
        return [one["Key"] for one in found if not one["Key"].startswith(keep or ("\0",))]

    async def _abort(self, prefix: str, keep: tuple[str, ...] = ()) -> None:
        """End uploads in parts that nobody goes on with: S3 keeps, and bills, their parts."""
        begun = await self._aws.list(
            "s3", "list_multipart_uploads", "Uploads", Bucket=self._bucket, Prefix=prefix
        )
        for one in begun:
            if not one["Key"].startswith(keep or ("\0",)):
                await self._abort_one(one["Key"], one["UploadId"])

    async def _abort_one(self, key: str, upload_id: str) -> None:
        try:
            await self._aws.call(
                "s3", "abort_multipart_upload", Bucket=self._bucket, Key=key, UploadId=upload_id
            )
        except AwsRefused as error:
            if not error.is_missing:
                raise

    async def _upload(self, folder: Path, prefix: str, files: dict[str, Any]) -> None:
        if await asyncio.to_thread(read_manifest, folder) is None:
            raise _broken(folder)
        await self._abort(prefix)
        for name, facts in sorted(files.items()):
            key, size = prefix + name, int(facts["size_bytes"])
            if not await self._is_there(key, size, facts["sha256"]):
                if size <= PART_BYTES:
                    await self._put(folder / name, key, facts["sha256"])
                else:
                    await self._put_in_parts(folder / name, key, facts["sha256"], size)
            self._uploads[prefix].done_bytes += size

    async def _is_there(self, key: str, size_bytes: int, digest: str) -> bool:
        try:
            head = await self._aws.call("s3", "head_object", Bucket=self._bucket, Key=key)
        except AwsRefused as error:
            if error.code in ("404", "NoSuchKey", "NotFound"):
                return False
            raise
        return (head["ContentLength"], head["Metadata"].get("sha256")) == (size_bytes, digest)

    async def _put(self, path: Path, key: str, digest: str) -> None:
        await self._aws.call(
            "s3",
            "put_object",
            Bucket=self._bucket,
            Key=key,
            Body=await asyncio.to_thread(path.read_bytes),
            Metadata={"sha256": digest},
            # S3 refuses bytes that are not those of the manifest.
            ChecksumSHA256=base64.b64encode(bytes.fromhex(digest)).decode(),
        )

    async def _put_in_parts(self, path: Path, key: str, digest: str, size_bytes: int) -> None:
        begun = await self._aws.call(
            "s3",
            "create_multipart_upload",
            Bucket=self._bucket,
            Key=key,
            Metadata={"sha256": digest},
            ChecksumAlgorithm="SHA256",
        )
        upload_id = begun["UploadId"]
        count = -(-size_bytes // PART_BYTES)
        places = asyncio.Semaphore(PARTS_AT_ONCE)

        async def send(index: int) -> dict[str, Any]:
            async with places:
                data = await asyncio.to_thread(_read_part, path, index)
                checksum = base64.b64encode(sha256(data).digest()).decode()
                part = {"PartNumber": index + 1, "ChecksumSHA256": checksum}
                answer = await self._aws.call(
                    "s3",
                    "upload_part",
                    Bucket=self._bucket,
                    Key=key,
                    UploadId=upload_id,
                    Body=data,
                    **part,
                )
                return {**part, "ETag": answer["ETag"]}

        sending = [asyncio.create_task(send(index)) for index in range(count)]
        try:
            parts = await asyncio.gather(*sending)
            await self._aws.call(
                "s3",
                "complete_multipart_upload",
                Bucket=self._bucket,
                Key=key,
                UploadId=upload_id,
                MultipartUpload={"Parts": parts},
            )
        except (AwsRefused, ServiceError):
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)
            await self._abort_one(key, upload_id)
            raise


def _read_part(path: Path, index: int) -> bytes:
    with path.open("rb") as file:
        file.seek(index * PART_BYTES)
        return file.read(PART_BYTES)


def _broken(folder: Path) -> TargetFailed:
    return TargetFailed(
        f"The files of {folder.name[:12]} are not at hand, or not those of its manifest. Restore "
        "them, or delete the folder and deploy again: it is merged anew."
    )
