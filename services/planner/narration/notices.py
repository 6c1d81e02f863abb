"""Notices in words, and the block of them that ends a reply."""

from __future__ import annotations

import re
from collections.abc import Sequence

from attune.spec.v1 import spec_pb2

from services.planner.narration import figures
from services.planner.narration.phrasebook import said_in
from services.planner.narration.templates import (
    Value,
    fill,
    has,
    load_templates,
    size,
    spoken,
)
from services.planner.narration.terms import (
    capitalised,
    field_name,
    language_name,
    value_words,
)
from services.planner.plan.notices import Note

SIZE = re.compile(r"(\d+(?:\.\d+)?)B")
"""A size of models as rules write it, in billions of parameters."""
NOTES_MAX = 12
"""Notices that one reply words; the plan holds all of them."""
EXAMPLE_ROW = (
    '{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}'
)
UNSAID = frozenset({"reason_given"})
"""Codes whose reply says it all already."""
RULES_IN_ENGLISH = ("said", "found", "conflict", "why", "gave_up")
"""Values that rules write as English words."""
RULE_CHARACTERS_MAX = 600
ORDER = (
    spec_pb2.Notice.SEVERITY_BLOCKING,
    spec_pb2.Notice.SEVERITY_WARNING,
    spec_pb2.Notice.SEVERITY_INFO,
    spec_pb2.Notice.SEVERITY_UNSPECIFIED,
)


def notice_text(note: Note, language: str) -> str:
    """Return a note in one to three sentences, with its figures and the remedy.

    Args:
        note: Its values may be missing; then the sentence says less.
        language: ISO 639-1; English stands in for one without templates.
    """
    tongue = spoken(language)
    if not has(f"notices.{note.code}"):
        return " ".join(figures.shortened(str(value)) for value in note.values.values())
    values: dict[str, Value] = {"row": EXAMPLE_ROW}
    for name, value in note.values.items():
        values[name] = _value(note, name, value, tongue)
    if note.code == "rank_alpha_scale":
        values |= _alpha_that_keeps_the_step(note)
    return fill(f"notices.{note.code}", tongue, values)


def worded(note: Note | str, language: str) -> str:
    """Return a note in words; a sentence stays as it is."""
    return note if isinstance(note, str) else notice_text(note, language)


def block(notes: Sequence[Note | str], language: str) -> str:
    """Return notes as a list, the gravest first and each once; empty without any."""
    told = [note for note in notes if isinstance(note, str) or note.code not in UNSAID]
    texts = list(dict.fromkeys(worded(note, language) for note in in_order(told)))
    texts = [text for text in texts if text]
    if not texts:
        return ""
    lines = [f"- {text}" for text in texts[:NOTES_MAX]]
    if len(texts) > NOTES_MAX:
        lines.append(fill("replies.more_notes", language, {"count": len(texts) - NOTES_MAX}))
    return "\n".join([fill("replies.note", language), *lines])


def in_order(notes: Sequence[Note | str]) -> list[Note | str]:
    """Return notes by severity, the gravest first."""
    return sorted(notes, key=lambda note: ORDER.index(_severity(note)))


def _severity(note: Note | str) -> spec_pb2.Notice.Severity.ValueType:
    return spec_pb2.Notice.SEVERITY_WARNING if isinstance(note, str) else note.severity


def _value(note: Note, name: str, value: str, language: str) -> Value:
    if name == "field":
        field = field_name(note.field_path or value, language)
        template = load_templates()[f"notices.{note.code}"][language]
        return capitalised(field) if template.startswith("[{field}") else field
    if name in ("value", "recommended", "before", "after"):
        return value_words(note.field_path, value, language)
    if name == "limit" and (billions := SIZE.fullmatch(value)):
        return size(float(billions[1]) * 1e9, language)
    if name == "language":
        comma = "、" if language == "ja" else ", "
        return comma.join(language_name(code.strip(), language) for code in value.split(","))
    if name in RULES_IN_ENGLISH:
        text = said_in(language, value) or _languages(value, language) or value
        return figures.shortened(text.rstrip(".。"), RULE_CHARACTERS_MAX)
    return figures.shortened(value)


def _languages(value: str, language: str) -> str:
    """Return codes of languages by their names; empty when the value holds anything else."""
    codes = [code.strip() for code in value.split(",")]
    if not all(has(f"languages.{code}") for code in codes):
        return ""
    comma = "、" if language == "ja" else ", "
    return comma.join(language_name(code, language) for code in codes)


def _alpha_that_keeps_the_step(note: Note) -> dict[str, Value]:
    scale, rank = (figures.parsed(note.values.get(name, "")) for name in ("before", "rank"))
    return {} if scale is None or rank is None else {"alpha_same": scale * rank}
