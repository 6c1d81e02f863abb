"""Datasets: one for each content, hold-out and format; what is known of each."""

from __future__ import annotations

from datetime import datetime

from attune.planner.v1 import dataset_pb2
from attune.spec.v1 import spec_pb2
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common.database import guarded
from services.common.errors import FailedPrecondition, NotFound
from services.common.names import last_part, project_of
from services.planner.dataset.findings import REPORT_FAILED
from services.planner.store import DATASETS, SPEC_REVISIONS, SPECS, Store

ANALYSING = dataset_pb2.Dataset.STATE_ANALYSING
SPECS_READ = 200
"""Revisions that are read at a time in search of one that names a dataset."""


class DatasetStore:
    """Keeps what is known of datasets; their bytes lie under the artefact root."""

    def __init__(self, store: Store) -> None:
        """Share the database."""
        self._store = store

    async def find_answer(self, header: dataset_pb2.UploadHeader) -> dataset_pb2.Dataset | None:
        """Return the dataset that the same upload made before, if any."""
        return await self._store.find_answer(header, dataset_pb2.Dataset)

    async def add(
        self, header: dataset_pb2.UploadHeader, dataset: dataset_pb2.Dataset, now: datetime
    ) -> dataset_pb2.Dataset:
        """Add a dataset, or return the one with the same content, hold-out and format.

        One whose report failed, for a fault of ours, waits for a new one.

        Args:
            header: Of the upload.
            dataset: Without its report.
            now: The present moment.
        """

        async def work(connection: AsyncConnection) -> dataset_pb2.Dataset:
            project = project_of(dataset.name)
            query = select(DATASETS.c.dataset).where(
                DATASETS.c.project == project,
                DATASETS.c.sha256 == dataset.sha256,
                DATASETS.c.holdout_dataset == dataset.holdout_dataset,
                DATASETS.c.file_format == dataset.file_format,
            )
            body = (await connection.execute(query)).scalar_one_or_none()
            if body is not None:
                return await _known(connection, dataset_pb2.Dataset.FromString(body))
            values = {
                "name": dataset.name,
                "dataset_id": last_part(dataset.name),
                "project": project,
                "sha256": dataset.sha256,
                "holdout_dataset": dataset.holdout_dataset,
                "file_format": dataset.file_format,
                "state": dataset.state,
                "dataset": dataset.SerializeToString(),
                "report": b"",
                "create_time": now,
            }
            await connection.execute(insert(DATASETS).values(values))
            return dataset

        return await self._store.answer_once(header, dataset_pb2.Dataset, work, now)

    async def change(
        self, dataset: dataset_pb2.Dataset, report: dataset_pb2.DatasetReport | None = None
    ) -> None:
        """Keep how far a report is, or that it is made.

        Args:
            dataset: With its state and progress, and the report without findings once it is made.
            report: The whole report; None while it is being made.

        Raises:
            Conflict: If the dataset is gone, or its report was made already.
        """
        values = {"dataset": dataset.SerializeToString(), "state": dataset.state}
        if report is not None:
            values["report"] = report.SerializeToString()
        change = (
            update(DATASETS)
            .where(DATASETS.c.name == dataset.name, DATASETS.c.state == ANALYSING)
            .values(values)
        )
        async with self._store.database.write() as connection:
            await guarded(connection, change, dataset.name)

    async def count_analysing(self) -> int:
        """Return how many datasets wait for their report, in all projects."""
        query = select(func.count()).select_from(DATASETS).where(DATASETS.c.state == ANALYSING)
        async with self._store.database.read() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def oldest_analysing(self) -> dataset_pb2.Dataset | None:
        """Return the dataset that waits longest for its report, of all projects."""
        query = (
            select(DATASETS.c.dataset)
            .where(DATASETS.c.state == ANALYSING)
            .order_by(DATASETS.c.dataset_id)
            .limit(1)
        )
        async with self._store.database.read() as connection:
            body = (await connection.execute(query)).scalar_one_or_none()
        return None if body is None else dataset_pb2.Dataset.FromString(body)

    async def get(self, name: str) -> dataset_pb2.Dataset:
        """Return a dataset.

        Raises:
            NotFound: If there is none of that name.
        """
        query = select(DATASETS.c.dataset).where(DATASETS.c.name == name)
        async with self._store.database.read() as connection:
            body = (await connection.execute(query)).scalar_one_or_none()
        if body is None:
            raise _unknown(name)
        return dataset_pb2.Dataset.FromString(body)

    async def report(self, name: str) -> dataset_pb2.DatasetReport:
        """Return the whole report of a dataset.

        Raises:
            NotFound: If there is no such dataset.
            FailedPrecondition: If it is still being made.
        """
        query = select(DATASETS.c.dataset, DATASETS.c.report, DATASETS.c.state).where(
            DATASETS.c.name == name
        )
        async with self._store.database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise _unknown(name)
        if row.state == ANALYSING:
            progress = dataset_pb2.Dataset.FromString(row.dataset).progress
            raise FailedPrecondition(
                f"The report of {name} is {progress:.0%} made. Ask again in a while; GetDataset "
                "tells how far it is.",
                reason="REPORT_IN_PROGRESS",
                dataset=name,
                progress=f"{progress:.4f}",
            )
        return dataset_pb2.DatasetReport.FromString(row.report)

    async def list_newest(self, project: str, after: str, limit: int) -> list[dataset_pb2.Dataset]:
        """Return datasets of a project, newest first.

        Args:
            project: Id.
            after: Id of the dataset before the first; empty to start.
            limit: Most entries.
        """
        query = select(DATASETS.c.dataset).where(DATASETS.c.project == project)
        if after:
            query = query.where(DATASETS.c.dataset_id < after)
        query = query.order_by(DATASETS.c.dataset_id.desc()).limit(limit)
        async with self._store.database.read() as connection:
            bodies = (await connection.execute(query)).scalars().all()
        return [dataset_pb2.Dataset.FromString(body) for body in bodies]

    async def delete(
        self, request: dataset_pb2.DeleteDatasetRequest, now: datetime
    ) -> tuple[dataset_pb2.DeleteDatasetResponse, str]:
        """Remove a dataset and return the hash of bytes that nothing needs any more, or "".

        Raises:
            NotFound: If there is none of that name.
            FailedPrecondition: If an approved plan or another dataset's hold-out names it.
        """
        orphan = ""

        async def work(connection: AsyncConnection) -> dataset_pb2.DeleteDatasetResponse:
            nonlocal orphan
            name = request.name
            query = select(DATASETS.c.sha256).where(DATASETS.c.name == name)
            sha256 = (await connection.execute(query)).scalar_one_or_none()
            if sha256 is None:
                raise _unknown(name)
            query = select(DATASETS.c.name).where(DATASETS.c.holdout_dataset == name).limit(1)
            user = (await connection.execute(query)).scalar_one_or_none()
            user = user or await _approved_with(connection, name)
            if user is not None:
                raise FailedPrecondition(
                    f"{name} is needed by {user}, so it stays.",
                    reason="DATASET_IN_USE",
                    dataset=name,
                    needed_by=user,
                )
            await guarded(connection, delete(DATASETS).where(DATASETS.c.name == name), name)
            query = select(DATASETS.c.name).where(DATASETS.c.sha256 == sha256).limit(1)
            twin = (await connection.execute(query)).scalar_one_or_none()
            orphan = "" if twin is not None else sha256
            return dataset_pb2.DeleteDatasetResponse()

        answer = await self._store.answer_once(
            request, dataset_pb2.DeleteDatasetResponse, work, now
        )
        return answer, orphan


async def _known(connection: AsyncConnection, dataset: dataset_pb2.Dataset) -> dataset_pb2.Dataset:
    """Return a dataset whose content came again, made to wait again if its report failed."""
    if all(each.code != REPORT_FAILED for each in dataset.report.finding_counts):
        return dataset
    dataset.state, dataset.progress = ANALYSING, 0.0
    dataset.ClearField("report")
    change = (
        update(DATASETS)
        .where(DATASETS.c.name == dataset.name, DATASETS.c.state != ANALYSING)
        .values(dataset=dataset.SerializeToString(), report=b"", state=ANALYSING)
    )
    await guarded(connection, change, dataset.name)
    return dataset


async def _approved_with(connection: AsyncConnection, dataset: str) -> str | None:
    """Return the name of a spec with an approved revision that names a dataset, if any."""
    after = ("", 0)
    while True:
        query = (
            select(SPEC_REVISIONS.c.name, SPEC_REVISIONS.c.revision, SPEC_REVISIONS.c.spec)
            .join(SPECS, SPECS.c.name == SPEC_REVISIONS.c.name)
            .where(SPECS.c.project == project_of(dataset))
            .where(
                (SPEC_REVISIONS.c.name > after[0])
                | ((SPEC_REVISIONS.c.name == after[0]) & (SPEC_REVISIONS.c.revision > after[1]))
            )
            .order_by(SPEC_REVISIONS.c.name, SPEC_REVISIONS.c.revision)
            .limit(SPECS_READ)
        )
        rows = (await connection.execute(query)).all()
        for row in rows:
            spec = spec_pb2.Spec.FromString(row.spec)
            named = (spec.data.dataset, spec.data.holdout_dataset)
            if spec.state == spec_pb2.Spec.STATE_APPROVED and dataset in named:
                return spec.name
        if len(rows) < SPECS_READ:
            return None
        after = (rows[-1].name, rows[-1].revision)


def _unknown(name: str) -> NotFound:
    return NotFound(
        f"There is no dataset {name}. List the datasets to see those that exist.",
        reason="DATASET_NOT_FOUND",
        dataset=name,
    )
