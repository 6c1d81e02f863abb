"""The first pass over a file: each row against its rules, and a few numbers of each row kept.

Memory grows by 24 bytes for each row and by nothing else.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from services.planner.dataset import shapes
from services.planner.dataset.file import WORDS_OF_LOOK, BadFile, FileFormat, Record
from services.planner.dataset.file_rows import DECODED_BYTES_MAX, read_records
from services.planner.dataset.findings import (
    ERROR,
    WARNING,
    WHOLE_FILE,
    Finding,
    Severity,
    found,
)
from services.planner.dataset.rows import check_row, has_calls, view_of
from services.planner.dataset.shapes import Form

FINDINGS_MAX = 1000
"""Findings that are kept; beyond them codes are only counted."""
ROWS_MIN = 10
"""Fewest rows of a file (OpenAI's fine-tuning guide)."""
FORM_ROWS = 200
FORM_BYTES = 4 * 1024 * 1024
"""First rows that tell a file's form, whichever bound comes first."""
CHARACTERS_PER_TOKEN = 4
"""Of English text (OpenAI's rule of thumb); for estimates."""
MESSAGE_TOKENS = 4
"""What a chat template adds around a message; for estimates."""
LONG_ROW_TOKENS = 2048
"""Estimate above which a row's prompt is remembered: an estimate may be wrong by half."""
PROGRESS_ROWS = 1000
JSON_STARTS = ("{", " ", "\n", "\t", "\r")
"""What the text of a JSON object may start with; told quickly for millions of answers."""
LINES_SHOWN = 10
"""Lines that one finding about the file names."""
REPEAT_PARTS = 16
"""Parts in which equal rows are looked for, one after the other."""


class Estimate(NamedTuple):
    """Tokens of one row; a tuple, for there are millions."""

    prompt: int
    """Before its answer."""
    answer: int
    """Of the answer, the preferred one in pairs."""
    rejected: int = 0
    """Of the rejected answer."""


@dataclass
class Structure:
    """What the first pass gathers."""

    form: Form | None = None
    """The file's; None if no row has a known one."""
    row_count: int = 0
    """Rows, bad ones included."""
    findings: list[Finding] = field(default_factory=list)
    """The first 1,000 of the pass, by line."""
    repeats: list[Finding] = field(default_factory=list)
    """The first 1,000 rows that equal an earlier one."""
    counts: Counter[tuple[str, Severity.ValueType]] = field(default_factory=Counter)
    """All findings by code and severity."""
    bad_row_count: int = 0
    """Rows with an error."""
    lines: array[int] = field(default_factory=lambda: array("I"))
    """Of the rows without an error; the arrays below go with it."""
    digests: array[int] = field(default_factory=lambda: array("q"))
    """64 bits that are equal for equal rows, within one process."""
    answers: array[int] = field(default_factory=lambda: array("q"))
    """64 bits that are equal for equal answers, within one process."""
    tokens: array[int] = field(default_factory=lambda: array("I"))
    """Estimates."""
    long_rows: dict[int, Estimate] = field(default_factory=dict)
    """Rows that may be too long, by line."""
    prompt_token_count: int = 0
    answer_token_count: int = 0
    rejected_token_count: int = 0
    max_answer_token_count: int = 0
    json_count: int = 0
    """Answers that are JSON objects."""
    byte_count: int = 0
    """Of the rows without an error, where rows have bytes."""
    has_calls: bool = False
    """Whether a row calls tools."""

    @property
    def shape(self) -> str:
        """The shape of the file as a report names it."""
        if self.form is None:
            return shapes.UNKNOWN
        if any(code == "mixed_shapes" for code, _ in self.counts):
            return shapes.MIXED
        if self.form.shape == shapes.CHAT and self.has_calls:
            return shapes.TOOL_CALLS
        return self.form.shape

    def add(self, findings: Iterable[Finding]) -> None:
        """Count findings and keep them while there is room."""
        for finding in findings:
            self.counts[finding.code, finding.severity] += 1
            if len(self.findings) < FINDINGS_MAX:
                self.findings.append(finding)

    def count(self, code: str) -> int:
        """Return how often a code was found."""
        return sum(count for (known, _), count in self.counts.items() if known == code)


def read_structure(
    path: Path,
    file_format: FileFormat,
    bytes_max: int = DECODED_BYTES_MAX,
    progress: Callable[[float], None] = lambda share: None,
) -> Structure:
    """Return what a file's rows are like, each checked; never raises for what stands in it.

    Args:
        path: The file as it was uploaded.
        file_format: How to read it.
        bytes_max: Decompressed bytes after which it is refused.
        progress: Told the share of the file that is read, in [0, 1].
    """
    made = Structure()
    records = read_records(path, file_format, bytes_max)
    first, end = _first(records)
    made.form = shapes.choose_form(record.body for record, _ in first if not record.findings)
    try:
        for index, (record, share) in enumerate(chain(first, records)):
            _take(made, record)
            if index % PROGRESS_ROWS == 0:
                progress(share)
    except BadFile as bad:
        end = bad
    if end is not None:
        made.add([end.finding])
        return made
    _join_encoding(made)
    if made.row_count == 0:
        made.findings, made.counts = [], Counter()
        made.add([found("empty_file", WHOLE_FILE, WORDS_OF_LOOK["empty"])])
    elif made.row_count < ROWS_MIN:
        made.add([found("too_few_rows", WHOLE_FILE, f"The file has {made.row_count} rows.")])
    _find_repeats(made)
    return made


def estimate(body: Mapping[str, Any], form: Form) -> tuple[Estimate, str]:
    """Return a row's tokens at four characters each, and its answer.

    Args:
        body: An object in which `check_row` found no error.
        form: That of the file.
    """
    view = view_of(body, form, 0)
    size = len(view.prompt) + len(view.system)
    if body.get("tools"):
        size += len(json.dumps(body["tools"]))
    learns = form.answer or form is shapes.CHAT_FORM
    return _tokens(size, view.answer if learns else "", view.rejected, 2), view.answer


def is_json_object(answer: str) -> bool:
    """Return whether an answer is a JSON object."""
    if not answer.startswith(JSON_STARTS) or not answer.lstrip().startswith("{"):
        return False
    try:
        return isinstance(json.loads(answer), dict)
    except (ValueError, RecursionError):
        return False


def _tokens(prompt_size: int, answer: str, rejected: str, messages: int) -> Estimate:
    return Estimate(
        -(-prompt_size // CHARACTERS_PER_TOKEN) + (messages - 1) * MESSAGE_TOKENS,
        -(-len(answer) // CHARACTERS_PER_TOKEN) + MESSAGE_TOKENS if answer else 0,
        -(-len(rejected) // CHARACTERS_PER_TOKEN) + MESSAGE_TOKENS if rejected else 0,
    )


def _first(
    records: Iterator[tuple[Record, float]],
) -> tuple[list[tuple[Record, float]], BadFile | None]:
    """Return the records that tell the form, and what ends the file within them, if it does."""
    first, size = [], 0
    try:
        for record, share in records:
            first.append((record, share))
            size += len(record.raw)
            if len(first) == FORM_ROWS or size > FORM_BYTES:
                break
    except BadFile as bad:
        return first, bad
    return first, None


def _take(made: Structure, record: Record) -> None:
    if not record.raw:
        made.add(record.findings)
        return
    made.row_count += 1
    findings = record.findings or check_row(record.body, made.form, record.line)
    if findings:
        made.add(findings)
        if any(finding.severity == ERROR for finding in findings):
            made.bad_row_count += 1
            return
    assert made.form is not None
    body = record.body
    texts = _plain_texts(body) if made.form is shapes.CHAT_FORM else None
    if texts is not None:
        answer = texts[-1]
        size = sum(map(len, texts[1::2])) - len(answer)
        tokens = _tokens(size, answer, "", len(texts) // 2)
        row_digest = hash(tuple(texts))
    else:
        tokens, answer = estimate(body, made.form)
        row_digest = hash(json.dumps(body, sort_keys=True, default=str))
    made.lines.append(record.line)
    made.digests.append(row_digest)
    made.answers.append(hash(answer))
    made.tokens.append(min(tokens.prompt + max(tokens.answer, tokens.rejected), 2**32 - 1))
    made.prompt_token_count += tokens.prompt
    made.answer_token_count += tokens.answer
    made.rejected_token_count += tokens.rejected
    made.max_answer_token_count = max(made.max_answer_token_count, tokens.answer)
    made.json_count += is_json_object(answer)
    made.byte_count += len(record.raw)
    if made.tokens[-1] > LONG_ROW_TOKENS:
        made.long_rows[record.line] = tokens
    if made.form is shapes.CHAT_FORM and not made.has_calls:
        made.has_calls = has_calls(body)


def _plain_texts(body: Mapping[str, Any]) -> list[str] | None:
    """Return roles and contents of a chat that has nothing else; its equals give the same."""
    if len(body) != 1:
        return None
    texts = list[str]()
    for message in body["messages"]:
        content = message.get("content")
        if len(message) != 2 or type(content) is not str:
            return None
        texts += (message["role"], content)
    return texts


def _join_encoding(made: Structure) -> None:
    """Say once that the file is in another encoding, where more than one line shows it."""
    key = ("encoding_not_utf8", ERROR)
    if made.counts[key] < 2:
        return
    lines = [each.line for each in made.findings if each.code == key[0]]
    made.findings = [each for each in made.findings if each.code != key[0]]
    shown = ", ".join(f"{line:,}" for line in lines[:LINES_SHOWN])
    more = made.counts[key] - len(lines[:LINES_SHOWN])
    text = f"Lines {shown}{f' and {more:,} more' if more else ''} hold bytes that are not UTF-8."
    made.counts[key] = 1
    made.findings.insert(0, found(key[0], WHOLE_FILE, f"{text} Latin-1 is the usual reason."))


def _find_repeats(made: Structure) -> None:
    """Find each row that equals an earlier one, part by part to save memory."""
    digests = np.frombuffer(made.digests, dtype=np.int64)
    parts = digests.view(np.uint8)[::8] % REPEAT_PARTS
    later = []
    for part in range(REPEAT_PARTS):
        places = np.flatnonzero(parts == part).astype(np.uint32)
        values = digests[places]
        order = np.argsort(values, kind="stable")
        values = values[order]
        later.append(places[order[1:][values[1:] == values[:-1]]])
    found_places = np.sort(np.concatenate(later))
    if count := len(found_places):
        made.counts["duplicate_row", WARNING] += count
    for place in found_places[:FINDINGS_MAX].tolist():
        line = made.lines[place]
        made.repeats.append(found("duplicate_row", line, "An earlier row is the same."))
