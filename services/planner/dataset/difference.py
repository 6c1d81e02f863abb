"""How a dataset differs from the one that it corrects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from attune.planner.v1 import dataset_pb2


def between(before: Iterable[int], now: Iterable[int]) -> dataset_pb2.VersionDifference:
    """Return how many rows are new, gone and kept; a row that stands twice counts twice.

    Args:
        before: Digests of the rows of the dataset that is corrected.
        now: Digests of the rows of the correction.
    """
    old, new = Counter(before), Counter(now)
    kept = (old & new).total()
    return dataset_pb2.VersionDifference(
        added_row_count=new.total() - kept,
        removed_row_count=old.total() - kept,
        kept_row_count=kept,
    )
