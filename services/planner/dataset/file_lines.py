"""Rows of a JSONL file, one per physical line; a line ends at LF and nowhere else."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import BinaryIO

from services.planner.dataset.file import ROW_BYTES_MAX, UTF8_MARK, Record
from services.planner.dataset.findings import WHOLE_FILE, found
from services.planner.dataset.rows_json import parse

SKIP_BYTES = 1024 * 1024
"""Piece in which the rest of a line that is too long is passed over."""


def read_lines(stream: BinaryIO, lines: Container[int] | None = None) -> Iterator[Record]:
    """Yield one record per line that is not blank, and findings about the others.

    A record without body and with findings only may stand for a blank line, a mark or line ends.

    Args:
        stream: Positioned at the start of the file.
        lines: Lines that are wanted; all when left out.
    """
    number, returns = 0, False
    while line := stream.readline(ROW_BYTES_MAX + 3):
        number += 1
        if not line.endswith(b"\n") and len(line) > ROW_BYTES_MAX + 2:
            _skip_line(stream)
        complete = line.endswith(b"\n")
        if number == 1 and line.startswith(UTF8_MARK):
            line = line.removeprefix(UTF8_MARK)
            text = "The file starts with the bytes EF BB BF."
            yield Record(1, None, (found("bom", 1, text),))
        if line.endswith(b"\r\n"):
            line = line[:-2]
            if not returns:
                returns = True
                text = f"Line {number} and perhaps others end with CR LF."
                yield Record(WHOLE_FILE, None, (found("crlf_line_endings", WHOLE_FILE, text),))
        elif complete:
            line = line[:-1]
        if lines is None or number in lines:
            yield _record(line, number, complete)


def _record(line: bytes, number: int, complete: bool) -> Record:
    if len(line) > ROW_BYTES_MAX:
        text = f"More than {ROW_BYTES_MAX:,} bytes."
        return Record(number, None, (found("line_too_long", number, text),), line[:1])
    if not line.strip():
        return Record(number, None, (found("blank_line", number, "The line is blank."),))
    body, findings = parse(line, number, breaks_off=not complete)
    return Record(number, body, tuple(findings), line)


def _skip_line(stream: BinaryIO) -> None:
    while piece := stream.readline(SKIP_BYTES):
        if piece.endswith(b"\n"):
            return
