"""Which kind of task a message describes."""

from __future__ import annotations

from services.planner.reading.message import Message
from services.planner.vocabulary import Shape, Task

WEIGHTS = {
    Task.TRANSLATION: 2.2,
    Task.TOOL_CALLING: 1.6,
    Task.SUMMARIZATION: 1.8,
    Task.EXTRACTION: 1.6,
    Task.CLASSIFICATION: 1.5,
    Task.CODE: 1.5,
    Task.MATH_REASONING: 1.6,
    Task.STYLE: 1.0,
    Task.QUESTION_ANSWERING: 0.95,
    Task.DIALOGUE: 0.9,
    Task.GENERATION: 0.8,
}
"""What a phrase counts for: words such as `write` go with every task, `translate` with one."""
COMPARED_WEIGHT = 0.4
PLACES_MAX = 3
"""Further places of one task add nothing."""


def read_task(message: Message, shape: Shape | None = None) -> Task | None:
    """Return the task that most of a message's words speak of, or None.

    Args:
        message: What was said.
        shape: Of the data: where answers were compared or rated, words such as `answer` and
            `question` speak of the rows.
    """
    scores = {}
    compared = shape in (Shape.PAIRS, Shape.RATINGS)
    for task, weight in WEIGHTS.items():
        places = {
            (sentence.folded[match.start() : match.end()])
            for sentence, match in message.find("tasks", task.value)
        }
        if compared and task is Task.QUESTION_ANSWERING:
            weight = COMPARED_WEIGHT
        scores[task] = weight * min(len(places), PLACES_MAX)
    best = max(scores, key=lambda task: scores[task])
    return best if scores[best] > 0 else None
