"""What a plan is made from: reports that are still being made, and rows that are not there."""

import pytest
from attune.planner.v1 import dataset_pb2

from services.common.errors import NotFound, Unavailable
from services.planner.source_reader import SourceReader

NAME = "projects/default/datasets/a1"
ANALYSING = dataset_pb2.Dataset.STATE_ANALYSING


class Datasets:
    """One dataset whose report is ready after some looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    async def get(self, name):
        if name != NAME:
            raise NotFound(f"There is no {name}.", reason="DATASET_NOT_FOUND", dataset=name)
        self.looks -= 1
        state = ANALYSING if self.looks > 0 else dataset_pb2.Dataset.STATE_READY
        return dataset_pb2.Dataset(name=NAME, display_name="rows.jsonl", state=state, progress=0.25)


def a_reader(looks: int, report_wait_s: float) -> SourceReader:
    return SourceReader(Datasets(looks), None, (), (), (), report_wait_s)


async def test_a_report_that_is_nearly_made_is_waited_for():
    assert (await a_reader(3, 10).dataset(NAME)).valid


async def test_a_report_that_takes_long_is_told_with_its_progress():
    with pytest.raises(Unavailable) as refused:
        await a_reader(1000, 0).dataset(NAME)
    assert refused.value.reason == "REPORT_IN_PROGRESS"
    assert "rows.jsonl is 25% made" in refused.value.message
    assert refused.value.retry_after_s > 0


async def test_an_empty_name_is_no_rows():
    reader = a_reader(0, 0)
    assert await reader.rows("", "") == (None, None)
    rows, _ = await reader.rows(NAME, "")
    assert rows is not None
    with pytest.raises(NotFound):
        await reader.rows(NAME, "projects/default/datasets/b2")
