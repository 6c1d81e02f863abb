"""Makes the reports of datasets in the background, one at a time, oldest first.

What waits is what the database says waits, so a restart forgets nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from attune.planner.v1 import dataset_pb2

from services.common.artefacts import Artefacts
from services.common.errors import Conflict, NotFound, ServiceError
from services.planner.dataset.file import FileFormat, read_format
from services.planner.dataset.file_training import write_rows
from services.planner.dataset.findings import WHOLE_FILE, found, to_proto
from services.planner.dataset.report import Others, Sample, build_report, is_valid, read_sample
from services.planner.dataset.report_structure import Structure, read_structure
from services.planner.dataset.rows import RowView, renderable
from services.planner.dataset.shapes import Form
from services.planner.dataset_store import DatasetStore
from services.planner.peers import Trainer
from services.planner.source_reader import SourceReader

Result = TypeVar("Result")

BATCH_ROWS_MAX = 1000
BATCH_BYTES_MAX = 1024 * 1024
"""A batch for the trainer ends above this, so it holds at most one more row: 2 MiB in all."""
PROGRESS_INTERVAL_S = 0.5
STRUCTURE_SHARE = 0.6
"""Of a report's progress: the first pass; then the rows of the sample; then the statistics."""
SAMPLE_SHARE = 0.3
WAIT_POLL_S = 0.05
RETRY_INTERVAL_S = 5.0

log = logging.getLogger(__name__)


class _Stopped(Exception):
    """The service stops, so the thread that reads a file ends early."""


class Analyses:
    """Makes reports."""

    def __init__(
        self,
        artefacts: Artefacts,
        datasets: DatasetStore,
        sources: SourceReader,
        trainer: Trainer,
        decoded_bytes_max: int,
    ) -> None:
        """Keep where datasets lie and who counts tokens.

        Args:
            artefacts: The root that their bytes lie under.
            datasets: What is known of them.
            sources: Knows the base model that is at hand.
            trainer: Counts tokens.
            decoded_bytes_max: Bytes after which a compressed file is refused.
        """
        self._artefacts = artefacts
        self._datasets = datasets
        self._sources = sources
        self._trainer = trainer
        self._bytes_max = decoded_bytes_max
        self._wake = asyncio.Event()
        self._stop = threading.Event()
        self._share = 0.0

    def notify(self) -> None:
        """Tell that a dataset waits for its report."""
        self._wake.set()

    async def run(self) -> None:
        """Make reports until cancelled."""
        try:
            while True:
                self._wake.clear()
                try:
                    while (dataset := await self._datasets.oldest_analysing()) is not None:
                        await self._finish(dataset)
                except Exception:  # The database is away, say; reports must go on after that.
                    log.exception("reports pause")
                    await asyncio.sleep(RETRY_INTERVAL_S)
                    continue
                await self._wake.wait()
        finally:
            self._stop.set()

    async def wait(self, name: str, timeout_s: float) -> dataset_pb2.Dataset:
        """Return a dataset once its report is made, or as it is when that takes longer.

        Args:
            name: Of the dataset.
            timeout_s: Longest wait in seconds.

        Raises:
            NotFound: If there is none of that name, or it was deleted meanwhile.
        """
        latest = time.monotonic() + timeout_s
        while True:
            dataset = await self._datasets.get(name)
            if dataset.state != dataset_pb2.Dataset.STATE_ANALYSING or time.monotonic() >= latest:
                return dataset
            await asyncio.sleep(WAIT_POLL_S)

    async def _finish(self, dataset: dataset_pb2.Dataset) -> None:
        """Make one report and keep it; a fault of ours is told in it, not tried for ever."""
        try:
            report = await self._analyse(dataset)
        except Exception:
            log.exception("the report of %s failed", dataset.name)
            text = "The report could not be made; the planner's log says why."
            report = dataset_pb2.DatasetReport(format="unknown")
            finding = found("report_failed", WHOLE_FILE, text)
            report.findings.append(to_proto(finding))
            report.finding_counts.add(code=finding.code, severity=finding.severity, count=1)
        valid = is_valid(report)
        state = dataset_pb2.Dataset.STATE_READY if valid else dataset_pb2.Dataset.STATE_INVALID
        dataset.state, dataset.progress = state, 1.0
        dataset.report.CopyFrom(report)
        del dataset.report.findings[:]
        try:
            await self._datasets.change(dataset, report)
        except Conflict:
            log.info("%s was deleted before its report was made", dataset.name)

    async def _analyse(self, dataset: dataset_pb2.Dataset) -> dataset_pb2.DatasetReport:
        original, file_format = self._artefacts.original(dataset.sha256), _format(dataset)

        def first_pass() -> Structure:
            return read_structure(original, file_format, self._bytes_max, self._tell)

        structure = await self._told(dataset, 0.0, STRUCTURE_SHARE, first_pass)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._sample(dataset, structure))
            others = group.create_task(self._others(dataset))
        sample, model = reading.result()

        def put_together() -> dataset_pb2.DatasetReport:
            report = build_report(structure, sample, others.result(), model)
            if is_valid(report) and structure.form is not None:
                rows = self._artefacts.dataset(dataset.sha256)
                write_rows(original, rows, dataset.sha256, structure.form, file_format)
            return report

        start = STRUCTURE_SHARE + SAMPLE_SHARE
        return await self._told(dataset, start, 1.0 - start, put_together)

    async def _sample(
        self, dataset: dataset_pb2.Dataset, structure: Structure
    ) -> tuple[Sample, str]:
        """Return the rows to look at, and the base model that counted their tokens, if one did."""
        original, file_format = self._artefacts.original(dataset.sha256), _format(dataset)
        rows = read_sample(original, file_format, structure, self._bytes_max)
        sample, model = Sample(), await self._model()
        while batch := await asyncio.to_thread(lambda: list(islice(rows, BATCH_ROWS_MAX))):
            sample.views.extend(view for view, _ in batch)
            form = structure.form
            assert form is not None
            if model and not await self._count(sample, model, form, batch):
                model = ""
                sample.counts.clear()
            done = len(sample.views) / max(1, len(structure.lines))
            await self._keep_progress(dataset, STRUCTURE_SHARE + SAMPLE_SHARE * min(1.0, done))
        return sample, model

    async def _count(
        self,
        sample: Sample,
        model: str,
        form: Form,
        batch: Sequence[tuple[RowView, Mapping[str, Any]]],
    ) -> bool:
        """Count the tokens of rows; False if they cannot be counted, so that estimates serve."""
        pairs = [
            (view.line, json.dumps(renderable(body, form), ensure_ascii=False, default=str))
            for view, body in batch
        ]
        try:
            for lines, texts in _pieces(pairs):
                counts = await self._trainer.count_tokens(model, texts)
                sample.counts.update(zip(lines, counts, strict=True))
        except ServiceError as error:
            log.info("tokens are estimated: %s", error.message)
            return False
        return True

    async def _model(self) -> str:
        try:
            return (await self._sources.model_at_hand()).id
        except ServiceError as error:
            log.info("tokens are estimated: %s", error.message)
            return ""

    async def _others(self, dataset: dataset_pb2.Dataset) -> Others:
        holdout = await self._known(dataset.holdout_dataset)
        previous = await self._known(dataset.previous_dataset)
        views: list[RowView] = []
        digests: array[int] | None = None
        if holdout is not None:
            views = await asyncio.to_thread(self._views, holdout)
        if previous is not None:
            digests = (await asyncio.to_thread(self._structure, previous)).digests
        return Others(views, digests)

    async def _known(self, name: str) -> dataset_pb2.Dataset | None:
        try:
            return await self._datasets.get(name) if name else None
        except NotFound:
            return None

    def _structure(self, dataset: dataset_pb2.Dataset) -> Structure:
        original = self._artefacts.original(dataset.sha256)
        return read_structure(original, _format(dataset), self._bytes_max, self._tell)

    def _views(self, dataset: dataset_pb2.Dataset) -> list[RowView]:
        original = self._artefacts.original(dataset.sha256)
        structure = self._structure(dataset)
        rows = read_sample(original, _format(dataset), structure, self._bytes_max)
        return [view for view, _ in rows]

    def _tell(self, share: float) -> None:
        """Take a pass's progress, in its thread."""
        if self._stop.is_set():
            raise _Stopped
        self._share = share

    async def _told(
        self,
        dataset: dataset_pb2.Dataset,
        start: float,
        part: float,
        work: Callable[[], Result],
    ) -> Result:
        """Return what work in a thread returns, and keep its progress meanwhile."""
        self._share = 0.0
        running = asyncio.create_task(asyncio.to_thread(work))
        # When this is cancelled nobody is left to take how the thread ends.
        running.add_done_callback(lambda task: task.cancelled() or task.exception())
        while True:
            done, _ = await asyncio.wait([running], timeout=PROGRESS_INTERVAL_S)
            if done:
                return running.result()
            await self._keep_progress(dataset, start + part * self._share)

    async def _keep_progress(self, dataset: dataset_pb2.Dataset, progress: float) -> None:
        if progress - dataset.progress < 0.01:
            return
        dataset.progress = progress
        await self._datasets.change(dataset)


def _pieces(pairs: Sequence[tuple[int, str]]) -> Iterator[tuple[list[int], list[str]]]:
    lines, texts, size = list[int](), list[str](), 0
    for line, text in pairs:
        lines.append(line)
        texts.append(text)
        size += len(text.encode())
        if size > BATCH_BYTES_MAX:
            yield lines, texts
            lines, texts, size = [], [], 0
    if lines:
        yield lines, texts


def _format(dataset: dataset_pb2.Dataset) -> FileFormat:
    file_format = read_format(dataset.display_name, dataset.file_format)
    assert file_format is not None
    return file_format
