"""The report of a dataset: what both passes and the analyses of rows found, put together."""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from attune.planner.v1 import dataset_pb2

from services.planner.dataset import (
    boilerplate,
    contradictions,
    difference,
    injection,
    invisible,
    labels,
    language,
    near_duplicates,
    overlap,
    personal_data,
    preview,
    secrets,
    split,
    sufficiency,
    triggers,
)
from services.planner.dataset.file import FileFormat
from services.planner.dataset.file_rows import DECODED_BYTES_MAX, read_records
from services.planner.dataset.findings import ERROR, Finding, Severity, found, to_proto
from services.planner.dataset.report_structure import FINDINGS_MAX, Structure
from services.planner.dataset.rows import RowView, view_of

SAMPLE_ROWS_MAX = 200_000
SAMPLE_BYTES_MAX = 64 * 1024 * 1024
"""Text of the rows that the statistical passes look at; in memory it is about four times that."""
SAMPLE_SEED = 7
ROW_TOKENS_MAX = 4096
"""Length at which training cuts rows unless a plan says otherwise."""
PERCENTILES = (5, 25, 50, 75, 95, 99, 100)
LABELS_MAX = 100
LABEL_CHARACTERS_MAX = 100
LANGUAGES_MAX = 10


FINDERS = (
    near_duplicates.find_identical,
    near_duplicates.find,
    contradictions.find,
    labels.find,
    boilerplate.find,
    secrets.find,
    personal_data.find,
    injection.find,
    invisible.find,
    triggers.find,
)
"""Analyses that look at the rows of one file."""


@dataclass(frozen=True)
class TokenCount:
    """Tokens of one row under the base model's template."""

    token_count: int
    """All tokens, template included; of a pair with the preferred answer."""
    prompt_token_count: int
    """Tokens before the last answer."""
    answer_token_count: int
    """Tokens of the last answer, of the preferred one, or of a reference."""
    rejected_token_count: int = 0
    """Tokens of the rejected answer."""


@dataclass
class Sample:
    """The rows that the statistical passes look at."""

    views: list[RowView] = field(default_factory=list)
    """In the order of the file."""
    counts: dict[int, TokenCount] = field(default_factory=dict)
    """By line; those of all rows of the sample, or of none."""


@dataclass(frozen=True)
class Others:
    """What a report compares a file with."""

    holdout: Sequence[RowView] = ()
    """Rows of the hold-out."""
    previous: array[int] | None = None
    """Digests of the dataset that this one corrects, made in the same process."""


def choose_sample(structure: Structure) -> Container[int]:
    """Return the lines of the rows to look at: all, or a part that depends on their number only."""
    count = len(structure.lines)
    wanted = min(count, SAMPLE_ROWS_MAX)
    if structure.byte_count > SAMPLE_BYTES_MAX:
        wanted = min(wanted, count * SAMPLE_BYTES_MAX // structure.byte_count)
    if wanted == count:
        return set(structure.lines)
    chosen = random.Random(SAMPLE_SEED).sample(range(count), wanted)
    return {structure.lines[place] for place in chosen}


def read_sample(
    path: Path,
    file_format: FileFormat,
    structure: Structure,
    bytes_max: int = DECODED_BYTES_MAX,
) -> Iterator[tuple[RowView, Mapping[str, Any]]]:
    """Yield the rows of the sample as plain text and as they are, in order.

    Args:
        path: The file that `structure` was read from.
        file_format: How to read it.
        structure: What the first pass found.
        bytes_max: Decompressed bytes after which it is refused.
    """
    if structure.form is None or not structure.lines:
        return
    lines, last = choose_sample(structure), structure.lines[-1]
    for record, _ in read_records(path, file_format, bytes_max, lines):
        if record.line in lines and record.raw:
            yield view_of(record.body, structure.form, record.line), record.body
        if record.line >= last:
            return


def build_report(
    structure: Structure, sample: Sample, others: Others, tokenizer_model: str = ""
) -> dataset_pb2.DatasetReport:
    """Return the whole report, findings included.

    Args:
        structure: Of the first pass.
        sample: Rows to look at, with their tokens where they were counted.
        others: What to compare with.
        tokenizer_model: Base model whose tokenizer counted; ignored when nothing was counted.
    """
    report = dataset_pb2.DatasetReport(format=structure.shape, row_count=structure.row_count)
    found_later = _too_long(structure, sample)
    for finder in FINDERS if sample.views else ():
        found_later += finder(sample.views)
    if sample.views and others.holdout:
        found_later += overlap.find(sample.views, others.holdout)
    repeated = {finding.line for finding in structure.repeats}
    found_later = [
        finding
        for finding in found_later
        if finding.code != "near_duplicate_row" or finding.line not in repeated
    ]
    counts = _add_findings(report, structure, found_later)
    _add_rows(report, structure, found_later, counts)
    _add_tokens(report, structure, sample, tokenizer_model)
    if sample.views:
        _add_statistics(report, sample.views, others.holdout)
    leaks = {each.line for each in found_later if each.code.startswith("train_test")}
    report.holdout_overlap_count = _scaled(len(leaks), structure, sample)
    report.near_duplicate_row_count = counts["near_duplicate_row"]
    report.contradictory_row_count = counts["contradictory_labels"]
    report.sufficiencies.extend(sufficiency.judge(report))
    if others.previous is not None:
        report.difference.CopyFrom(difference.between(others.previous, structure.digests))
    return report


def is_valid(report: dataset_pb2.DatasetReport) -> bool:
    """Return whether a file may be trained on: no finding is an error."""
    return all(each.severity != ERROR for each in report.finding_counts)


def _too_long(structure: Structure, sample: Sample) -> list[Finding]:
    """Return the findings about rows that training would cut; counts go before estimates."""
    sizes = {
        line: (each.prompt, each.prompt + max(each.answer, each.rejected))
        for line, each in structure.long_rows.items()
    }
    for line, count in sample.counts.items():
        with_rejected = count.prompt_token_count + count.rejected_token_count
        sizes[line] = (count.prompt_token_count, max(count.token_count, with_rejected))
    findings = []
    for line, (prompt, total) in sizes.items():
        if total > ROW_TOKENS_MAX:
            text = f"{total:,} tokens, {prompt:,} of them before the answer."
            code = "answer_truncated" if prompt >= ROW_TOKENS_MAX else "row_too_long"
            findings.append(found(code, line, text))
    return findings


def _add_findings(
    report: dataset_pb2.DatasetReport, structure: Structure, later: list[Finding]
) -> Counter[str]:
    """Add the first findings by line and the counts of all, and return the counts by code."""
    kinds: Counter[tuple[str, Severity.ValueType]] = Counter(structure.counts)
    kinds.update((finding.code, finding.severity) for finding in later)
    # Messages of rules quote what stands in a row.
    quoting = [
        replace(each, message=personal_data.mask(each.message)) for each in structure.findings
    ]
    parts = (quoting, structure.repeats, later)
    ordered = merge(*(sorted(part, key=_line) for part in parts), key=_line)
    report.findings.extend(to_proto(finding) for finding in islice(ordered, FINDINGS_MAX))
    for (code, severity), count in sorted(kinds.items(), key=lambda item: (-item[1], item[0])):
        report.finding_counts.add(code=code, severity=severity, count=count)
    return Counter({code: count for (code, _), count in kinds.items()})


def _add_rows(
    report: dataset_pb2.DatasetReport,
    structure: Structure,
    later: Sequence[Finding],
    counts: Mapping[str, int],
) -> None:
    bad_later = {finding.line for finding in later if finding.line and finding.severity == ERROR}
    report.valid_row_count = len(structure.lines) - len(bad_later)
    report.duplicate_row_count = counts["duplicate_row"]
    if count := len(structure.lines):
        _, repeats = np.unique(np.frombuffer(structure.answers, np.int64), return_counts=True)
        report.distinct_answer_count = len(repeats)
        report.majority_answer_share = int(repeats.max()) / count
        report.json_answer_share = structure.json_count / count


def _add_tokens(
    report: dataset_pb2.DatasetReport, structure: Structure, sample: Sample, tokenizer_model: str
) -> None:
    """Add the counts where rows were counted, scaled to all rows, else the estimates."""
    count = len(structure.lines)
    if not count:
        return
    tokens = np.frombuffer(structure.tokens, np.uint32)
    prompt, answer = structure.prompt_token_count / count, structure.answer_token_count / count
    rejected = structure.rejected_token_count / count
    longest_answer = structure.max_answer_token_count
    if sample.counts:
        report.tokenizer_model = tokenizer_model
        counted = list(sample.counts.values())
        tokens = np.array([each.token_count for each in counted], np.uint32)
        prompt = sum(each.prompt_token_count for each in counted) / len(counted)
        answer = sum(each.answer_token_count for each in counted) / len(counted)
        rejected = sum(each.rejected_token_count for each in counted) / len(counted)
        longest_answer = max(each.answer_token_count for each in counted)
    report.total_token_count = round(float(tokens.mean(dtype=np.float64)) * count)
    ordered = np.sort(tokens)
    for percentile in PERCENTILES:
        place = max(0, -(-percentile * len(ordered) // 100) - 1)
        report.token_percentiles.add(percentile=percentile, count=int(ordered[place]))
    report.median_token_count = int(ordered[(len(ordered) - 1) // 2])
    report.max_token_count = int(ordered[-1])
    report.max_answer_token_count = longest_answer
    report.mean_prompt_token_count = prompt
    report.mean_answer_token_count = answer
    report.mean_rejected_token_count = rejected


def _add_statistics(
    report: dataset_pb2.DatasetReport, views: Sequence[RowView], holdout: Sequence[RowView]
) -> None:
    report.sampled_row_count = len(views)
    scale = report.valid_row_count / len(views) if report.valid_row_count > len(views) else 1.0
    for label, count in labels.labels(views)[:LABELS_MAX]:
        report.labels.add(label=label[:LABEL_CHARACTERS_MAX], count=round(count * scale))
    for code, share in language.shares(views)[:LANGUAGES_MAX]:
        report.languages.add(language=code, share=share)
    if holdout:
        least = split.minimum_detectable_difference(len(holdout))
        report.minimum_detectable_difference = least
    report.sample_rows.extend(preview.sample_rows(views))


def _scaled(count: int, structure: Structure, sample: Sample) -> int:
    """Return a count in the sample as one in all rows."""
    return round(count * len(structure.lines) / len(sample.views)) if count else 0


def _line(finding: Finding) -> int:
    return finding.line
