"""DatasetService: decodes, calls, encodes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from attune.planner.v1 import dataset_pb2, dataset_pb2_grpc

from services.common.names import last_part, parse
from services.common.paging import read_page
from services.planner import wire
from services.planner.dataset_store import DatasetStore
from services.planner.row_previews import RowPreviews
from services.planner.upload import Uploads


class DatasetServicer(dataset_pb2_grpc.DatasetServiceServicer):
    """Files of examples."""

    def __init__(self, datasets: DatasetStore, uploads: Uploads, previews: RowPreviews) -> None:
        """Keep what the methods call."""
        self._datasets = datasets
        self._uploads = uploads
        self._previews = previews

    async def UploadDataset(
        self, request_iterator: AsyncIterator[dataset_pb2.UploadDatasetRequest], context: Any
    ) -> dataset_pb2.Dataset:
        return await self._uploads.receive(request_iterator)

    async def GetDataset(
        self, request: dataset_pb2.GetDatasetRequest, context: Any
    ) -> dataset_pb2.Dataset:
        parse(request.name, wire.DATASET)
        return await self._datasets.get(request.name)

    async def DeleteDataset(
        self, request: dataset_pb2.DeleteDatasetRequest, context: Any
    ) -> dataset_pb2.DeleteDatasetResponse:
        parse(request.name, wire.DATASET)
        return await self._uploads.remove(request)

    async def GetDatasetReport(
        self, request: dataset_pb2.GetDatasetReportRequest, context: Any
    ) -> dataset_pb2.DatasetReport:
        parse(request.name, wire.DATASET)
        return await self._datasets.report(request.name)

    async def PreviewRows(
        self, request: dataset_pb2.PreviewRowsRequest, context: Any
    ) -> dataset_pb2.PreviewRowsResponse:
        parse(request.name, wire.DATASET)
        return await self._previews.preview(request)

    async def ListDatasets(
        self, request: dataset_pb2.ListDatasetsRequest, context: Any
    ) -> dataset_pb2.ListDatasetsResponse:
        project = parse(request.parent, wire.PROJECT, field="parent")["project"]

        async def fetch(after: str, limit: int) -> list[tuple[str, dataset_pb2.Dataset]]:
            found = await self._datasets.list_newest(project, after, limit)
            return [(last_part(dataset.name), dataset) for dataset in found]

        datasets, token = await read_page(request, f"datasets {project}", fetch)
        return dataset_pb2.ListDatasetsResponse(datasets=datasets, next_page_token=token)
