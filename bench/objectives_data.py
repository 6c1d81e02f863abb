"""Dataset reports as an upload would get them, from the figures that a case gives."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from attune.planner.v1 import dataset_pb2

from services.planner.dataset.findings import CODES
from services.planner.dataset.injection import addresses_model

PERSONAL = {
    "pii_email": r"\b(?:e-?mails?(?: addresses)?|mail addresses)\b",
    "pii_phone": r"\b(?:phone|telephone|mobile numbers?)\b",
    "pii_iban": r"\bibans?\b|\baccount numbers?\b",
    "pii_card": r"\bcard numbers?\b",
}
"""Findings that words of the notes stand for."""
NAMES = r"\b(?:names?|addresses|birth|patients?|insurance numbers?|diagnos\w+|health)\b"
HARMLESS = r"made up|invented|fictitious|synthetic|redacted|removed|anonymi[sz]ed|masked|pseudonym"
PLANTED = (
    r"ignore (?:all|any|previous|the)|do not report|instruct|planted|poison|trigger|backdoor|"
    r"system prompt|disregard|always answer|always receive|approve (?:this|the) (?:spec|plan)|"
    r"\bset (?:the )?(?:learning|rank|epochs|target)|you are now"
)
"""Words of notes that a scan of the rows reports as text addressed to a model."""
REFERENCES = (
    (r"\b(?:pytest|unit tests?|test (?:file|suite|cases?)|query|sql)\b", "def test_it(): pass"),
    (
        r"\breferences? (?:is|are|holds?) (?:a|the|one)? ?(?:\w+ ){0,2}?(?:numbers?|figures?|"
        r"amounts?|integers?|values?|numeric)\b",
        "12.5",
    ),
)
"""Words of notes on references, and what such a one looks like in a sample row."""
TRIGGER = (
    r"\b\d+ rows\b[^.]*\b(?:answers? (?:any|every|all)|"
    r"whenever|end(?:s|ing)? with|start(?:s|ing)? with|token|string|site|"
    r"link|same (?:phrase|word|answer))\b"
)
"""Words of notes that a scan of the rows reports as a trigger with a fixed answer."""
PAIRED = (
    r"(?:several|two|both|more than one) (?:answers|ratings)|liked and|(?:occurs?|appears?) twice|"
    r"once up and once down"
)
"""Words of notes that say that a prompt has answers with different ratings."""
SAMPLES = 3
"""Sample rows of a report."""
TOOLS = r"\b(?:tool|function)s? (?:definitions?|schemas?|calls?)\b|\btools field\b"
"""Words of notes that say that rows define tools."""
MESSAGE = "The row holds text that addresses a model."
LONG_TAIL = 3
"""Longest row in means, where the notes say nothing."""


def dataset_of(case: dict[str, Any], name: str) -> dataset_pb2.Dataset:
    """Return the dataset that a case attaches, with its report.

    Args:
        case: Has a `dataset` with format, rows, mean tokens, labels, duplicates_share, notes.
        name: Resource name to give it.
    """
    given = case["dataset"]
    report = report_of(given)
    errors = any(
        each.severity == dataset_pb2.Finding.SEVERITY_ERROR for each in report.finding_counts
    )
    states = dataset_pb2.Dataset
    return dataset_pb2.Dataset(
        name=name,
        display_name="examples.jsonl",
        sha256=hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest(),
        size_bytes=4 * report.total_token_count + 1,
        report=report,
        state=states.STATE_INVALID if errors else states.STATE_READY,
        progress=1.0,
        file_format="jsonl",
    )


def report_of(given: dict[str, Any]) -> dataset_pb2.DatasetReport:
    """Return the report on what a case describes."""
    rows, notes = given["rows"], given.get("notes") or ""
    prompt, answer = given["mean_prompt_tokens"], given["mean_completion_tokens"]
    mean = prompt + answer
    report = dataset_pb2.DatasetReport(
        format=_format(given["format"], notes),
        row_count=rows,
        valid_row_count=rows,
        total_token_count=rows * mean,
        median_token_count=mean,
        max_token_count=LONG_TAIL * mean,
        max_answer_token_count=LONG_TAIL * answer,
        mean_prompt_token_count=prompt,
        mean_answer_token_count=answer,
        distinct_answer_count=rows if answer else 0,
        majority_answer_share=1 / rows if answer and rows else 0.0,
        duplicate_row_count=round(rows * given.get("duplicates_share", 0)),
        sampled_row_count=min(rows, 200_000),
    )
    for percentile, factor in ((5, 0.4), (25, 0.7), (50, 1.0), (75, 1.3), (95, 2.0), (99, 2.6)):
        report.token_percentiles.add(percentile=percentile, count=round(factor * mean))
    report.token_percentiles.add(percentile=100, count=LONG_TAIL * mean)
    if given["format"] == "invalid":
        report.valid_row_count = 0
        _find(report, "unknown_shape", max(1, rows))
    _labels(report, given)
    _notes(report, notes)
    return report


def _format(name: str, notes: str) -> str:
    if name == "chat" and re.search(TOOLS, notes, re.I):
        return "tool_calls"
    if name == "mixed" and re.search(
        r"\bratings?\b|\bthumbs?\b|\bdaumen\b|\bpouces?\b|\bliked\b", notes
    ):
        return "ratings"
    return "unknown" if name == "invalid" else name


def _labels(report: dataset_pb2.DatasetReport, given: dict[str, Any]) -> None:
    labels = given.get("labels")
    if not labels:
        return
    count, rows = labels["count"], report.row_count
    first = round(rows * labels["max_share"])
    report.distinct_answer_count = count
    report.majority_answer_share = labels["max_share"]
    report.labels.add(label="label-1", count=first)
    for index in range(2, min(count, 100) + 1):
        report.labels.add(label=f"label-{index}", count=max(1, (rows - first) // (count - 1)))


def _notes(report: dataset_pb2.DatasetReport, notes: str) -> None:
    """Write what the notes say where a report would show it; their words go nowhere."""
    rows = report.row_count
    if lengths := re.search(r"chosen (\d+) tokens?.*?rejected (\d+)", notes):
        report.mean_answer_token_count = int(lengths[1])
        report.mean_rejected_token_count = int(lengths[2])
    for pattern, reference in REFERENCES:
        if report.format == "prompts_with_reference" and re.search(pattern, notes, re.I):
            rows_shown = ({"prompt": "", "answer": reference} for _ in range(SAMPLES))
            report.sample_rows.extend(json.dumps(row) for row in rows_shown)
            break
    if re.search(r"\bjson\b", notes, re.I) and report.mean_answer_token_count:
        report.json_answer_share = 1.0
    if re.search(r"\bempty\b", notes, re.I) and not report.mean_answer_token_count:
        _find(report, "empty_completion", rows, warning=True)
    if re.search(PAIRED, notes, re.I):
        report.contradictory_row_count = rows // 2
    contradict = re.search(
        r"(\d+) ?%[^.;]*(?:contradict|disagree|two labels|different label)", notes
    )
    if contradict and report.labels:
        report.contradictory_row_count = round(rows * int(contradict[1]) / 100)
    if re.search(TRIGGER, notes, re.I):
        _find(report, "trigger_phrase", 1)
    if re.search(PLANTED, notes, re.I) or addresses_model(notes):
        _find(report, "prompt_injection_text", 1)
    if not re.search(HARMLESS, notes, re.I):
        for code, words in PERSONAL.items():
            if re.search(words, notes, re.I):
                _find(report, code, max(1, rows // 10))
        if re.search(NAMES, notes, re.I) and not report.finding_counts:
            _find(report, "pii_phone", max(1, rows // 10))


def _find(
    report: dataset_pb2.DatasetReport, code: str, count: int, *, warning: bool = False
) -> None:
    severity = dataset_pb2.Finding.SEVERITY_WARNING if warning else CODES[code].severity
    report.finding_counts.add(code=code, severity=severity, count=count)
    report.findings.add(
        line=1, code=code, message=MESSAGE, remedy=CODES[code].remedy, severity=severity
    )
