"""Reads the rows of a dataset's file in pieces, so that memory does not grow with the file."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from services.common.errors import ResourceExhausted, Violation
from services.planner.dataset.report import ROWS_MAX
from services.planner.dataset.rows import LINE_BYTES_MAX, Row, check_line

PIECE_ROWS_MAX = 1000
PIECE_BYTES = 1024 * 1024
"""A piece ends above this, so it holds less than this and one more line: at most 2 MiB."""


@dataclass
class Piece:
    """Some lines of a file, in order."""

    rows: list[Row] = field(default_factory=list)
    """Those that keep every rule."""
    violations: list[Violation] = field(default_factory=list)
    """What the others break."""
    size_bytes: int = 0
    """Of the rows' text."""


def read_pieces(path: Path) -> Iterator[Piece]:
    """Yield a file's lines in pieces of at most 1,000 lines and 2 MiB.

    Args:
        path: A JSONL file.

    Raises:
        ResourceExhausted: If it has more than 1,000,000 lines.
    """
    with path.open("rb") as file:
        piece, count = Piece(), 0
        for line_number, line in enumerate(_lines(file), 1):
            if line_number > ROWS_MAX:
                raise ResourceExhausted(
                    f"More than {ROWS_MAX:,} rows. Upload fewer.",
                    reason="TOO_MANY_ROWS",
                    max_rows=str(ROWS_MAX),
                )
            checked = check_line(line, line_number)
            if isinstance(checked, Row):
                piece.rows.append(checked)
                piece.size_bytes += len(line)
            else:
                piece.violations.extend(checked)
            count += 1
            if count == PIECE_ROWS_MAX or piece.size_bytes > PIECE_BYTES:
                yield piece
                piece, count = Piece(), 0
        if count:
            yield piece


def read_digests(path: Path) -> array[int]:
    """Return the digests of all rows of a file that was checked before."""
    return array("Q", (row.digest for piece in read_pieces(path) for row in piece.rows))


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield lines without their ends, each cut off after 1 MiB and one byte."""
    while line := file.readline(LINE_BYTES_MAX + 2):
        whole = line
        while not whole.endswith(b"\n"):
            whole = file.readline(LINE_BYTES_MAX)
            if not whole:
                break
        yield line.removesuffix(b"\n").removesuffix(b"\r")
