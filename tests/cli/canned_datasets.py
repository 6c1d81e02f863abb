"""DatasetService with canned reports: a row with the word "bad" is the only fault."""

from uuid import UUID

from attune.planner.v1 import dataset_pb2, dataset_pb2_grpc

from services.common import errors

PROJECT = "projects/default"
DATASET = f"{PROJECT}/datasets/d1"


def analysed(dataset: dataset_pb2.Dataset, bad_lines: list[int]) -> dataset_pb2.Dataset:
    """Return a dataset with its report, whole."""
    state = dataset_pb2.Dataset.STATE_INVALID if bad_lines else dataset_pb2.Dataset.STATE_READY
    made = dataset_pb2.Dataset(state=state, progress=1)
    report = made.report
    report.format, report.row_count, report.valid_row_count = "chat", 3, 3 - len(bad_lines)
    report.token_percentiles.add(percentile=50, count=20)
    report.max_token_count = 25
    report.languages.add(language="en", share=1)
    report.sufficiencies.add(technique="SFT", level=3, rule="3 rows, 50 are a start.")
    for line in bad_lines:
        report.findings.add(
            line=line,
            code="unknown_role",
            field="messages[0].role",
            message="'bad' is no role.",
            remedy="Use one of the four.",
            severity=dataset_pb2.Finding.SEVERITY_ERROR,
        )
    if bad_lines:
        severity = dataset_pb2.Finding.SEVERITY_ERROR
        report.finding_counts.add(code="unknown_role", severity=severity, count=len(bad_lines))
    whole = dataset_pb2.Dataset()
    whole.CopyFrom(dataset)
    whole.MergeFrom(made)
    return whole


class CannedDatasets(dataset_pb2_grpc.DatasetServiceServicer):
    """Keeps what is uploaded."""

    def __init__(self) -> None:
        super().__init__()
        self.uploads: list[tuple[dataset_pb2.UploadHeader, bytes]] = []
        first = dataset_pb2.Dataset(name=DATASET, display_name="train.jsonl")
        self.datasets = {DATASET: analysed(first, [])}

    async def UploadDataset(self, requests, context):
        header, content = None, b""
        async for piece in requests:
            if piece.WhichOneof("piece") == "header":
                header = piece.header
            content += piece.chunk
        UUID(header.request_id)
        self.uploads.append((header, content))
        dataset = dataset_pb2.Dataset(
            name=f"{PROJECT}/datasets/d{len(self.uploads)}",
            display_name=header.display_name,
            holdout_dataset=header.holdout_dataset,
            previous_dataset=header.previous_dataset,
            file_format=header.file_format or "jsonl",
            state=dataset_pb2.Dataset.STATE_ANALYSING,
        )
        bad = [i for i, line in enumerate(content.splitlines(), 1) if b'"bad"' in line]
        self.datasets[dataset.name] = analysed(dataset, bad)
        return dataset

    async def GetDataset(self, request, context):
        self._keep(request)
        if request.name not in self.datasets:
            raise errors.NotFound(f"There is no dataset {request.name}.", reason="NO_DATASET")
        found = dataset_pb2.Dataset()
        found.CopyFrom(self.datasets[request.name])
        del found.report.findings[:]
        return found

    async def GetDatasetReport(self, request, context):
        self._keep(request)
        return self.datasets[request.name].report

    async def DeleteDataset(self, request, context):
        self._keep(request)
        return dataset_pb2.DeleteDatasetResponse()

    async def PreviewRows(self, request, context):
        self._keep(request)
        answer = dataset_pb2.PreviewRowsResponse(base_model="attune/starter")
        for line in request.lines or (1,):
            answer.rows.add(
                line=line,
                text="Hi there",
                token_ids=[7, 8],
                token_texts=["Hi", " there"],
                trainable=[False, True],
                cut_token_count=3,
            )
        return answer

    async def ListDatasets(self, request, context):
        self._keep(request)
        page = int(request.page_token or "0")
        return dataset_pb2.ListDatasetsResponse(
            datasets=[dataset_pb2.Dataset(name=f"{PROJECT}/datasets/d{page}")],
            next_page_token=str(page + 1) if page < 2 else "",
        )
