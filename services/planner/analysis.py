"""Has the reports of datasets made in the background, one at a time, oldest first.

What waits is what the database says waits, so a restart forgets nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from attune.planner.v1 import dataset_pb2

from services.common.artefacts import Artefacts
from services.common.errors import Conflict, NotFound, ServiceError
from services.planner.dataset.file import read_format
from services.planner.dataset.findings import REPORT_FAILED, WHOLE_FILE, found, to_proto
from services.planner.dataset.report import is_valid
from services.planner.dataset.report_job import Counts, FileToRead, Job
from services.planner.dataset_store import DatasetStore
from services.planner.peers import Trainer
from services.planner.report_child import make_report
from services.planner.source_reader import SourceReader

PROGRESS_INTERVAL_S = 0.5
"""Least time between two writes of a report's progress."""
RETRY_INTERVAL_S = 5.0

log = logging.getLogger(__name__)


class Analyses:
    """Has reports made."""

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
        self._making: tuple[str, asyncio.Task[None]] | None = None

    def notify(self) -> None:
        """Tell that a dataset waits for its report."""
        self._wake.set()

    async def abandon(self, name: str) -> None:
        """Stop making the report of a dataset that was deleted; nobody reads its file after this.

        Args:
            name: Of the dataset; its row is gone.
        """
        if self._making is not None and self._making[0] == name:
            self._making[1].cancel()
            await asyncio.wait([self._making[1]])

    async def run(self) -> None:
        """Make reports until cancelled."""
        while True:
            self._wake.clear()
            try:
                while (dataset := await self._datasets.oldest_analysing()) is not None:
                    await self._make(dataset)
            except Exception:  # The database is away, say; reports must go on after that.
                log.exception("reports pause")
                await asyncio.sleep(RETRY_INTERVAL_S)
                continue
            await self._wake.wait()

    async def _make(self, dataset: dataset_pb2.Dataset) -> None:
        """Make one report, unless it is abandoned."""
        making = asyncio.create_task(self._finish(dataset))
        self._making = dataset.name, making
        try:
            await asyncio.wait([making])
        finally:
            making.cancel()
            await asyncio.wait([making])
            self._making = None
        if not making.cancelled():
            making.result()

    async def _finish(self, dataset: dataset_pb2.Dataset) -> None:
        """Make one report and keep it; a fault of ours is told in it, not tried for ever."""
        try:
            try:
                report = await self._analyse(dataset)
            except Conflict:
                raise
            except Exception:
                log.exception("the report of %s failed", dataset.name)
                report = _failed()
            valid = is_valid(report)
            state = dataset_pb2.Dataset.STATE_READY if valid else dataset_pb2.Dataset.STATE_INVALID
            dataset.state, dataset.progress = state, 1.0
            dataset.report.CopyFrom(report)
            del dataset.report.findings[:]
            await self._datasets.change(dataset, report)
        except Conflict:
            log.info("%s was deleted before its report was made", dataset.name)

    async def _analyse(self, dataset: dataset_pb2.Dataset) -> dataset_pb2.DatasetReport:
        latest, model = 0.0, ""

        async def tell(progress: float) -> None:
            nonlocal latest
            grown = progress - dataset.progress >= 0.01
            if grown and time.monotonic() - latest >= PROGRESS_INTERVAL_S:
                latest, dataset.progress = time.monotonic(), progress
                await self._datasets.change(dataset)

        async def count(rows: Sequence[str]) -> Counts:
            """Count the tokens of rows; when they cannot be counted, estimates serve."""
            nonlocal model
            try:
                model = model or (await self._sources.model_at_hand()).id
                return Counts(model, await self._trainer.count_tokens(model, rows))
            except ServiceError as error:
                log.info("tokens are estimated: %s", error.message)
                return Counts()

        job = Job(
            file=self._file(dataset),
            sha256=dataset.sha256,
            rows=self._artefacts.dataset(dataset.sha256),
            bytes_max=self._bytes_max,
            holdout=await self._known(dataset.holdout_dataset),
            previous=await self._known(dataset.previous_dataset),
        )
        return await make_report(job, tell, count)

    async def _known(self, name: str) -> FileToRead | None:
        try:
            return self._file(await self._datasets.get(name)) if name else None
        except NotFound:
            return None

    def _file(self, dataset: dataset_pb2.Dataset) -> FileToRead:
        file_format = read_format(dataset.display_name, dataset.file_format)
        return FileToRead(self._artefacts.original(dataset.sha256), str(file_format))


def _failed() -> dataset_pb2.DatasetReport:
    """Return the report of a file that could not be reported on."""
    report = dataset_pb2.DatasetReport(format="unknown")
    text = "The report could not be made; the planner's log says why."
    finding = found(REPORT_FAILED, WHOLE_FILE, text)
    report.findings.append(to_proto(finding))
    report.finding_counts.add(code=finding.code, severity=finding.severity, count=1)
    return report
