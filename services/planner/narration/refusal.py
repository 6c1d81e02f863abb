"""What is said when no plan may exist (rule V1)."""

from __future__ import annotations

from collections.abc import Sequence

from services.planner.narration.notices import in_order, notice_text, worded
from services.planner.narration.phrasebook import said_in
from services.planner.narration.reply import opened
from services.planner.narration.templates import fill
from services.planner.plan.decision import Decision
from services.planner.plan.notices import Note, note

REASONS = ("harmful_declined", "out_of_scope", "capability_explained")
"""Notices that say why; the first one that a decision has is the answer."""


def decline(decision: Decision, notes: Sequence[Note | str], language: str) -> str:
    """Word why there is no plan: harm, another kind of product, or a question about this one.

    Args:
        decision: With no recommendation.
        notes: What else there is to say.
        language: ISO 639-1; another than the six is answered in English, which is said.
    """
    given = [*decision.notes, *notes]
    codes = [each.code for each in given if isinstance(each, Note)]
    code = next((code for code in REASONS if code in codes), "")
    if code:
        text = notice_text(note(code), language)
    else:
        text = said_in(language, decision.reason) or fill("verdicts.other", language)
    others = [
        worded(each, language)
        for each in in_order(notes)
        if not (isinstance(each, Note) and each.code in REASONS)
    ]
    return opened(language, text, *dict.fromkeys(others))
