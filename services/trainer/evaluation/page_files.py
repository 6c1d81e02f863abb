"""The page about an evaluation in the attempt's folder, where everyone else finds it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attune.spec.v1.evaluation_pb2 import EvaluationReport

from services.trainer.attempt import (
    METRICS,
    PAGE_HTML,
    PAGE_MARKDOWN,
    find_page,
    list_attempts,
)
from services.trainer.evaluation.page_content import Course, content
from services.trainer.evaluation.page_html import html
from services.trainer.evaluation.page_markdown import markdown
from services.trainer.run import Phase
from services.trainer.runtime.lineage import phase_seconds
from services.trainer.runtime.run_context import RunContext

METRICS_BYTES_MAX = 64 * 1024 * 1024
"""Of the metrics of one attempt that are read for the curves."""


def write_page(context: RunContext, report: EvaluationReport, made: Mapping[str, Any]) -> None:
    """Write the page in both forms.

    Args:
        context: The run.
        report: What the evaluation found.
        made: The lineage.
    """
    page = content(context.spec, report, made, _course(context))
    context.attempt.write_text(PAGE_MARKDOWN, markdown(page))
    context.attempt.write_text(PAGE_HTML, html(page))


def copy_page(context: RunContext, target: Path) -> None:
    """Copy the page of the attempt that evaluated into a folder; nothing if there is none."""
    manifest = context.manifest
    found = find_page(context.artefacts.run(manifest.run_id), manifest.fence)
    if found is not None:
        for name in (PAGE_MARKDOWN, PAGE_HTML):
            shutil.copyfile(found.folder / name, target / name)


def _course(context: RunContext) -> Course:
    trained = context.attempt.result(Phase.TRAIN) or {}
    return Course(
        curves=_curves(context),
        chosen_step=int(trained.get("best_step", 0)),
        seconds=phase_seconds(context),
        cost_micro_usd=context.cost_micro_usd,
    )


def _curves(context: RunContext) -> dict[str, list[tuple[float, float]]]:
    """Return the curves of all attempts as one: of a step that was repeated, the newest value."""
    manifest = context.manifest
    found: dict[str, dict[float, float]] = {}
    attempts = list_attempts(context.artefacts.run(manifest.run_id), manifest.fence)
    for attempt in reversed(attempts):
        offset, end = 0, -1
        while end != offset < METRICS_BYTES_MAX:
            end = offset
            lines, offset = attempt.lines(METRICS, offset)
            for line in lines:
                _take(found, line)
    return {name: sorted(points.items()) for name, points in found.items()}


def _take(found: dict[str, dict[float, float]], line: dict[str, Any]) -> None:
    for name, value in line["values"].items():
        if isinstance(value, int | float) and value == value and abs(value) != float("inf"):
            found.setdefault(name, {})[float(line["step"])] = float(value)
