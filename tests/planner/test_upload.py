"""Uploads through real gRPC: what is kept, what is refused, and that nothing half stays."""

import asyncio
import json
import os
import shutil
import time
from collections import namedtuple
from pathlib import Path
from uuid import uuid4

import grpc
import pytest
from attune.planner.v1 import dataset_pb2, dataset_pb2_grpc

from services.common import errors
from services.common import peers as clients
from tests.planner.dataset.test_rows import BROKEN
from tests.planner.peer_servers import a_row, files_under, jsonl, some_rows
from tests.planner.planner_service import PARENT, running_planner

GOOD = some_rows(3)


@pytest.fixture
async def service(tmp_path: Path):
    url = f"sqlite+aiosqlite:///{tmp_path / 'planner.db'}"
    async with running_planner(tmp_path, url) as running:
        yield running


async def refusal(call) -> errors.ServiceError:
    with pytest.raises(errors.ServiceError) as refused:
        await call
    return refused.value


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
    kept = service.artefacts / "datasets" / dataset.sha256 / "rows.jsonl"
    assert kept.read_bytes() == content
    assert files_under(service.artefacts) == [kept]
    assert (dataset.report.row_count, dataset.size_bytes) == (2500, len(content))
    assert dataset.report.tokenizer_model == "attune/starter"
    assert dataset.report.json_answer_share == 1
    assert service.peers.trainer.batches == [1000, 1000, 500]
    request = dataset_pb2.GetDatasetRequest(name=dataset.name)
    assert await clients.call(service.datasets.GetDataset, request) == dataset
    assert await listed(service) == [dataset]


async def test_the_same_bytes_twice_are_one_dataset(service):
    first, second = await service.upload(GOOD), await service.upload(GOOD, name="other.jsonl")
    assert first == second
    assert len(files_under(service.artefacts)) == 1


async def test_the_same_bytes_with_a_hold_out_are_another_dataset_on_the_same_file(service):
    held = await service.upload(some_rows(4, start=2))
    alone, split = await service.upload(GOOD), await service.upload(GOOD, holdout=held.name)
    assert alone.name != split.name
    assert (split.sha256, split.holdout_dataset) == (alone.sha256, held.name)
    assert (alone.report.holdout_overlap_count, split.report.holdout_overlap_count) == (0, 1)
    assert len(files_under(service.artefacts)) == 2


async def test_a_repeated_request_returns_the_first_answer(service):
    request_id = str(uuid4())
    first = await service.upload(GOOD, request_id=request_id)
    assert await service.upload(GOOD, request_id=request_id) == first


def with_line(line: bytes) -> bytes:
    return GOOD + line + b"\n" + GOOD


LONG = jsonl([a_row("x" * 5000)]).strip()
BAD_FILES = {
    "broken line": (with_line(b'{"messages": ['), "line 4", "NOT_JSON"),
    "not UTF-8": (with_line(b"\xff\xfe"), "line 4", "NOT_UTF8"),
    "empty line": (with_line(b""), "line 4", "EMPTY_LINE"),
    "wrong role": (
        with_line(b'{"messages": [{"role": "bot", "content": "x"}]}'),
        "line 4",
        "BAD_ROLE",
    ),
    "no assistant": (
        with_line(b'{"messages": [{"role": "user", "content": "x"}]}'),
        "line 4",
        "NO_ASSISTANT",
    ),
    "cut answer": (with_line(LONG), "line 4", "ANSWER_CUT"),
    "line without an end": (GOOD + b"x" * (2 * 1024 * 1024), "line 4", "LINE_TOO_LONG"),
    "not JSONL at all": (b"%PDF-1.7\n" * 500, "lines 1, 2, 3", "NOT_JSON"),
    "empty file": (b"", "chunk", "EMPTY_FILE"),
}


@pytest.mark.parametrize("case", BAD_FILES)
async def test_a_bad_file_is_refused_by_line_and_rule_and_leaves_nothing(service, case):
    content, field, rule = BAD_FILES[case]
    refused = await refusal(service.upload(content))
    assert refused.code == "INVALID_ARGUMENT"
    found = [each for each in refused.violations if each.rule == rule]
    assert found
    assert found[0].field.startswith(field)
    assert found[0].message
    assert files_under(service.artefacts) == []
    assert list((service.artefacts / "datasets").iterdir()) == []
    assert await listed(service) == []


async def test_every_rule_that_a_file_breaks_is_told(service):
    lines = [b"{", b'{"messages": []}', b"\xff", GOOD.splitlines()[0], b"[]"]
    refused = await refusal(service.upload(b"\n".join(lines)))
    assert [(each.field, each.rule) for each in refused.violations] == [
        ("line 1", "NOT_JSON"),
        ("line 2: messages", "NO_MESSAGES"),
        ("line 3", "NOT_UTF8"),
        ("line 5", "NOT_AN_OBJECT"),
    ]


async def test_every_rule_at_once_still_fits_into_a_status_of_any_client(service):
    lines = [line for line in BROKEN.values() for _ in range(4)]
    stub_channel = grpc.aio.insecure_channel(service.address)
    async with stub_channel:
        stub = dataset_pb2_grpc.DatasetServiceStub(stub_channel)
        service.datasets = stub
        refused = await refusal(service.upload(b"\n".join(lines)))
    assert refused.code == "INVALID_ARGUMENT"
    assert {each.rule for each in refused.violations} >= set(BROKEN) - {"LINE_TOO_LONG"}


async def test_a_last_line_without_an_end_counts(service):
    assert (await service.upload(GOOD.rstrip(b"\n"))).report.row_count == 3
    assert (await service.upload(GOOD.replace(b"\n", b"\r\n"))).report.row_count == 3


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
    assert len(files_under(service.artefacts)) == 1


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


async def test_without_the_trainer_nothing_is_kept(service):
    service.peers.trainer.models.clear()
    refused = await refusal(service.upload(GOOD))
    assert (refused.code, refused.reason) == ("UNAVAILABLE", "NO_BASE_MODEL_AT_HAND")
    assert "services.trainer.base_models ensure" in refused.message
    assert files_under(service.artefacts) == []


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
        assert len(files_under(service.artefacts)) == 1


async def test_a_batch_for_the_trainer_stays_below_its_bound(service):
    service.peers.trainer.models[0].context_length = 1_000_000
    big = [a_row("x" * 900_000 + str(n)) for n in range(4)]
    try:
        await service.upload(jsonl(big))
    finally:
        service.peers.trainer.models[0].context_length = 1024
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
