"""What to point out about the rows, whether a report shows it or words say it."""

from __future__ import annotations

from services.planner.plan.evidence import (
    EXCUSED,
    PERSONAL_FINDINGS,
    PLANTED_FINDINGS,
    Evidence,
)
from services.planner.plan.notices import Note, note
from services.planner.plan.share import half_width
from services.planner.plan.technique import DPO, TechniqueChoice
from services.planner.vocabulary import Shape, Signal

ROWS_LEAST = 50
"""Demonstrations to start with (field research 6.2)."""
HOLDOUT_ROWS_GOOD = 200
"""Usable rows below which a hold-out says little (field research 6.2)."""
HOLDOUT_ROWS_WANTED = 50
DUPLICATE_SHARE = 0.1
DOMINANT_SHARE = 0.8
NOISE_SHARE = 0.05
LENGTH_RATIO = 2.0


def data_notes(evidence: Evidence, choice: TechniqueChoice, *, trains: bool) -> list[Note]:
    """Return the notes.

    Args:
        evidence: The data.
        choice: How they would be trained on.
        trains: Whether training on them is advised, or acceptable.
    """
    notes = [
        *_size(evidence, trains=trains),
        *_faults(evidence),
        *_noise(evidence),
        *_planted(evidence),
        *_personal(evidence),
    ]
    if evidence.shape == Shape.RATINGS and not evidence.has_paired_ratings:
        notes.append(note("thumbs_unpaired", field_path="data.dataset", rule="T3"))
    if DPO in choice.techniques:
        notes += _length(evidence)
    return notes


def _size(evidence: Evidence, *, trains: bool) -> list[Note]:
    rows, notes = evidence.rows, []
    if rows is not None and 0 < rows < ROWS_LEAST:
        notes.append(note("data_too_small", rule="V8", rows=f"{rows:,}", least=ROWS_LEAST))
    held = 0
    if evidence.holdout is not None:
        given = evidence.holdout.report.row_count
        held = given if given < HOLDOUT_ROWS_WANTED else 0
    elif rows is not None and rows < HOLDOUT_ROWS_GOOD:
        held = min(HOLDOUT_ROWS_WANTED, rows // 2)
    if trains and held:
        notes.append(
            note(
                "holdout_too_small",
                field_path="data.holdout_row_count",
                rule="D1",
                rows=f"{rows or 0:,}",
                holdout=held,
                points=f"{half_width(held):.0f}",
            )
        )
    return notes


def _faults(evidence: Evidence) -> list[Note]:
    report, notes = evidence.report, []
    faults = {code: count for code, count in evidence.faults.items() if code not in EXCUSED}
    if evidence.dataset is not None and (faults or evidence.is_unreadable):
        notes.append(
            note(
                "data_invalid",
                field_path="data.dataset",
                rule="V9",
                rows=f"{report.row_count:,}",
                bad_rows=f"{report.row_count - report.valid_row_count:,}",
                code=next(iter(faults), "unknown_shape"),
            )
        )
    if report.format == "mixed":
        notes.append(note("mixed_format", field_path="data.dataset"))
    repeats = report.duplicate_row_count
    if report.row_count and repeats >= DUPLICATE_SHARE * report.row_count:
        share = f"{repeats / report.row_count:.0%}"
        path = "data.preparation_steps"
        notes.append(note("duplicates", field_path=path, rows=f"{repeats:,}", share=share))
    if report.holdout_overlap_count:
        rows = f"{report.holdout_overlap_count:,}"
        notes.append(note("holdout_overlap", field_path="data.holdout_dataset", rows=rows))
    return notes


def _noise(evidence: Evidence) -> list[Note]:
    report, notes = evidence.report, []
    labels = list(report.labels)
    dominant = labels[0].count / report.row_count if labels and report.row_count else 0.0
    if dominant >= DOMINANT_SHARE or evidence.has(Signal.IMBALANCED):
        label = labels[0].label if dominant >= DOMINANT_SHARE else None
        shown = f"{dominant:.0%}" if label is not None else None
        path = "objective.success_criteria.0.metric"
        notes.append(note("imbalance", field_path=path, label=label, share=shown))
    said = evidence.brief.label_error_share
    share = max(evidence.contradictory_share, said or 0.0)
    worded = evidence.has(Signal.AGREEMENT_BY_CHANCE) or (
        evidence.has(Signal.LABELS_CONTRADICT) and said is None
    )
    if share >= NOISE_SHARE or worded:
        known = f"{share:.0%}" if share >= NOISE_SHARE else None
        notes.append(note("label_noise", field_path="data.dataset", share=known))
    return notes


def _planted(evidence: Evidence) -> list[Note]:
    rows = evidence.found(*PLANTED_FINDINGS)
    if not rows:
        return []
    notes = [note("suspicious_rows", field_path="data.preparation_steps", rows=f"{rows:,}")]
    return [*notes, note("injection_ignored")] if evidence.found("prompt_injection_text") else notes


def _personal(evidence: Evidence) -> list[Note]:
    rows = evidence.found(*PERSONAL_FINDINGS)
    declared_removed = evidence.has(Signal.PERSONAL_DATA_REMOVED) and not rows
    if declared_removed or not (rows or evidence.has(Signal.PERSONAL_DATA)):
        return []
    return [note("pii", field_path="data.dataset", rows=f"{rows:,}" if rows else None)]


def _length(evidence: Evidence) -> list[Note]:
    chosen = evidence.report.mean_answer_token_count
    rejected = evidence.report.mean_rejected_token_count
    if evidence.has(Signal.WANTS_LENGTH) or not rejected or chosen < LENGTH_RATIO * rejected:
        return []
    return [
        note(
            "length_bias",
            field_path="data.dataset",
            chosen=f"{chosen:.0f}",
            rejected=f"{rejected:.0f}",
            ratio=f"{chosen / rejected:.1f}",
        )
    ]
