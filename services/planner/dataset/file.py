"""A dataset's file: which reader its name or its owner asks for, and what its content looks like.

Every reader yields records one by one in constant memory; what is wrong with the whole file ends
the reading with `BadFile`.
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from services.planner.dataset.findings import WHOLE_FILE, Finding, found

KINDS = ("jsonl", "csv", "json", "parquet")
COMPRESSIONS = ("gz", "zst")
FORMATS = tuple(f"{kind}{end}" for kind in KINDS for end in ("", ".gz", ".zst"))
ENDINGS = {"ndjson": "jsonl", "pq": "parquet", "zstd": "zst", "gzip": "gz"}
"""Other endings of the same formats."""
ROW_BYTES_MAX = 1_000_000
"""Longest line, or row where there are no lines, in bytes."""
LOOK_BYTES = 64 * 1024
"""Start of a file that tells what it looks like."""
LOOK_LINES = 5
CELLS_MIN = 2
NAME_CHARACTERS_MAX = 64
"""Longest cell of a first line that still passes for a table's header."""
MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"PAR1": "parquet", b"PK\x03\x04": "zip"}
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
UTF8_MARK = b"\xef\xbb\xbf"
HTML = re.compile(rb"\s*<(!doctype html|html|head|body|\?xml[^>]*>\s*<html)", re.IGNORECASE)
CONTROL = bytes(set(range(1, 32)) - {9, 10, 12, 13})
CODE_OF_LOOK = {
    "empty": "empty_file",
    "gzip": "looks_like_gzip",
    "zstd": "looks_like_zstd",
    "parquet": "looks_like_parquet",
    "html": "looks_like_html",
    "utf16": "encoding_not_utf8",
    "jsonl": "looks_like_jsonl",
    "json": "json_array_not_lines",
    "csv": "looks_like_csv",
}
WORDS_OF_LOOK = {
    "empty": "The file holds nothing, or only blanks.",
    "gzip": "It starts with the bytes of gzip.",
    "zstd": "It starts with the bytes of zstd.",
    "parquet": "It starts with the bytes of Parquet.",
    "html": "It starts with the tags of an HTML page.",
    "utf16": "It is encoded as UTF-16 or UTF-32.",
    "jsonl": "It starts with a JSON object.",
    "json": "It starts with a JSON array.",
    "csv": "Its first lines are cells between commas, semicolons or tabs.",
    "zip": "It is a ZIP archive (Excel files are ones).",
    "binary": "It holds bytes that no text has.",
    "text": "It is text of another kind.",
}


@dataclass(frozen=True)
class FileFormat:
    """How a file is to be read."""

    kind: str
    """One of KINDS."""
    compression: str = ""
    """`gz`, `zst`, or empty."""

    def __str__(self) -> str:
        """Return it as the API names it, such as `csv.gz`."""
        return f"{self.kind}.{self.compression}" if self.compression else self.kind


class Record(NamedTuple):
    """One row as a reader found it; a tuple, for there are millions."""

    line: int
    """Physical line where it starts, from 1; row number in JSON arrays and Parquet."""
    body: Any
    """Its JSON value; None when it could not be read, and then there is a finding."""
    findings: tuple[Finding, ...] = ()
    """What is wrong with the line itself."""
    raw: bytes = b""
    """Its bytes without the line's end; empty where rows are no JSON text."""


class BadFile(Exception):
    """Nothing more of the file can be read, for a reason that is a finding."""

    def __init__(self, finding: Finding) -> None:
        """Keep the finding."""
        super().__init__(finding.message)
        self.finding = finding


def read_format(display_name: str, file_format: str) -> FileFormat | None:
    """Return the format that is asked for, else that of the name's ending, JSONL when it has none.

    Args:
        display_name: The file's name.
        file_format: One of FORMATS, or empty.

    Returns:
        None if `file_format` is no format.
    """
    if file_format:
        kind, _, compression = file_format.partition(".")
        return FileFormat(kind, compression) if file_format in FORMATS else None
    ends = [ENDINGS.get(end, end) for end in display_name.lower().split(".")[1:]]
    compression = ends.pop() if ends and ends[-1] in COMPRESSIONS else ""
    kind = ends[-1] if ends and ends[-1] in KINDS else "jsonl"
    return FileFormat(kind, compression)


def bad_file(code: str, message: str, line: int = WHOLE_FILE) -> BadFile:
    """Return what ends the reading of a file."""
    return BadFile(found(code, line, message))


def check_look(start: bytes, kind: str) -> None:
    """Refuse content that is plainly of another kind than the one that is read.

    Args:
        start: First bytes, decompressed, at most LOOK_BYTES of them.
        kind: One of KINDS, or a compression for bytes that are not decompressed yet.

    Raises:
        BadFile: With the code of what it looks like.
    """
    look = look_of(start)
    wanted = {"gz": "gzip", "zst": "zstd"}.get(kind, kind)
    if look == wanted or (look == "text" and kind in ("jsonl", "csv")):
        return
    if look == "csv" and kind == "json":
        raise bad_file("looks_like_csv", WORDS_OF_LOOK[look])
    code = CODE_OF_LOOK.get(look, "unreadable_file")
    raise bad_file(code, f"{WORDS_OF_LOOK[look]} It was to be read as {kind}.")


def look_of(start: bytes) -> str:
    """Return what a file's first bytes look like: a key of WORDS_OF_LOOK."""
    for magic, name in MAGIC.items():
        if start.startswith(magic):
            return name
    if start.startswith(UTF16_MARKS) or start.count(0) * 5 > len(start) > 1:
        return "utf16"
    text = start.removeprefix(UTF8_MARK).strip()
    if not text:
        return "empty"
    if HTML.match(text):
        return "html"
    if len(text) - len(text.translate(None, CONTROL)) > len(text) // 20:
        return "binary"
    if text.startswith(b"{"):
        return "jsonl"
    if text.startswith(b"["):
        return "json" if _is_one_array(text) else "jsonl"
    return "csv" if _is_table(text.decode(errors="replace")) else "text"


def _is_one_array(text: bytes) -> bool:
    """Tell an array over the whole file from rows that are lists by mistake."""
    first, _, rest = text.partition(b"\n")
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return text[1:].lstrip()[:1] in (b"{", b"[", b"]", b'"', b"")
    return not rest.strip()


def _is_table(text: str) -> bool:
    lines = [line for line in text.split("\n") if line.strip()][:LOOK_LINES]
    if any(_is_json(line) or line.lstrip().startswith("{") for line in lines):
        return False
    delimiter = delimiter_of(lines[0])
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))[:2]
    except csv.Error:
        return False
    names = rows[0]
    return (
        len(names) >= CELLS_MIN
        and all(0 < len(name.strip()) <= NAME_CHARACTERS_MAX for name in names)
        and len(rows[-1]) == len(names)
    )


def delimiter_of(header: str) -> str:
    """Return the sign that parts most cells of a table's first line."""
    return max(",;\t", key=header.count)


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
