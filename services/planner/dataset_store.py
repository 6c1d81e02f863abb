"""Datasets: one for each content and hold-out."""

from __future__ import annotations

from datetime import datetime

from attune.planner.v1 import dataset_pb2
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common.errors import NotFound
from services.common.names import last_part, project_of
from services.planner.store import DATASETS, Store


class DatasetStore:
    """Keeps what is known of datasets; their rows lie under the artefact root."""

    def __init__(self, store: Store) -> None:
        """Share the database."""
        self._store = store

    async def find_answer(self, header: dataset_pb2.UploadHeader) -> dataset_pb2.Dataset | None:
        """Return the dataset that the same upload made before, if any."""
        return await self._store.find_answer(header, dataset_pb2.Dataset)

    async def add(
        self, header: dataset_pb2.UploadHeader, dataset: dataset_pb2.Dataset, now: datetime
    ) -> dataset_pb2.Dataset:
        """Add a dataset, or return the one with the same content and hold-out.

        Args:
            header: Of the upload.
            dataset: Complete.
            now: The present moment.
        """

        async def work(connection: AsyncConnection) -> dataset_pb2.Dataset:
            project = project_of(dataset.name)
            query = select(DATASETS.c.dataset).where(
                DATASETS.c.project == project,
                DATASETS.c.sha256 == dataset.sha256,
                DATASETS.c.holdout_dataset == dataset.holdout_dataset,
            )
            body = (await connection.execute(query)).scalar_one_or_none()
            if body is not None:
                return dataset_pb2.Dataset.FromString(body)
            values = {
                "name": dataset.name,
                "dataset_id": last_part(dataset.name),
                "project": project,
                "sha256": dataset.sha256,
                "holdout_dataset": dataset.holdout_dataset,
                "dataset": dataset.SerializeToString(),
                "create_time": now,
            }
            await connection.execute(insert(DATASETS).values(values))
            return dataset

        return await self._store.answer_once(header, dataset_pb2.Dataset, work, now)

    async def get(self, name: str) -> dataset_pb2.Dataset:
        """Return a dataset.

        Raises:
            NotFound: If there is none of that name.
        """
        query = select(DATASETS.c.dataset).where(DATASETS.c.name == name)
        async with self._store.database.read() as connection:
            body = (await connection.execute(query)).scalar_one_or_none()
        if body is None:
            raise NotFound(
                f"There is no dataset {name}. ListDatasets shows what there is.",
                reason="DATASET_NOT_FOUND",
                dataset=name,
            )
        return dataset_pb2.Dataset.FromString(body)

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
