"""When a result is looked at again, and what happens when its base model is superseded."""

from __future__ import annotations

from google.protobuf import duration_pb2

from services.planner.plan.choice import RULE, Ledger

REEVALUATION_S = 90 * 24 * 3600
"""A quarter."""


def propose_maintenance(ledger: Ledger) -> None:
    """Decide cadence, trigger and end of a result."""
    criteria = ledger.spec.objective.success_criteria
    target = criteria[0].target if criteria and criteria[0].HasField("target") else None
    floor = f"below {target:.0%}, the target" if target is not None else "below today's"
    held = ledger.spec.data.holdout_row_count
    step = ledger.spec.data.minimum_detectable_difference
    clear = f", or by {100 * step:.0f} points, as much as {held:,} rows can tell" if step else ""
    for name, value, reason in (
        (
            "reevaluation_interval",
            duration_pb2.Duration(seconds=REEVALUATION_S),
            "Questions drift, and a model that is not looked at again goes stale unseen.",
        ),
        ("watch_base_model", True, "A better base makes the same rows worth more."),
        (
            "drift_trigger",
            f"The score on freshly labelled questions falls {floor}{clear}.",
            "What counts is today's questions, not those of the hold-out.",
        ),
        (
            "when_superseded",
            "The same rows and settings are tried on the successor as a new plan to approve; the "
            "alias moves only when the successor is better on the same hold-out.",
            "The rows outlive the model, and nothing is replaced without a comparison.",
        ),
    ):
        ledger.decide(
            f"maintenance.{name}",
            value,
            source=RULE,
            origin="rule D13: every quarter"
            if name == "reevaluation_interval"
            else "rule D13: bases are replaced and questions drift",
            reason=reason,
        )
