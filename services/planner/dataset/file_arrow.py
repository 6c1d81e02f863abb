"""What pyarrow reads for us: Parquet files, and the bytes inside gzip and zstd."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow
from pyarrow import parquet

from services.planner.dataset.file import Record, bad_file
from services.planner.dataset.file_table import body_of
from services.planner.dataset.findings import found
from services.planner.dataset.shapes import COLUMNS

BATCH_ROWS = 256
CODECS = {"gz": "gzip", "zst": "zstd"}
BUFFER_BYTES = 64 * 1024
"""Read ahead; what a file looks like is told from it."""


def decompressed(file: BinaryIO, compression: str, bytes_max: int) -> BinaryIO:
    """Return the bytes inside a compressed file as a stream that can be read by lines.

    Args:
        file: Positioned at its start.
        compression: `gz` or `zst`.
        bytes_max: Bytes after which reading ends with BadFile: a small file can hold a very
            large one.
    """
    inner = pyarrow.CompressedInputStream(pyarrow.PythonFile(file, "r"), CODECS[compression])
    return io.BufferedReader(_Bounded(inner, bytes_max), BUFFER_BYTES)


def read_parquet(path: Path, bytes_max: int) -> Iterator[tuple[Record, float]]:
    """Yield one record per row with the share of rows that is read; lines are row numbers.

    Args:
        path: The file.
        bytes_max: Bytes after which reading ends with BadFile.

    Raises:
        BadFile: If it cannot be read, or grows too large.
    """
    try:
        table = parquet.ParquetFile(path)
        names = [name.lower() for name in table.schema_arrow.names]
        row_count = table.metadata.num_rows
        for name in names:
            if name not in COLUMNS:
                text = f"Column {name!r} is unused."
                yield Record(1, None, (found("unknown_key", 1, text, name),)), 0.0
        number = size = 0
        for batch in table.iter_batches(batch_size=BATCH_ROWS):
            size += batch.nbytes
            if size > bytes_max:
                raise too_large(bytes_max)
            for row in batch.to_pylist():
                number += 1
                yield _record(row, number), number / row_count
    except (pyarrow.ArrowException, OSError) as error:
        raise bad_file("unreadable_file", f"Parquet cannot be read: {str(error)[:200]}") from None


def too_large(bytes_max: int) -> Exception:
    """Return the end of a file that is larger inside than is taken."""
    return bad_file("decoded_too_large", f"It holds more than {bytes_max:,} bytes.")


def _record(row: dict[str, Any], number: int) -> Record:
    values = {name.lower(): value for name, value in row.items() if name.lower() in COLUMNS}
    body, findings = body_of({name: _plain(value) for name, value in values.items()}, number)
    return Record(number, None if findings else body, tuple(findings), b",")


def _plain(value: Any) -> Any:
    """Return a value without the nulls that stand for keys which a row did not have."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


class _Bounded(io.RawIOBase):
    """A stream that ends with BadFile when it gives too much or is broken."""

    def __init__(self, inner: Any, bytes_max: int) -> None:
        self._inner = inner
        self._left = bytes_max
        self._bytes_max = bytes_max

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer and return how many bytes there were; 0 at the end."""
        try:
            piece = self._inner.read(len(buffer))
        except (pyarrow.ArrowException, OSError) as error:
            text = f"It cannot be decompressed: {str(error)[:200]}"
            raise bad_file("unreadable_file", text) from None
        self._left -= len(piece)
        if self._left < 0:
            raise too_large(self._bytes_max)
        buffer[: len(piece)] = piece
        return len(piece)
