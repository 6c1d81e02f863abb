"""Rows of a CSV file: the first line names the columns, each further record is a row."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from services.planner.dataset.file import (
    ROW_BYTES_MAX,
    UTF8_MARK,
    Record,
    bad_file,
    delimiter_of,
)
from services.planner.dataset.findings import WHOLE_FILE, Finding, found
from services.planner.dataset.rows_json import parse
from services.planner.dataset.shapes import COLUMNS, JSON_COLUMNS, MESSAGE_COLUMNS


def read_table(stream: BinaryIO) -> Iterator[Record]:
    """Yield one record per row; its line is the physical line on which it starts.

    Args:
        stream: Positioned at the start of the file.

    Raises:
        BadFile: If there is no header, or the quotes are so broken that rows cannot be told apart.
    """
    start = stream.readline(ROW_BYTES_MAX)
    if start.startswith(UTF8_MARK):
        start = start.removeprefix(UTF8_MARK)
        yield Record(1, None, (found("bom", 1, "The file starts with the bytes EF BB BF."),))
    csv.field_size_limit(ROW_BYTES_MAX)
    delimiter = delimiter_of(start.decode(errors="replace"))
    rows = csv.reader(_texts(start, stream), delimiter=delimiter, strict=True)
    header = _next(rows) or []
    names = [name.strip().lower() for name in header]
    if not all(names) or len(set(names)) < len(names):
        raise bad_file("bad_header", f"The first line is {str(header)[:200]}.", 1)
    known = [name in COLUMNS for name in names]
    for name, is_known in zip(names, known, strict=True):
        if not is_known:
            yield Record(1, None, (found("unknown_key", 1, f"Column {name!r} is unused.", name),))
    line = rows.line_num + 1
    while (cells := _next(rows)) is not None:
        yield _record(names, known, cells, line)
        line = rows.line_num + 1


def body_of(values: dict[str, Any], line: int) -> tuple[dict[str, Any], list[Finding]]:
    """Return a row of a table as an object: cells that hold JSON decoded, empty ones left out.

    Args:
        values: By column.
        line: For findings.
    """
    body, findings = dict[str, Any](), list[Finding]()
    for name, value in values.items():
        if value is None or (value == "" and name in JSON_COLUMNS):
            continue
        text = value.strip() if isinstance(value, str) else ""
        if name in JSON_COLUMNS and isinstance(value, str):
            value, wrong = parse(text.encode(errors="replace"), line)
            findings += [Finding(**{**vars(each), "field": name}) for each in wrong]
        elif name in MESSAGE_COLUMNS and text.startswith(("[", "{")):
            value = _messages(text, value)
        body[name] = value
    return body, findings


def _messages(text: str, as_text: str) -> Any:
    """Return a cell's messages, or the cell when its brackets are only text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return as_text
    messages = value.get("messages") if isinstance(value, dict) else value
    if isinstance(messages, list) and all(isinstance(e, dict) and "role" in e for e in messages):
        return value
    return as_text


def _record(names: Sequence[str], known: Sequence[bool], cells: list[str], line: int) -> Record:
    if not any(cell.strip() for cell in cells):
        return Record(line, None, (found("blank_line", line, "The line is blank."),))
    raw = b"," * sum(map(len, cells))
    if len(raw) > ROW_BYTES_MAX:
        text = f"More than {ROW_BYTES_MAX:,} characters."
        return Record(line, None, (found("line_too_long", line, text),), b",")
    if len(cells) != len(names):
        text = f"{len(cells)} cells, but the header names {len(names)}."
        return Record(line, None, (found("wrong_cell_count", line, text),), b",")
    if any("\0" in cell for cell in cells):
        return Record(line, None, (found("nul_byte", line, "A cell holds NUL."),), b",")
    columns = zip(names, known, cells, strict=True)
    body, findings = body_of({name: cell for name, is_known, cell in columns if is_known}, line)
    return Record(line, None if findings else body, tuple(findings), b",")


def _next(rows: Any) -> list[str] | None:
    try:
        cells: list[str] | None = next(rows, None)
    except csv.Error as error:
        text = f"The quotes are broken before line {rows.line_num + 1}: {error}."
        raise bad_file("unreadable_file", text, rows.line_num) from None
    return cells


def _texts(start: bytes, stream: BinaryIO) -> Iterator[str]:
    number, line = 1, start
    while line:
        try:
            yield line.decode()
        except UnicodeDecodeError:
            text = f"Line {number} holds bytes that are not UTF-8."
            raise bad_file("encoding_not_utf8", text, number or WHOLE_FILE) from None
        number += 1
        line = stream.readline(ROW_BYTES_MAX)
