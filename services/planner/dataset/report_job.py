"""What a report is made of, and how the planner and the process that makes it speak.

Both write frames: a letter that says what follows, four bytes with its length, and that many bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from services.planner.dataset.file import FileFormat, read_format
from services.planner.dataset.report import TokenCount

HEAD = struct.Struct("!cI")
"""Letter and length in front of a frame's bytes."""


class Letter(bytes, Enum):
    """What a frame holds."""

    JOB = b"j"
    """To the process, first and once: a `Job`."""
    PROGRESS = b"p"
    """From it: the share that is done, in [0, 1], as text."""
    ROWS = b"r"
    """From it: a JSON list of rows whose tokens it asks for; a `COUNTS` answers it."""
    COUNTS = b"c"
    """To it: the `Counts` of those rows."""
    REPORT = b"d"
    """From it, last: the DatasetReport; the rows are written by then."""
    FAULT = b"f"
    """From it, last: the trace of a fault of ours, for the log."""


@dataclass(frozen=True)
class FileToRead:
    """A dataset's file."""

    path: Path
    """Where it lies, as it was uploaded."""
    file_format: str
    """How to read it, one of `file.FORMATS`."""

    @property
    def format(self) -> FileFormat:
        """How to read it."""
        file_format = read_format("", self.file_format)
        assert file_format is not None
        return file_format


@dataclass(frozen=True)
class Job:
    """A report to make."""

    file: FileToRead
    """The dataset's."""
    sha256: str
    """Of that file."""
    rows: Path
    """Where its rows go when nothing is wrong with them."""
    bytes_max: int
    """Decompressed bytes after which a file is refused."""
    holdout: FileToRead | None = None
    """The hold-out's, if the dataset has one."""
    previous: FileToRead | None = None
    """That of the dataset which this one corrects, if it does."""

    def to_bytes(self) -> bytes:
        """Return it as a frame's bytes."""
        return json.dumps(asdict(self), default=str).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> Job:
        """Return what `to_bytes` wrote."""
        fields = json.loads(body)
        for name in ("file", "holdout", "previous"):
            fields[name] = _file(fields[name])
        return cls(**{**fields, "rows": Path(fields["rows"])})


@dataclass(frozen=True)
class Counts:
    """Tokens of rows."""

    model: str = ""
    """Base model whose tokenizer counted; empty when none can, so that nobody asks again."""
    counts: Sequence[TokenCount] = ()
    """In the order of the rows."""

    def to_bytes(self) -> bytes:
        """Return it as a frame's bytes."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> Counts:
        """Return what `to_bytes` wrote."""
        fields = json.loads(body)
        return cls(fields["model"], [TokenCount(**each) for each in fields["counts"]])


def frame(letter: Letter, body: bytes) -> bytes:
    """Return the bytes of a frame."""
    return HEAD.pack(letter.value, len(body)) + body


def _file(fields: Mapping[str, Any] | None) -> FileToRead | None:
    return FileToRead(Path(fields["path"]), fields["file_format"]) if fields else None
