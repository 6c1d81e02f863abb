"""Shows what training will really see of some rows of a dataset."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from attune.planner.v1 import dataset_pb2

from services.common.artefacts import Artefacts
from services.common.errors import InvalidArgument, Violation, invalid
from services.planner.dataset import preview, shapes
from services.planner.dataset.file import BadFile, FileFormat, Record, read_format
from services.planner.dataset.file_rows import read_records
from services.planner.dataset.findings import ERROR
from services.planner.dataset.report_structure import FORM_ROWS
from services.planner.dataset.rows import check_row, renderable
from services.planner.dataset_store import DatasetStore
from services.planner.peers import Trainer
from services.planner.source_reader import SourceReader

MAX_LENGTH_MIN = 16


class RowPreviews:
    """Answers PreviewRows."""

    def __init__(
        self,
        artefacts: Artefacts,
        datasets: DatasetStore,
        sources: SourceReader,
        trainer: Trainer,
    ) -> None:
        """Keep where datasets lie and who renders rows."""
        self._artefacts = artefacts
        self._datasets = datasets
        self._sources = sources
        self._trainer = trainer

    async def preview(
        self, request: dataset_pb2.PreviewRowsRequest
    ) -> dataset_pb2.PreviewRowsResponse:
        """Return the rows as training sees them.

        Raises:
            NotFound: If there is no such dataset, or the base model is not at hand.
            InvalidArgument: If a line has no row, or one that cannot be trained on.
            Unavailable: If the trainer cannot be asked now.
        """
        _check(request)
        dataset = await self._datasets.get(request.name)
        model = request.base_model or (await self._sources.model_at_hand()).id
        file_format = read_format(dataset.display_name, dataset.file_format)
        assert file_format is not None
        original = self._artefacts.original(dataset.sha256)
        rows = await asyncio.to_thread(_rows, original, file_format, list(request.lines))
        texts = [json.dumps(row, ensure_ascii=False) for row in rows.values()]
        rendered = await self._trainer.render_rows(model, texts, request.max_length)
        return preview.response(list(rows), rendered, model)


def _check(request: dataset_pb2.PreviewRowsRequest) -> None:
    found = []
    most = preview.PREVIEW_ROWS_MAX
    if len(request.lines) > most or len(set(request.lines)) < len(request.lines):
        text = f"{len(request.lines)} lines; at most {most} different ones are taken."
        found.append(Violation("lines", "COUNT", text))
    if request.max_length and request.max_length < MAX_LENGTH_MIN:
        text = f"{request.max_length} tokens; at least {MAX_LENGTH_MIN} are taken."
        found.append(Violation("max_length", "RANGE", text))
    if found:
        raise invalid(found)


def _rows(
    path: Path, file_format: FileFormat, lines: Sequence[int]
) -> dict[int, Mapping[str, Any]]:
    """Return rows as the trainer takes them, by line, in the order asked for."""
    try:
        first = [record for record, _ in islice(read_records(path, file_format), FORM_ROWS)]
        form = shapes.choose_form(record.body for record in first if not record.findings)
        usual = [record.line for record in first if record.raw and not _fault(record, form)]
        wanted = lines or usual[: preview.PREVIEW_ROWS_DEFAULT]
        found = _find(path, file_format, wanted)
    except BadFile as bad:
        raise _refusal(bad.finding.line, bad.finding.message) from None
    if not wanted:
        raise _refusal(0, "The file has no row to train on.")
    rows = {}
    for line in wanted:
        record = found.get(line)
        fault = "No row stands there." if record is None else _fault(record, form)
        if fault:
            raise _refusal(line, fault)
        assert record is not None
        assert form is not None
        rows[line] = renderable(record.body, form)
    return rows


def _find(path: Path, file_format: FileFormat, wanted: Sequence[int]) -> dict[int, Record]:
    found: dict[int, Record] = {}
    for record, _ in read_records(path, file_format, lines=set(wanted)) if wanted else ():
        if record.raw and record.line in wanted:
            found[record.line] = record
        if record.line > max(wanted) or len(found) == len(wanted):
            break
    return found


def _fault(record: Record, form: shapes.Form | None) -> str:
    findings = record.findings or check_row(record.body, form, record.line)
    return next((each.message for each in findings if each.severity == ERROR), "")


def _refusal(line: int, text: str) -> InvalidArgument:
    return invalid([Violation("lines", "NO_ROW", f"Line {line}: {text}")])
