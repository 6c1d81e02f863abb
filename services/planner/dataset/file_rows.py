"""Opens a dataset's file with the reader that fits its format."""

from __future__ import annotations

import io
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from services.planner.dataset.file import (
    LOOK_BYTES,
    WORDS_OF_LOOK,
    FileFormat,
    Record,
    bad_file,
    check_look,
)
from services.planner.dataset.file_array import read_array
from services.planner.dataset.file_lines import read_lines
from services.planner.dataset.file_table import read_table

DECODED_BYTES_MAX = 16 * 1024**3
"""Most that a compressed file may hold, unless a setting says otherwise."""

SHARE_ROWS = 500
"""Rows between two looks at how far the file is read."""


def read_records(
    path: Path,
    file_format: FileFormat,
    bytes_max: int = DECODED_BYTES_MAX,
    lines: Container[int] | None = None,
) -> Iterator[tuple[Record, float]]:
    """Yield a file's records in order, each with the share of the file that is read, in [0, 1].

    Args:
        path: The file as it was uploaded.
        file_format: How to read it.
        bytes_max: Decompressed bytes after which it is refused.
        lines: Lines that are wanted; all when left out. Readers may give more.

    Raises:
        BadFile: If the rest cannot be read, with the finding that says why.
    """
    if path.stat().st_size == 0:
        raise bad_file("empty_file", WORDS_OF_LOOK["empty"])
    if file_format.kind == "parquet":
        yield from _read_parquet(path, file_format, bytes_max)
        return
    with path.open("rb") as file:
        size = path.stat().st_size
        with _opened(file, file_format, bytes_max) as stream:
            check_look(_peek(stream), file_format.kind)
            if file_format.kind == "jsonl":
                records = read_lines(stream, lines)
            elif file_format.kind == "csv":
                records = read_table(stream)
            else:
                records = read_array(stream)
            share = 0.0
            for index, record in enumerate(records):
                if index % SHARE_ROWS == 0:
                    share = file.tell() / size
                yield record, share


def _read_parquet(
    path: Path, file_format: FileFormat, bytes_max: int
) -> Iterator[tuple[Record, float]]:
    # pyarrow costs tens of MiB and a second: only who needs it loads it.
    from services.planner.dataset.file_arrow import read_parquet

    if file_format.compression:
        text = "Parquet files are compressed inside; a second compression is not taken."
        raise bad_file("unreadable_file", text)
    with path.open("rb") as file:
        check_look(file.read(LOOK_BYTES), "parquet")
    yield from read_parquet(path, bytes_max)


@contextmanager
def _opened(file: BinaryIO, file_format: FileFormat, bytes_max: int) -> Iterator[BinaryIO]:
    if not file_format.compression:
        yield file
        return
    from services.planner.dataset.file_arrow import decompressed

    check_look(_peek(file), file_format.compression)
    with decompressed(file, file_format.compression, bytes_max) as stream:
        yield stream


def _peek(stream: BinaryIO) -> bytes:
    """Return the first bytes without taking them."""
    assert isinstance(stream, io.BufferedReader)
    if stream.seekable():
        start = stream.read(LOOK_BYTES)
        stream.seek(0)
        return start
    return stream.peek(LOOK_BYTES)[:LOOK_BYTES]
