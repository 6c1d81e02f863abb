"""What an evaluation showed: scores, the difference and what may be concluded."""

from __future__ import annotations

from attune.spec.v1 import evaluation_pb2

from cli.views.figures import number, words
from cli.views.screen import Screen


def show_report(screen: Screen, report: evaluation_pb2.EvaluationReport) -> None:
    """Write an evaluation's scores side by side."""
    screen.heading(f"On {number(report.holdout_row_count)} unseen rows, by {report.grader}")
    # Where pairs decide, neither has a score: they are answers, and the model itself compares.
    prompted = [
        ("  base with examples in its prompt", f"{report.few_shot_score:.3f}"),
        ("  the most frequent answer", f"{report.majority_score:.3f}"),
    ]
    rows = [
        ("  base", f"{report.base_score:.3f}"),
        *(prompted if report.HasField("few_shot_interval") else []),
        ("  tuned", f"{report.tuned_score:.3f}"),
        (
            "  tuned less base",
            f"{report.difference:+.3f}, {100 * (report.confidence or 0.95):g} % interval "
            f"{report.interval_low:+.3f} to {report.interval_high:+.3f}: {verdict_of(report)}",
        ),
    ]
    if report.HasField("previous_stage"):
        before = report.previous_stage
        told = (
            f"{before.difference:+.3f}, interval {before.interval_low:+.3f} to "
            f"{before.interval_high:+.3f}: {_verdict(before.verdict)}"
        )
        rows.append((f"  tuned less the stage before, {before.score:.3f}", told))
    # The first criterion is the comparison above.
    for one in report.criteria[1:]:
        wanted = f", wanted {one.target:.3f}" if one.HasField("target") else ""
        scores = f"base {one.base_score:.3f}, tuned {one.tuned_score:.3f}{wanted}"
        rows.append((f"  {one.title}", scores))
    screen.table(("", ""), rows)
    # The first one says in words what the table says.
    for sentence in report.verdict_reasons[1:]:
        screen.say(f"  {sentence}")


def verdict_of(report: evaluation_pb2.EvaluationReport) -> str:
    """Return `better`, `worse` or `cannot tell`."""
    return _verdict(report.verdict)


def _verdict(verdict: evaluation_pb2.EvaluationReport.Verdict.ValueType) -> str:
    return words(evaluation_pb2.EvaluationReport.Verdict.Name(verdict), "VERDICT_")
