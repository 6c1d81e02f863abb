"""Takes a file in: to disk in pieces, hashed on the way, then kept whole; or nothing stays."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from attune.planner.v1 import dataset_pb2

from services.common.artefacts import Artefacts, publish, staging_folder, sync
from services.common.clock import Clock, new_id
from services.common.errors import ResourceExhausted, Violation, invalid
from services.common.names import project_of
from services.common.wire_time import timestamp
from services.planner import wire
from services.planner.dataset.file import FORMATS, FileFormat, read_format
from services.planner.dataset_store import DatasetStore

CHUNK_BYTES_MAX = 1024 * 1024
ABANDONED_S = 3600.0
"""An upload's folder that was not written for so long belongs to a process that died."""
ANALYSING_MAX = 100
"""Datasets that may wait for their report."""


@dataclass(frozen=True)
class Content:
    """A file that has arrived whole."""

    path: Path
    sha256: str
    size_bytes: int


class Uploads:
    """Takes files in, and removes them."""

    def __init__(
        self,
        artefacts: Artefacts,
        datasets: DatasetStore,
        clock: Clock,
        bytes_max: int,
        notify: Callable[[], None],
        abandon: Callable[[str], Awaitable[None]],
    ) -> None:
        """Keep where datasets go.

        Args:
            artefacts: The root that their bytes lie under.
            datasets: What is known of them.
            clock: Where the time comes from.
            bytes_max: Bound on the size of one file.
            notify: Told that there is a dataset to analyse.
            abandon: Stops the analysis of the dataset of that name.
        """
        self._artefacts = artefacts
        self._datasets = datasets
        self._clock = clock
        self._bytes_max = bytes_max
        self._notify = notify
        self._abandon = abandon
        # Bytes are shared by content: nobody may remove them while another upload adopts them.
        self._bytes_lock = asyncio.Lock()

    async def receive(
        self, requests: AsyncIterator[dataset_pb2.UploadDatasetRequest]
    ) -> dataset_pb2.Dataset:
        """Return the dataset as soon as its bytes are stored; its report is made afterwards.

        Raises:
            InvalidArgument: If the stream or the header breaks a rule, or there are no bytes.
            NotFound: If there is no such hold-out or previous dataset.
            ResourceExhausted: If it is too large, the disk is full or too many reports are due.
        """
        header = await _header(requests)
        project = wire.check_header(header)
        file_format = _format(header)
        found = await self._datasets.find_answer(header)
        if found is not None:
            return found
        holdout = await self._named(header.holdout_dataset)
        await self._check_previous(header, project)
        if await self._datasets.count_analysing() >= ANALYSING_MAX:
            raise ResourceExhausted(
                f"{ANALYSING_MAX} datasets wait for their reports, which is the most. Upload "
                "again in a while.",
                reason="TOO_MANY_REPORTS",
                max_reports=str(ANALYSING_MAX),
            )
        with _disk_errors():
            staged = await asyncio.to_thread(staging_folder, self._folder / "upload")
        try:
            content = await self._write(staged / "original", requests)
            if holdout is not None and holdout.sha256 == content.sha256:
                text = f"{holdout.display_name} has the same bytes. Hold out other, unseen rows."
                raise invalid([Violation("holdout_dataset", "SAME_DATASET", text)])
            # From here on a caller who goes away changes nothing: folder and row come together.
            keeping = asyncio.create_task(self._keep(header, project, content, file_format, staged))
            try:
                return await asyncio.shield(keeping)
            except asyncio.CancelledError:
                await asyncio.wait([keeping])
                raise
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    async def remove(
        self, request: dataset_pb2.DeleteDatasetRequest
    ) -> dataset_pb2.DeleteDatasetResponse:
        """Remove a dataset, and its bytes when nothing else has the same.

        Raises:
            NotFound: If there is none of that name.
            FailedPrecondition: If an approved plan or another dataset's hold-out names it.
        """
        async with self._bytes_lock:
            answer, orphan = await self._datasets.delete(request, self._clock.now())
            await self._abandon(request.name)
            if orphan:
                folder = self._artefacts.original(orphan).parent
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        return answer

    def remove_abandoned(self) -> None:
        """Remove folders of uploads whose process died; called once at start."""
        now_s = self._clock.now().timestamp()
        for folder in self._folder.glob(".upload.*.tmp"):
            times = [path.stat().st_mtime for path in (folder, *folder.iterdir())]
            if now_s - max(times) > ABANDONED_S:
                shutil.rmtree(folder, ignore_errors=True)

    @property
    def _folder(self) -> Path:
        return self._artefacts.root / "datasets"

    async def _named(self, name: str) -> dataset_pb2.Dataset | None:
        return await self._datasets.get(name) if name else None

    async def _check_previous(self, header: dataset_pb2.UploadHeader, project: str) -> None:
        name = header.previous_dataset
        if name and project_of(name) != project:
            text = f"'{name}' belongs to another project than the upload."
            raise invalid([Violation("previous_dataset", "OTHER_PROJECT", text)])
        await self._named(name)

    async def _write(
        self, path: Path, requests: AsyncIterator[dataset_pb2.UploadDatasetRequest]
    ) -> Content:
        digest, size_bytes = hashlib.sha256(), 0

        def write_piece(file: BinaryIO, piece: bytes) -> None:
            _check_disk(path.parent, size_bytes, len(piece))
            digest.update(piece)
            file.write(piece)

        with _disk_errors(), path.open("wb") as file:
            async for request in requests:
                size = len(_chunk(request))
                if size_bytes + size > self._bytes_max:
                    raise ResourceExhausted(
                        f"The file has more than {self._bytes_max:,} bytes, which is the most. "
                        "Upload fewer rows, or raise ATTUNE_PLANNER_UPLOAD_BYTES_MAX.",
                        reason="FILE_TOO_LARGE",
                        max_bytes=str(self._bytes_max),
                    )
                await asyncio.to_thread(write_piece, file, request.chunk)
                size_bytes += size
            file.flush()
            await asyncio.to_thread(sync, path)
        if size_bytes == 0:
            text = "The file is empty. Upload the file that holds the rows."
            raise invalid([Violation("chunk", "EMPTY_FILE", text)])
        return Content(path, digest.hexdigest(), size_bytes)

    async def _keep(
        self,
        header: dataset_pb2.UploadHeader,
        project: str,
        content: Content,
        file_format: FileFormat,
        staged: Path,
    ) -> dataset_pb2.Dataset:
        async with self._bytes_lock:
            with _disk_errors():
                original = self._artefacts.original(content.sha256)
                if original.parent.exists() and not original.exists():
                    # What a deletion left that ended half-way.
                    await asyncio.to_thread(shutil.rmtree, original.parent)
                await asyncio.to_thread(publish, staged, original.parent)
            now = self._clock.now()
            dataset = dataset_pb2.Dataset(
                name=f"projects/{project}/datasets/{new_id(now)}",
                display_name=header.display_name,
                sha256=content.sha256,
                size_bytes=content.size_bytes,
                holdout_dataset=header.holdout_dataset,
                previous_dataset=header.previous_dataset,
                state=dataset_pb2.Dataset.STATE_ANALYSING,
                file_format=str(file_format),
                create_time=timestamp(now),
            )
            kept = await self._datasets.add(header, dataset, now)
        self._notify()
        return kept


async def _header(
    requests: AsyncIterator[dataset_pb2.UploadDatasetRequest],
) -> dataset_pb2.UploadHeader:
    first = await anext(requests, None)
    if first is None or first.WhichOneof("piece") != "header":
        text = "The first message of an upload must carry the header. Send it, then the chunks."
        raise invalid([Violation("header", "HEADER_FIRST", text)])
    return first.header


def _format(header: dataset_pb2.UploadHeader) -> FileFormat:
    file_format = read_format(header.display_name, header.file_format)
    if file_format is None:
        text = f"'{header.file_format[:40]}' is none. Give one of {', '.join(FORMATS)}."
        raise invalid([Violation("file_format", "UNKNOWN_FORMAT", text)])
    return file_format


def _chunk(request: dataset_pb2.UploadDatasetRequest) -> bytes:
    if request.WhichOneof("piece") != "chunk":
        text = "Only the first message may carry the header. Send chunks after it."
        raise invalid([Violation("header", "HEADER_ONCE", text)])
    if len(request.chunk) > CHUNK_BYTES_MAX:
        text = f"{len(request.chunk):,} bytes; at most {CHUNK_BYTES_MAX:,} are taken. Send less."
        raise invalid([Violation("chunk", "CHUNK_TOO_LARGE", text)])
    return request.chunk


def _check_disk(folder: Path, written_bytes: int, next_bytes: int) -> None:
    """Refuse before the disk is full: whoever trains on the file needs room for a second one."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < written_bytes + 2 * next_bytes:
        raise _disk_full(free_bytes)


def _disk_full(free_bytes: int) -> ResourceExhausted:
    return ResourceExhausted(
        f"{free_bytes:,} bytes are free under the artefact root, which is too few for this file. "
        "Free some space or set ATTUNE_ARTEFACTS to another disk.",
        reason="NO_DISK_SPACE",
        free_bytes=str(free_bytes),
    )


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(0) from None
        raise
