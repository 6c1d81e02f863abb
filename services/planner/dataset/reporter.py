"""Makes the report of one job from its file, its hold-out and the one before."""

from __future__ import annotations

import json
import queue
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import BinaryIO

from attune.planner.v1 import dataset_pb2

from services.planner.dataset.file_training import write_rows
from services.planner.dataset.report import Others, Sample, build_report, is_valid, read_sample
from services.planner.dataset.report_job import Counts, FileToRead, Job, Letter, frame
from services.planner.dataset.report_structure import Structure, read_structure
from services.planner.dataset.rows import RowView, renderable

BATCH_ROWS_MAX = 1000
BATCH_BYTES_MAX = 1024 * 1024
"""A batch of rows to count ends above this, so it holds at most one more row: 2 MiB in all."""
STRUCTURE_SHARE = 0.6
"""Of a report's progress: the first pass; then the rows of the sample; then the statistics."""
SAMPLE_SHARE = 0.3


class Reporter:
    """Makes the report of one job."""

    def __init__(self, job: Job, output: BinaryIO, answers: queue.Queue[bytes]) -> None:
        """Keep the job and how to speak of it.

        Args:
            job: What to report on.
            output: Takes frames.
            answers: Bytes of `COUNTS`.
        """
        self._job = job
        self._output = output
        self._answers = answers

    def make(self) -> dataset_pb2.DatasetReport:
        """Return the report, and write the rows of a file without errors."""
        job = self._job
        structure = read_structure(
            job.file.path,
            job.file.format,
            job.bytes_max,
            lambda share: self._tell(STRUCTURE_SHARE * share),
        )
        sample, model = self._sample(structure)
        report = build_report(structure, sample, self._others(), model)
        if is_valid(report) and structure.form is not None:
            write_rows(job.file.path, job.rows, job.sha256, structure.form, job.file.format)
        return report

    def _sample(self, structure: Structure) -> tuple[Sample, str]:
        """Return the rows to look at, and the base model that counted their tokens, if one did."""
        job, form, sample = self._job, structure.form, Sample()
        rows = read_sample(job.file.path, job.file.format, structure, job.bytes_max)
        model, asks = "", True
        while batch := list(islice(rows, BATCH_ROWS_MAX)):
            assert form is not None
            sample.views.extend(view for view, _ in batch)
            texts = [
                json.dumps(renderable(body, form), ensure_ascii=False, default=str)
                for _, body in (batch if asks else ())
            ]
            lines = [view.line for view, _ in batch]
            for start, end in pieces(texts):
                counted = self._count(texts[start:end])
                model, asks = counted.model, bool(counted.model)
                if not asks:
                    sample.counts.clear()
                    break
                sample.counts.update(zip(lines[start:end], counted.counts, strict=True))
            done = min(1.0, len(sample.views) / max(1, len(structure.lines)))
            self._tell(STRUCTURE_SHARE + SAMPLE_SHARE * done)
        return sample, model

    def _count(self, texts: Sequence[str]) -> Counts:
        self._send(Letter.ROWS, json.dumps(texts, ensure_ascii=False).encode())
        return Counts.from_bytes(self._answers.get())

    def _others(self) -> Others:
        views: list[RowView] = []
        digests: array[int] | None = None
        if held := self._job.holdout:
            rows = read_sample(held.path, held.format, self._structure(held), self._job.bytes_max)
            views = [view for view, _ in rows]
        if previous := self._job.previous:
            try:
                digests = self._structure(previous).digests
            except FileNotFoundError:
                digests = None  # It was deleted meanwhile; nothing needs the difference.
        return Others(views, digests)

    def _structure(self, file: FileToRead) -> Structure:
        return read_structure(file.path, file.format, self._job.bytes_max)

    def _tell(self, progress: float) -> None:
        self._send(Letter.PROGRESS, str(progress).encode())

    def _send(self, letter: Letter, body: bytes) -> None:
        self._output.write(frame(letter, body))
        self._output.flush()


def pieces(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield where parts of a batch start and end, each as large as one request may be."""
    start, size = 0, 0
    for place, text in enumerate(texts, 1):
        size += len(text.encode())
        if size > BATCH_BYTES_MAX or place == len(texts):
            yield start, place
            start, size = place, 0
