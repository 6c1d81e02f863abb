"""What commands print of a dataset: its report, its findings, its rows as training sees them."""

from __future__ import annotations

from collections.abc import Sequence

from attune.planner.v1 import dataset_pb2

from cli.resource_names import short
from cli.views.figures import number, share, size, words
from cli.views.screen import Screen

LABELS_SHOWN = 10
LINES_SHOWN = 10
ERROR = dataset_pb2.Finding.SEVERITY_ERROR
READY = dataset_pb2.Dataset.STATE_READY
INVALID = dataset_pb2.Dataset.STATE_INVALID
ANALYSING = dataset_pb2.Dataset.STATE_ANALYSING


def show_dataset(screen: Screen, stored: dataset_pb2.Dataset) -> None:
    """Write what is known of a dataset, its findings as counts at most."""
    report = stored.report
    what = f", as {stored.file_format}" if stored.file_format else ""
    rows = [
        ("name", short(stored.name)),
        ("file", f"{stored.display_name}{what}, {size(stored.size_bytes)}, sha256 {stored.sha256}"),
        ("state", state_of(stored)),
    ]
    if stored.HasField("report"):
        rows += _report_rows(stored, report)
    if stored.previous_dataset:
        rows.append(("corrects", _difference(stored)))
    screen.table(("", ""), rows)
    if report.sufficiencies:
        screen.heading("Enough rows for")
        screen.table(
            ("technique", "verdict", "rule"), [_verdict(one) for one in sorted_verdicts(report)]
        )


def show_findings(screen: Screen, report: dataset_pb2.DatasetReport, *, each: bool = False) -> None:
    """Write what is wrong in a file.

    Args:
        screen: Where to.
        report: With its findings.
        each: Whether every finding is written, by line; else they are grouped by code.
    """
    if not report.finding_counts:
        return
    screen.heading("Findings")
    if each:
        screen.table(
            ("line", "", "code", "field", "what is wrong"),
            [
                (place(one.line), kind(one.severity), one.code, one.field, one.message)
                for one in report.findings
            ],
        )
        total = sum(one.count for one in report.finding_counts)
        if more := total - len(report.findings):
            screen.say(f"and {number(more)} more, which are only counted")
        return
    for count in sorted(report.finding_counts, key=lambda one: (-one.severity, -one.count)):
        _show_code(screen, count, [one for one in report.findings if one.code == count.code])


def show_previews(screen: Screen, shown: dataset_pb2.PreviewRowsResponse) -> None:
    """Write rows as training sees them, what is learnt apart from what is only read."""
    for row in shown.rows:
        learnt = sum(row.trainable)
        cut = f", {number(row.cut_token_count)} more are cut off" if row.cut_token_count else ""
        screen.heading(
            f"line {row.line}: {number(len(row.token_ids))} tokens, {number(learnt)} learnt{cut}"
        )
        if row.trains_nothing:
            screen.say("Nothing that is learnt is left: this row would train nothing.", "bold red")
        screen.say_parts(_parts(row))
    screen.say()
    marks = "green" if screen.live else "between « and »"
    screen.say(f"Rendered by {shown.base_model}; what is learnt stands {marks}.", "dim")


def state_of(stored: dataset_pb2.Dataset) -> str:
    """Return how far a dataset is, in words."""
    if stored.state == ANALYSING:
        return f"analysing, {share(stored.progress)} done"
    return words(dataset_pb2.Dataset.State.Name(stored.state), "STATE_")


def kind(severity: int) -> str:
    """Return a severity as people say it."""
    return "error" if severity == ERROR else "warning"


def place(line: int) -> str:
    """Return the line of a finding."""
    return number(line) if line else "file"


def sorted_verdicts(report: dataset_pb2.DatasetReport) -> list[dataset_pb2.Sufficiency]:
    """Return the verdicts by technique, those that fit best first."""
    return sorted(report.sufficiencies, key=lambda one: -one.level)


def _report_rows(
    stored: dataset_pb2.Dataset, report: dataset_pb2.DatasetReport
) -> list[tuple[str, str]]:
    bad = report.row_count - report.valid_row_count
    bad_text = f", {number(bad)} of them with errors" if bad else ""
    rows = [("rows", f"{number(report.row_count)} in the format {report.format}{bad_text}")]
    if report.max_token_count:
        counted = (
            f"counted for {report.tokenizer_model}"
            if report.tokenizer_model
            else "estimated at 4 characters each"
        )
        rows.append(("tokens", f"{number(report.total_token_count)} in all, {counted}"))
        rows.append(("tokens a row", _percentiles(report)))
    rows.append(("answers", _answers(report)))
    if report.labels:
        rows.append(("labels", _labels(report)))
    if report.languages:
        shares = [f"{one.language} {share(one.share)}" for one in report.languages]
        rows.append(("languages", ", ".join(shares)))
    repeats = [f"{number(report.duplicate_row_count)} equal to an earlier row"]
    if report.near_duplicate_row_count:
        repeats.append(f"{number(report.near_duplicate_row_count)} nearly so")
    if report.contradictory_row_count:
        repeats.append(f"{number(report.contradictory_row_count)} with another label")
    rows.append(("repeats", ", ".join(repeats)))
    if 0 < report.sampled_row_count < report.valid_row_count:
        rows.append(("sample", f"{number(report.sampled_row_count)} rows were compared"))
    if stored.holdout_dataset:
        overlap = number(report.holdout_overlap_count)
        rows.append(("held out", f"{short(stored.holdout_dataset)}; {overlap} rows in both"))
    if report.minimum_detectable_difference:
        least = share(report.minimum_detectable_difference)
        rows.append(("least difference", f"{least} can be told from chance"))
    return rows


def _percentiles(report: dataset_pb2.DatasetReport) -> str:
    if not report.token_percentiles:
        return f"{number(report.median_token_count)} to {number(report.max_token_count)}"
    names = {50: "median", 100: "most"}
    return ", ".join(
        f"{names.get(one.percentile, f'p{one.percentile}')} {number(one.count)}"
        for one in report.token_percentiles
    )


def _answers(report: dataset_pb2.DatasetReport) -> str:
    return (
        f"{number(report.distinct_answer_count)} different; "
        f"{share(report.majority_answer_share)} are the most frequent one; "
        f"{share(report.json_answer_share)} are JSON objects; "
        f"{number(report.max_answer_token_count)} tokens at most"
    )


def _labels(report: dataset_pb2.DatasetReport) -> str:
    shown = [f"{one.label} {number(one.count)}" for one in report.labels[:LABELS_SHOWN]]
    if more := report.distinct_answer_count - len(shown):
        shown.append(f"{number(more)} more")
    return ", ".join(shown)


def _difference(stored: dataset_pb2.Dataset) -> str:
    name = short(stored.previous_dataset)
    if not stored.report.HasField("difference"):
        return name
    change = stored.report.difference
    return (
        f"{name}: {number(change.added_row_count)} rows new, {number(change.removed_row_count)} "
        f"gone, {number(change.kept_row_count)} kept"
    )


def _verdict(one: dataset_pb2.Sufficiency) -> tuple[str, str, str]:
    level = words(dataset_pb2.Sufficiency.Level.Name(one.level), "LEVEL_")
    return one.technique, level, one.rule


def _show_code(
    screen: Screen, count: dataset_pb2.FindingCount, kept: Sequence[dataset_pb2.Finding]
) -> None:
    style = "bold red" if count.severity == ERROR else "bold yellow"
    lines = list(dict.fromkeys(one.line for one in kept if one.line))
    shown = lines[:LINES_SHOWN]
    where = ", ".join(number(line) for line in shown)
    more = count.count - sum(one.line in shown for one in kept)
    if shown and more:
        where += f" and {number(more)} more"
    times = "once" if count.count == 1 else f"{number(count.count)} times"
    head = f"{kind(count.severity)}  {count.code}  {times}"
    noun = "line" if len(lines) == 1 else "lines"
    screen.say(head + (f", {noun} {where}" if where else ""), style)
    if kept:
        field = f"{kept[0].field}: " if kept[0].field else ""
        screen.say(f"    {field}{kept[0].message}")
        screen.say(f"    {kept[0].remedy}", "dim")


def _parts(row: dataset_pb2.RowPreview) -> list[tuple[str, bool]]:
    """Return a row's text in pieces, each learnt or not."""
    parts: list[tuple[str, bool]] = []
    for text, learnt in zip(row.token_texts, row.trainable, strict=False):
        if parts and parts[-1][1] == learnt:
            parts[-1] = (parts[-1][0] + text, learnt)
        else:
            parts.append((text, learnt))
    return parts or [(row.text, False)]
