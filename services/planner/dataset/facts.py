"""What a plan must know of a dataset."""

from __future__ import annotations

from dataclasses import dataclass

from attune.planner.v1 import dataset_pb2


@dataclass(frozen=True)
class DatasetFacts:
    """A dataset as its report shows it."""

    name: str
    """Format: `projects/{project}/datasets/{dataset}`."""
    display_name: str
    """The file's name when it was uploaded."""
    sha256: str
    """Of its bytes."""
    holdout_dataset: str
    """Dataset that it names as its hold-out; empty when it names none."""
    report: dataset_pb2.DatasetReport
    """What its rows look like; must not be changed."""
    valid: bool = True
    """Whether it may be trained on: READY, not INVALID."""
