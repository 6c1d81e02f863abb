"""Uploads through real gRPC: what is kept, what is refused, and that nothing half stays."""

import asyncio
import gzip
import json
import os
import shutil
import time
from collections import namedtuple
from pathlib import Path
from uuid import uuid4

import pytest
from attune.planner.v1 import dataset_pb2
from attune.spec.v1 import spec_pb2
from attune.spec.v1.stage_pb2 import Technique
from sqlalchemy import update

from services.common import peers as clients
from services.common.artefacts import Artefacts
from services.planner.store import DATASETS
from services.trainer.data.rows import read_split
from services.trainer.run import RunFailed
from tests.planner.peer_servers import a_row, files_under, jsonl, some_rows
from tests.planner.planner_service import PARENT, refusal, running_planner

GOOD = some_rows(12)
READY, INVALID = dataset_pb2.Dataset.STATE_READY, dataset_pb2.Dataset.STATE_INVALID


async def listed(service) -> list[dataset_pb2.Dataset]:
    request = dataset_pb2.ListDatasetsRequest(parent=PARENT)
    return list((await clients.call(service.datasets.ListDatasets, request)).datasets)


def header(**fields) -> dataset_pb2.UploadDatasetRequest:
    given = {"parent": PARENT, "display_name": "x.jsonl", "request_id": str(uuid4()), **fields}
    return dataset_pb2.UploadDatasetRequest(header=dataset_pb2.UploadHeader(**given))


def chunk(content: bytes) -> dataset_pb2.UploadDatasetRequest:
    return dataset_pb2.UploadDatasetRequest(chunk=content)


async def test_a_good_file_is_kept_by_its_content_with_a_report(service):
    content = some_rows(2500)
    dataset = await service.upload(content)
    folder = service.artefacts / "datasets" / dataset.sha256
    assert (folder / "original").read_bytes() == (folder / "rows.jsonl").read_bytes() == content
    assert len(files_under(service.artefacts)) == 2
    assert (dataset.state, dataset.progress, dataset.file_format) == (READY, 1, "jsonl")
    assert (dataset.report.row_count, dataset.size_bytes) == (2500, len(content))
    assert dataset.report.tokenizer_model == "attune/starter"
    assert dataset.report.json_answer_share == 1
    assert service.peers.trainer.batches == [1000, 1000, 500]
    assert await listed(service) == [dataset]
    assert (await service.report(dataset)).row_count == 2500


async def test_an_upload_returns_before_its_report(service):
    stored = await service.upload_stream([header(), chunk(some_rows(2000))])
    assert stored.state == dataset_pb2.Dataset.STATE_ANALYSING
    assert not stored.HasField("report")
    early = await refusal(service.report(stored))
    assert (early.code, early.reason) == ("FAILED_PRECONDITION", "REPORT_IN_PROGRESS")
    assert (await service.analysed(stored.name)).state == READY


async def test_the_same_bytes_twice_are_one_dataset(service):
    first, second = await service.upload(GOOD), await service.upload(GOOD, name="other.jsonl")
    assert first == second
    assert len(files_under(service.artefacts)) == 2


async def test_the_same_bytes_from_several_at_once_are_one_dataset(service):
    several = [service.upload_stream([header(), chunk(GOOD)]) for _ in range(5)]
    assert len({dataset.name for dataset in await asyncio.gather(*several)}) == 1
    (dataset,) = await listed(service)
    assert (await service.analysed(dataset.name)).state == READY
    assert len(files_under(service.artefacts)) == 2


async def test_the_same_bytes_with_a_hold_out_are_another_dataset_on_the_same_file(service):
    held = await service.upload(some_rows(12, start=11))
    alone, split = await service.upload(GOOD), await service.upload(GOOD, holdout=held.name)
    assert alone.name != split.name
    assert (split.sha256, split.holdout_dataset) == (alone.sha256, held.name)
    assert alone.report.holdout_overlap_count == 0
    assert split.report.holdout_overlap_count >= 1
    found = {each.code: each.line for each in (await service.report(split)).findings}
    assert found["train_test_overlap"] == 12
    assert split.state == INVALID


async def test_a_repeated_request_returns_the_first_answer(service):
    request_id = str(uuid4())
    first = await service.upload(GOOD, request_id=request_id)
    assert await service.upload(GOOD, request_id=request_id) == first


def with_line(line: bytes) -> bytes:
    return GOOD + line + b"\n" + some_rows(12, start=50)


BAD_FILES = {
    "broken line": (with_line(b'{"messages": ['), 13, "invalid_json"),
    "not UTF-8": (with_line(b"\xff\xfe"), 13, "encoding_not_utf8"),
    "wrong role": (
        with_line(b'{"messages": [{"role": "bot", "content": "x"}]}'),
        13,
        "unknown_role",
    ),
    "cut answer": (with_line(jsonl([a_row("x" * 20_000)]).strip()), 13, "answer_truncated"),
    "line without an end": (GOOD + b"x" * (2 * 1024 * 1024), 13, "line_too_long"),
    "not JSONL at all": (b"%PDF-1.7\n" * 500, 1, "invalid_json"),
    "only blanks": (b" \n\n", 0, "empty_file"),
    "too few": (some_rows(9), 0, "too_few_rows"),
}


@pytest.mark.parametrize("case", BAD_FILES)
async def test_a_bad_file_is_kept_as_invalid_with_its_report_and_no_rows(service, case):
    content, line, code = BAD_FILES[case]
    dataset = await service.upload(content)
    assert dataset.state == INVALID
    report = await service.report(dataset)
    finding = next(each for each in report.findings if each.code == code)
    assert finding.line == line
    assert finding.message
    assert finding.remedy
    assert not dataset.report.findings
    assert dataset.report.finding_counts == report.finding_counts
    assert [path.name for path in files_under(service.artefacts)] == ["original"]


async def test_findings_stop_at_a_thousand_and_are_counted_beyond(service):
    dataset = await service.upload(GOOD + b"{}\n" * 1500)
    report = await service.report(dataset)
    assert len(report.findings) == 1000
    assert report.findings[0].line == 13
    assert report.finding_counts[0].count == 1500


async def test_a_last_line_without_an_end_counts(service):
    assert (await service.upload(GOOD.rstrip(b"\n"))).report.row_count == 12
    returns = await service.upload(GOOD.replace(b"\n", b"\r\n"))
    assert (returns.state, returns.report.row_count) == (READY, 12)


TABLE = b"prompt,completion\n" + b"".join(
    b'"How many, in box %d?",%d\n' % (number, number) for number in range(12)
)
OTHER_FORMATS = {
    "pairs.csv": TABLE,
    "pairs.csv.gz": gzip.compress(TABLE),
    "rows.json": b"[" + b",".join(GOOD.splitlines()) + b"]",
    "rows.jsonl.gz": gzip.compress(GOOD),
}


@pytest.mark.parametrize("name", OTHER_FORMATS)
async def test_rows_of_other_formats_are_written_as_the_trainer_reads_them(service, name):
    dataset = await service.upload(OTHER_FORMATS[name], name=name)
    assert (dataset.state, dataset.report.row_count) == (READY, 12)
    assert dataset.file_format == name.partition(".")[2]
    data = spec_pb2.Data(
        dataset_sha256=dataset.sha256,
        split_method=spec_pb2.Data.SPLIT_METHOD_RANDOM,
        holdout_row_count=2,
    )
    rows = read_split(Artefacts(service.artefacts), data, Technique.TECHNIQUE_SFT)
    assert len(rows.train) + len(rows.validation) + len(rows.holdout) == 12
    path = service.artefacts / "datasets" / dataset.sha256 / "rows.jsonl"
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(RunFailed, match="approved"):
        read_split(Artefacts(service.artefacts), data, Technique.TECHNIQUE_SFT)


async def test_a_named_format_goes_before_the_name(service):
    dataset = await service.upload(TABLE, name="data.txt", file_format="csv")
    assert (dataset.state, dataset.file_format) == (READY, "csv")
    taken_for_rows = await service.upload(TABLE, name="data.txt")
    assert [each.code for each in taken_for_rows.report.finding_counts] == ["looks_like_csv"]
    unknown = await refusal(service.upload(TABLE, file_format="xlsx"))
    assert unknown.violations[0].rule == "UNKNOWN_FORMAT"


async def test_a_correction_tells_what_changed(service):
    first = await service.upload(GOOD)
    second = await service.upload(some_rows(13, start=1), previous_dataset=first.name)
    change = second.report.difference
    assert second.previous_dataset == first.name
    assert (change.added_row_count, change.removed_row_count, change.kept_row_count) == (2, 1, 11)


async def test_a_dataset_is_deleted_with_its_bytes_unless_something_needs_it(service):
    held, twin = await service.upload(GOOD), await service.upload(some_rows(12, start=50))
    user = await service.upload(some_rows(12, start=50), holdout=held.name)
    refused = await refusal(delete(service, held.name))
    assert (refused.code, refused.metadata["needed_by"]) == ("FAILED_PRECONDITION", user.name)
    await delete(service, user.name)
    assert (service.artefacts / "datasets" / twin.sha256).exists()
    await delete(service, twin.name)
    assert not (service.artefacts / "datasets" / twin.sha256).exists()
    request_id = str(uuid4())
    await delete(service, held.name, request_id)
    await delete(service, held.name, request_id)
    assert await listed(service) == []
    assert (await refusal(delete(service, held.name))).code == "NOT_FOUND"


async def test_what_waits_for_its_report_is_analysed_after_a_restart(tmp_path):
    url = f"sqlite+aiosqlite:///{tmp_path / 'planner.db'}"
    async with running_planner(tmp_path, url) as service:
        dataset = await service.upload(GOOD)
        dataset.state = dataset_pb2.Dataset.STATE_ANALYSING
        async with service.database.write() as connection:
            values = {"state": dataset.state, "dataset": dataset.SerializeToString()}
            await connection.execute(update(DATASETS).values(values))
    async with running_planner(tmp_path, url) as service:
        assert (await service.analysed(dataset.name)).state == READY


def delete(service, name: str, request_id: str = ""):
    request = dataset_pb2.DeleteDatasetRequest(name=name, request_id=request_id or str(uuid4()))
    return clients.call(service.datasets.DeleteDataset, request)


BAD_STREAMS = {
    "nothing": ([], "HEADER_FIRST"),
    "chunk first": ([chunk(b"x")], "HEADER_FIRST"),
    "header twice": ([header(), chunk(GOOD), header()], "HEADER_ONCE"),
    "empty message": ([header(), dataset_pb2.UploadDatasetRequest()], "HEADER_ONCE"),
    "large chunk": ([header(), chunk(b"x" * (1024 * 1024 + 1))], "CHUNK_TOO_LARGE"),
    "bad parent": ([header(parent="default"), chunk(GOOD)], "RESOURCE_NAME"),
    "long title": ([header(display_name="x" * 201), chunk(GOOD)], "LENGTH"),
    "no title": ([header(display_name=""), chunk(GOOD)], "REQUIRED"),
    "no UUID": ([header(request_id="7"), chunk(GOOD)], "UUID"),
    "bad hold-out": ([header(holdout_dataset="../x"), chunk(GOOD)], "RESOURCE_NAME"),
    "hold-out elsewhere": (
        [header(holdout_dataset="projects/other/datasets/a"), chunk(GOOD)],
        "OTHER_PROJECT",
    ),
}


@pytest.mark.parametrize("case", BAD_STREAMS)
async def test_a_bad_stream_is_refused_and_leaves_nothing(service, case):
    messages, rule = BAD_STREAMS[case]
    refused = await refusal(service.upload_stream(messages))
    assert (refused.code, refused.violations[0].rule) == ("INVALID_ARGUMENT", rule)
    assert files_under(service.artefacts) == []


async def test_a_title_that_is_a_path_names_no_file(service):
    dataset = await service.upload(GOOD, name="../../../../etc/passwd")
    assert dataset.display_name == "../../../../etc/passwd"
    assert len(files_under(service.artefacts)) == 2


async def test_an_unknown_hold_out_and_a_hold_out_of_the_same_bytes_are_refused(service):
    unknown = await refusal(service.upload(GOOD, holdout=f"{PARENT}/datasets/a1"))
    assert unknown.code == "NOT_FOUND"
    held = await service.upload(GOOD)
    same = await refusal(service.upload(GOOD, holdout=held.name))
    assert same.violations[0].rule == "SAME_DATASET"


async def test_an_unknown_dataset_is_not_found(service):
    request = dataset_pb2.GetDatasetRequest(name=f"{PARENT}/datasets/a1")
    assert (await refusal(clients.call(service.datasets.GetDataset, request))).code == "NOT_FOUND"


async def test_a_cancelled_stream_leaves_nothing(service):
    written = asyncio.Event()

    async def endless():
        yield header()
        for _ in range(3):
            yield chunk(GOOD)
        written.set()
        await asyncio.Event().wait()

    call = service.datasets.UploadDataset(endless())
    waiting = asyncio.ensure_future(call)
    await asyncio.wait_for(written.wait(), 10)
    folder = service.artefacts / "datasets"
    await until(lambda: folder.exists() and any(folder.iterdir()))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(lambda: not any(folder.iterdir()))
    assert await listed(service) == []


async def until(holds) -> None:
    for _ in range(500):
        if holds():
            return
        await asyncio.sleep(0.02)  # The server notices in its own time; it tells nobody.
    raise AssertionError("it never came true")


async def test_without_a_base_model_tokens_are_estimates(service):
    service.peers.trainer.models = []
    report = (await service.upload(GOOD)).report
    assert report.tokenizer_model == ""
    assert report.token_percentiles[-1].count == report.max_token_count > 0


async def test_a_full_disk_is_said_and_leaves_nothing(service, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, len(GOOD) * 2 - 1))
    refused = await refusal(service.upload(GOOD))
    assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "NO_DISK_SPACE")
    assert files_under(service.artefacts) == []


async def test_a_file_above_the_limit_is_refused_and_leaves_nothing(tmp_path):
    url = f"sqlite+aiosqlite:///{tmp_path / 'planner.db'}"
    async with running_planner(tmp_path, url, upload_bytes_max=len(GOOD)) as service:
        assert await service.upload(GOOD)
        refused = await refusal(service.upload(GOOD + b"\n"))
        assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "FILE_TOO_LARGE")
        assert len(files_under(service.artefacts)) == 2


async def test_a_batch_for_the_trainer_stays_below_its_bound(service):
    await service.upload(jsonl([a_row("x" * 900_000 + str(n)) for n in range(4)]))
    assert service.peers.trainer.batches == [2, 2]


async def test_what_a_dead_process_left_is_removed_at_start_but_not_what_is_being_written(
    tmp_path,
):
    folders = [tmp_path / "artefacts" / "datasets" / f".upload.{n}.tmp" for n in ("old", "new")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "rows.jsonl").write_bytes(GOOD)
    hours_ago = time.time() - 7200
    for path in (folders[0] / "rows.jsonl", folders[0]):
        os.utime(path, (hours_ago, hours_ago))
    async with running_planner(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'planner.db'}"):
        assert [folder.exists() for folder in folders] == [False, True]


async def test_the_bundled_example_is_accepted(service):
    folder = Path(__file__).parents[2] / "examples" / "support-tickets"
    held = await service.upload((folder / "holdout.jsonl").read_bytes())
    dataset = await service.upload((folder / "train.jsonl").read_bytes(), holdout=held.name)
    assert (held.report.row_count, dataset.report.row_count) == (150, 600)
    assert dataset.report.json_answer_share == 1
    assert dataset.report.holdout_overlap_count == 0
    assert json.loads((folder / "train.jsonl").read_text().splitlines()[0])["messages"]
