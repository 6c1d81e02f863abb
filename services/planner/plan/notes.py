"""What a person should hear about a plan besides the plan."""

from __future__ import annotations

from services.planner.brief import Brief
from services.planner.plan.stages import REJECTED, Sources


def plan_notes(brief: Brief, sources: Sources) -> list[str]:
    """Return sentences about wishes that were not followed and flaws of the data."""
    notes = []
    if brief.technique in REJECTED:
        notes.append(f"You asked for {brief.technique}, but: {REJECTED[brief.technique]}")
    report = sources.dataset.report
    if brief.output_kind == "json" and not sources.answers_are_json:
        notes.append(
            f"You asked for JSON, but only {report.json_answer_share:.0%} of the answers are JSON "
            "objects, so answers are compared as text."
        )
    if report.holdout_overlap_count:
        notes.append(
            f"{report.holdout_overlap_count:,} rows also stand in the hold-out, which flatters "
            "the score; remove them and upload again."
        )
    if report.duplicate_row_count:
        notes.append(f"{report.duplicate_row_count:,} rows repeat an earlier one.")
    return notes
