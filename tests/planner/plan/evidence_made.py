"""Briefs and reports for tests of what is decided, each with one thing said or shown."""

from attune.planner.v1 import dataset_pb2

from services.planner.brief import Brief
from services.planner.dataset.facts import DatasetFacts
from services.planner.plan.evidence import Evidence

ERROR = dataset_pb2.Finding.SEVERITY_ERROR
WARNING = dataset_pb2.Finding.SEVERITY_WARNING
PROBLEM = "Write the answer that our editors would write."


def said(*signals, **fields) -> Brief:
    """Return a brief with a problem, some signals and some fields."""
    return Brief(**{"problem": PROBLEM, **fields}, signals=frozenset(signals))


def shown(format="prompt_completion", rows=1000, *, valid=True, labels=(), found=(), **figures):
    """Return a dataset whose report shows some figures.

    Args:
        format: Of the report.
        rows: All of them.
        valid: Whether it may be trained on.
        labels: Counts, most frequent first.
        found: Pairs of code and count, or code, count and severity.
        **figures: Other fields of the report.
    """
    figures = {"valid_row_count": rows, "total_token_count": 100 * rows, **figures}
    report = dataset_pb2.DatasetReport(format=format, row_count=rows, **figures)
    for index, count in enumerate(labels):
        report.labels.add(label=f"label {index}", count=count)
    for code, count, *severity in found:
        report.finding_counts.add(code=code, count=count, severity=(severity or [WARNING])[0])
    return DatasetFacts("projects/default/datasets/a1", "a.jsonl", "0" * 64, "", report, valid)


def evidence(*signals, dataset=None, holdout=None, **fields) -> Evidence:
    """Return evidence from signals, fields of the brief and a dataset."""
    return Evidence(said(*signals, **fields), dataset, holdout)
