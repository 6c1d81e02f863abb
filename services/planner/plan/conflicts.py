"""Wishes that exclude each other, and words that the file does not bear out."""

from __future__ import annotations

from services.planner.plan.evidence import Evidence
from services.planner.plan.notices import Note, note
from services.planner.plan.technique import TechniqueChoice
from services.planner.vocabulary import Shape, Signal

ALIKE = {
    frozenset({Shape.DEMONSTRATIONS, Shape.PROMPTS_WITH_CHECK}),
    frozenset({Shape.PROMPTS, Shape.PROMPTS_WITH_CHECK}),
    frozenset({Shape.DEMONSTRATIONS, Shape.TEXT}),
}
"""Shapes that people do not tell apart when they describe rows."""
SHAPE_WORDS = {
    Shape.DEMONSTRATIONS: "inputs with answers",
    Shape.PAIRS: "pairs of a better and a worse answer",
    Shape.RATINGS: "rated answers",
    Shape.PROMPTS_WITH_CHECK: "prompts with a reference",
    Shape.PROMPTS: "prompts without answers",
    Shape.TEXT: "running text",
}
ROWS_SHARE_LEAST = 0.5
"""A file with a smaller share of the rows that were said is not the one that was meant."""
SMALL_B = 4.0
"""Billions of parameters up to which a model runs on a phone (rule B2)."""
LANGUAGE_SHARE_LEAST = 0.8
"""Share of rows in other languages from which the file is not in the language that was said."""


def conflicts(evidence: Evidence, choice: TechniqueChoice) -> list[Note]:
    """Return wishes that exclude each other, one note with all of them in words."""
    brief = evidence.brief
    found = []
    if brief.conflict:
        found.append(brief.conflict)
    if choice.conflict:
        found.append(choice.conflict)
    if evidence.has(Signal.VOLATILE_FACTS) and evidence.has(Signal.NO_ACCESS):
        found.append("Facts that change cannot be known without access to where they are kept.")
    bound = brief.parameters_max_b
    small = evidence.has(Signal.DEVICE_SMALL) or (bound is not None and bound <= SMALL_B)
    if evidence.has(Signal.CAPABILITY_NEEDS_SIZE) and small:
        found.append("A model of the wanted size is not as good as the largest ones at everything.")
    if not found and evidence.has(Signal.CONFLICTING_WISHES):
        found.append("Two of your wishes exclude each other.")
    if not found:
        return []
    return [note("conflict_named", rule="T8" if choice.conflict else "", conflict=" ".join(found))]


def mismatches(evidence: Evidence) -> list[Note]:
    """Return where the report differs from the words (rule C1)."""
    if evidence.dataset is None or evidence.is_unreadable:
        return []
    return [
        note("data_mismatch", field_path="data.dataset", rule="C1", said=said, found=found)
        for said, found in (
            _shape(evidence),
            _rows(evidence),
            _language(evidence),
            _records(evidence),
        )
        if said
    ]


def _shape(evidence: Evidence) -> tuple[str, str]:
    claimed, shape = evidence.claimed, evidence.shape
    if claimed not in SHAPE_WORDS or claimed == shape or frozenset({claimed, shape}) in ALIKE:
        return "", ""
    return SHAPE_WORDS[Shape(claimed)], SHAPE_WORDS[Shape(shape)]


def _rows(evidence: Evidence) -> tuple[str, str]:
    said, found = evidence.brief.data_row_count, evidence.report.row_count
    if said is None or found >= ROWS_SHARE_LEAST * said:
        return "", ""
    return f"{said:,} rows", f"{found:,} rows"


def _records(evidence: Evidence) -> tuple[str, str]:
    wanted = evidence.brief.output_kind == "json" and evidence.shape == Shape.DEMONSTRATIONS
    if not wanted or evidence.are_records:
        return "", ""
    return "JSON answers", f"{evidence.report.json_answer_share:.0%} JSON answers"


def _language(evidence: Evidence) -> tuple[str, str]:
    wanted = set(evidence.brief.languages)
    others = {each.language: each.share for each in evidence.report.languages}
    others.pop("und", None)
    if not wanted or wanted & set(others) or sum(others.values()) < LANGUAGE_SHARE_LEAST:
        return "", ""
    return ", ".join(sorted(wanted)), ", ".join(others)
