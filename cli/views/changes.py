"""What differs between two plans, and what a plan has to point out."""

from __future__ import annotations

from collections.abc import Iterable

from attune.planner.v1 import planner_pb2
from attune.spec.v1 import spec_pb2

from cli.views.screen import Screen

UNSET = "unset"
SEVERITIES = {
    spec_pb2.Notice.SEVERITY_BLOCKING: ("blocks", "red"),
    spec_pb2.Notice.SEVERITY_WARNING: ("warning", "yellow"),
    spec_pb2.Notice.SEVERITY_INFO: ("note", ""),
}


def show_changes(screen: Screen, changes: Iterable[planner_pb2.FieldChange]) -> None:
    """Write what differs, field by field, each with its reason."""
    rows = [
        (
            f"  {change.field_path}",
            f"{change.before or UNSET} \u2192 {change.after or UNSET}",
            change.reason,
        )
        for change in changes
    ]
    if rows:
        screen.table(("  field", "change", "why"), rows)


def show_notices(screen: Screen, notices: Iterable[spec_pb2.Notice]) -> None:
    """Write what a plan or a reply points out, most serious first."""
    for notice in sorted(notices, key=lambda each: -each.severity):
        label, style = SEVERITIES.get(notice.severity, SEVERITIES[spec_pb2.Notice.SEVERITY_INFO])
        where = f" [{notice.field_path}]" if notice.field_path else ""
        screen.say(f"  {label}: {notice.message}{where} ({notice.code})", style)
