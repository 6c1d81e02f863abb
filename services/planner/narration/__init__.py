"""What the planner says: plans, changes, reasons and questions in six languages, by templates."""

from services.planner.narration.explanation import explain
from services.planner.narration.notices import notice_text
from services.planner.narration.presentation import present
from services.planner.narration.questions import ask, lacking, question_text
from services.planner.narration.refinement import agree, refine, restored, unchanged, wait
from services.planner.narration.refusal import decline
from services.planner.narration.reply import pieces
from services.planner.narration.review import expert_review

__all__ = [
    "agree",
    "ask",
    "decline",
    "expert_review",
    "explain",
    "lacking",
    "notice_text",
    "pieces",
    "present",
    "question_text",
    "refine",
    "restored",
    "unchanged",
    "wait",
]
