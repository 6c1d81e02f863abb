"""Writes the rows of a valid file as the trainer reads them: one JSON object per line."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from services.common.artefacts import MANIFEST, read_manifest, sync, write_manifest
from services.planner.dataset import shapes
from services.planner.dataset.file import UTF8_MARK, FileFormat
from services.planner.dataset.file_rows import read_records
from services.planner.dataset.rows import messages_of
from services.planner.dataset.shapes import Form


def write_rows(original: Path, rows: Path, sha256: str, form: Form, source: FileFormat) -> None:
    """Write the rows beside the upload; the same bytes where those are such rows already.

    Args:
        original: The file as it was uploaded, without errors.
        rows: Where the rows go, in the same folder.
        sha256: Of the original, for the manifest that ties other rows to it.
        form: Of the file.
        source: How to read it.
    """
    facts: dict[str, str | int] = {"source_sha256": sha256, "file_format": str(source)}
    as_they_are = str(source) == "jsonl" and form.shape != shapes.PAIR and not _has_mark(original)
    if rows.exists() and read_manifest(rows.parent) == (None if as_they_are else facts):
        return  # A run may be reading them.
    staged = rows.with_name(f".{rows.name}.tmp")
    staged.unlink(missing_ok=True)
    if as_they_are:
        try:
            os.link(original, staged)
        except OSError:  # Not every disk has links.
            shutil.copyfile(original, staged)
    else:
        with staged.open("w", encoding="utf-8") as file:
            for record, _ in read_records(original, source):
                if record.raw:
                    row = messages_of(record.body, form) or record.body
                    file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
        sync(staged)
    rows.with_name(MANIFEST).unlink(missing_ok=True)
    staged.rename(rows)
    staged.unlink(missing_ok=True)  # A rename onto another link to the same file does nothing.
    if not as_they_are:
        write_manifest(rows.parent, facts)


def _has_mark(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(UTF8_MARK)) == UTF8_MARK
