"""What people are shown of rows: a few of them masked, and what training sees of some."""

from __future__ import annotations

import json
from collections.abc import Sequence

from attune.planner.v1 import dataset_pb2
from attune.trainer.v1 import render_pb2

from services.planner.dataset.personal_data import mask
from services.planner.dataset.rows import RowView

SAMPLE_ROWS_MAX = 3
SAMPLE_CHARACTERS_MAX = 2000
"""Of one text in a sample row; the rest is left out with a mark."""
PREVIEW_ROWS_MAX = 20
PREVIEW_ROWS_DEFAULT = 3


def sample_rows(rows: Sequence[RowView]) -> list[str]:
    """Return up to three rows as JSON for people to read, secrets and personal data masked.

    The first, the middle and the last row of different prompts, so that a file sorted by label
    shows more than one. Keys are `system`, `prompt`, `answer` and `rejected`; empty ones are left
    out.

    Args:
        rows: Without errors, in the order of the file.
    """
    chosen: dict[tuple[str, str], RowView] = {}
    for index in (0, len(rows) // 2, len(rows) - 1):
        if rows:
            row = rows[index]
            chosen.setdefault((row.prompt, row.answer), row)
    return [
        json.dumps(
            {
                key: _shown(text)
                for key, text in (
                    ("system", row.system),
                    ("prompt", row.prompt),
                    ("answer", row.answer),
                    ("rejected", row.rejected),
                )
                if text
            },
            ensure_ascii=False,
        )
        for row in list(chosen.values())[:SAMPLE_ROWS_MAX]
    ]


def response(
    lines: Sequence[int], rendered: render_pb2.RenderRowsResponse, base_model: str
) -> dataset_pb2.PreviewRowsResponse:
    """Return what PreviewRows answers.

    Args:
        lines: Of the rows, in the order in which the trainer was asked for them.
        rendered: The trainer's answer.
        base_model: Id of the model that rendered them.

    Raises:
        ValueError: If there are not as many rows as lines.
    """
    previews = [
        dataset_pb2.RowPreview(
            line=line,
            text=row.text,
            token_ids=row.token_ids,
            token_texts=row.token_texts,
            trainable=row.trainable,
            cut_token_count=row.cut_token_count,
            trains_nothing=row.trains_nothing,
        )
        for line, row in zip(lines, rendered.rows, strict=True)
    ]
    return dataset_pb2.PreviewRowsResponse(rows=previews, base_model=base_model)


def _shown(text: str) -> str:
    # Masked first: a cut could make a secret too short to be known as one.
    masked = mask(text)
    cut = masked[:SAMPLE_CHARACTERS_MAX]
    return cut if cut == masked else f"{cut}\u2026"
