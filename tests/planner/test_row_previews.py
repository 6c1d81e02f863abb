"""What training will see of rows, asked for over real gRPC."""

from pathlib import Path

import pytest
from attune.planner.v1 import dataset_pb2

from services.common import errors
from services.common import peers as clients
from tests.planner.peer_servers import some_rows
from tests.planner.planner_service import running_planner


@pytest.fixture
async def service(tmp_path: Path):
    async with running_planner(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'x.db'}") as running:
        yield running


async def preview(service, name: str, *lines: int, **fields):
    request = dataset_pb2.PreviewRowsRequest(name=name, lines=lines, **fields)
    return await clients.call(service.datasets.PreviewRows, request)


async def test_the_first_three_rows_are_shown_or_those_that_are_asked_for(service):
    dataset = await service.upload(b"\n" + some_rows(12) + b"{}\n")
    shown = await preview(service, dataset.name)
    assert [row.line for row in shown.rows] == [2, 3, 4]
    assert "Question number 0?" in shown.rows[0].text
    assert shown.base_model == "attune/starter"
    asked = await preview(service, dataset.name, 9, 5)
    assert [(row.line, "number 7?" in row.text) for row in asked.rows] == [(9, True), (5, False)]


async def test_rows_of_tables_are_shown_as_chats(service):
    table = b"question,answer\n" + b"".join(b"Who is %d?,%d\n" % (n, n) for n in range(12))
    dataset = await service.upload(table, name="pairs.csv")
    shown = await preview(service, dataset.name, 3)
    assert shown.rows[0].text == "Who is 1?\n1"


@pytest.mark.parametrize("line", [1, 14, 99])
async def test_a_line_without_a_row_to_train_on_is_refused(service, line):
    dataset = await service.upload(b"\n" + some_rows(12) + b"{}\n")
    with pytest.raises(errors.InvalidArgument) as refused:
        await preview(service, dataset.name, line)
    assert refused.value.violations[0].message.startswith(f"Line {line}: ")


async def test_too_many_lines_and_too_short_a_length_are_refused(service):
    dataset = await service.upload(some_rows(12))
    with pytest.raises(errors.InvalidArgument) as refused:
        await preview(service, dataset.name, *range(1, 22), max_length=15)
    assert [each.field for each in refused.value.violations] == ["lines", "max_length"]
