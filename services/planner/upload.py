"""Takes a dataset in: to disk in pieces, then every row checked, then kept; or nothing stays."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import shutil
from array import array
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from attune.planner.v1 import dataset_pb2

from services.common.artefacts import Artefacts, publish, staging_folder, sync
from services.common.clock import Clock, new_id
from services.common.errors import InvalidArgument, ResourceExhausted, Violation, invalid
from services.planner import wire
from services.planner.dataset.file import Piece, read_digests, read_pieces
from services.planner.dataset.report import VIOLATIONS_MAX, Tally, by_rule, cut_answers
from services.planner.dataset_store import DatasetStore
from services.planner.peers import Trainer
from services.planner.source_reader import SourceReader

CHUNK_BYTES_MAX = 1024 * 1024
ABANDONED_S = 3600.0
"""An upload's folder that was not written for so long belongs to a process that died."""


@dataclass(frozen=True)
class Content:
    """A file that has arrived whole."""

    path: Path
    sha256: str
    size_bytes: int


class Uploads:
    """Takes datasets in."""

    def __init__(
        self,
        artefacts: Artefacts,
        datasets: DatasetStore,
        sources: SourceReader,
        trainer: Trainer,
        clock: Clock,
        bytes_max: int,
    ) -> None:
        """Keep where datasets go; `bytes_max` bounds the size of one file."""
        self._artefacts = artefacts
        self._datasets = datasets
        self._sources = sources
        self._trainer = trainer
        self._clock = clock
        self._bytes_max = bytes_max

    async def receive(
        self, requests: AsyncIterator[dataset_pb2.UploadDatasetRequest]
    ) -> dataset_pb2.Dataset:
        """Return the dataset; the same bytes with the same hold-out are one dataset.

        Raises:
            InvalidArgument: If the stream, the file or a row breaks a rule.
            NotFound: If there is no such hold-out dataset.
            ResourceExhausted: If it is too large or the disk is full.
            Unavailable: If the trainer cannot count tokens now.
        """
        header = await _header(requests)
        project = wire.check_header(header)
        found = await self._datasets.find_answer(header)
        if found is not None:
            return found
        holdout = None
        if header.holdout_dataset:
            holdout = await self._sources.dataset(header.holdout_dataset)
        with _disk_errors():
            staged = await asyncio.to_thread(staging_folder, self._folder / "upload")
        try:
            content = await self._write(staged / "rows.jsonl", requests)
            if holdout is not None and holdout.sha256 == content.sha256:
                text = f"{holdout.display_name} has the same bytes. Hold out other, unseen rows."
                raise invalid([Violation("holdout_dataset", "SAME_DATASET", text)])
            report = await self._check(content, holdout.sha256 if holdout else "")
            # From here on a caller who goes away changes nothing: folder and row come together.
            keeping = asyncio.create_task(self._keep(header, project, content, report, staged))
            try:
                return await asyncio.shield(keeping)
            except asyncio.CancelledError:
                await asyncio.wait([keeping])
                raise
        finally:
            shutil.rmtree(staged, ignore_errors=True)

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
            text = "The file is empty. Upload a JSONL file with one row on each line."
            raise invalid([Violation("chunk", "EMPTY_FILE", text)])
        return Content(path, digest.hexdigest(), size_bytes)

    async def _check(self, content: Content, holdout_sha256: str) -> dataset_pb2.DatasetReport:
        model = await self._sources.model_at_hand()
        tally, broken = Tally(), list[Violation]()
        pieces = read_pieces(content.path)
        while piece := await asyncio.to_thread(_next, pieces):
            broken += piece.violations
            # Rows of a file that is refused anyway are not worth a call.
            if piece.rows and not piece.violations and len(broken) < VIOLATIONS_MAX:
                texts = [row.text for row in piece.rows]
                counts = await self._trainer.count_tokens(model.id, texts)
                broken += cut_answers(piece.rows, counts, model.context_length)
                tally.add(piece.rows, counts)
            if len(broken) >= VIOLATIONS_MAX:
                break
        if broken:
            raise _refusal(broken)
        digests: array[int] = array("Q")
        if holdout_sha256:
            path = self._artefacts.dataset(holdout_sha256)
            digests = await asyncio.to_thread(read_digests, path)
        return await asyncio.to_thread(tally.report, model.id, digests)

    async def _keep(
        self,
        header: dataset_pb2.UploadHeader,
        project: str,
        content: Content,
        report: dataset_pb2.DatasetReport,
        staged: Path,
    ) -> dataset_pb2.Dataset:
        target = self._artefacts.dataset(content.sha256).parent
        with _disk_errors():
            await asyncio.to_thread(publish, staged, target)
        now = self._clock.now()
        dataset = dataset_pb2.Dataset(
            name=f"projects/{project}/datasets/{new_id(now)}",
            display_name=header.display_name,
            sha256=content.sha256,
            size_bytes=content.size_bytes,
            holdout_dataset=header.holdout_dataset,
            report=report,
            state=dataset_pb2.Dataset.STATE_READY,
            progress=1.0,
            file_format="jsonl",
            create_time=wire.timestamp(now),
        )
        return await self._datasets.add(header, dataset, now)


async def _header(
    requests: AsyncIterator[dataset_pb2.UploadDatasetRequest],
) -> dataset_pb2.UploadHeader:
    first = await anext(requests, None)
    if first is None or first.WhichOneof("piece") != "header":
        text = "The first message of an upload must carry the header. Send it, then the chunks."
        raise invalid([Violation("header", "HEADER_FIRST", text)])
    return first.header


def _chunk(request: dataset_pb2.UploadDatasetRequest) -> bytes:
    if request.WhichOneof("piece") != "chunk":
        text = "Only the first message may carry the header. Send chunks after it."
        raise invalid([Violation("header", "HEADER_ONCE", text)])
    if len(request.chunk) > CHUNK_BYTES_MAX:
        text = f"{len(request.chunk):,} bytes; at most {CHUNK_BYTES_MAX:,} are taken. Send less."
        raise invalid([Violation("chunk", "CHUNK_TOO_LARGE", text)])
    return request.chunk


def _next(pieces: Iterator[Piece]) -> Piece | None:
    return next(pieces, None)


def _refusal(broken: list[Violation]) -> InvalidArgument:
    grouped = by_rule(broken)
    first = grouped[0]
    more = "" if len(grouped) == 1 else f" {len(grouped) - 1} more rules are broken."
    return InvalidArgument(
        f"The file was not stored. {first.field}: {first.message}{more}",
        reason="BAD_ROWS",
        violations=grouped,
        field=first.field,
        rule=first.rule,
    )


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
