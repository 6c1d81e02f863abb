"""Which kind of task a message describes."""

from __future__ import annotations

import re

from services.planner.reading.message import Message
from services.planner.reading.outputs import masked, output_task
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
OUTPUT_WEIGHT = 1.7
"""What a noun for what comes out counts for, on top of all phrases."""
FREE_OUTPUT_WEIGHT = 1.2
"""The same for a text: it may be a translation, a summary, or one in a style."""
NUMBER_WEIGHT = 0.9
"""What words for a number count for where code checks the answers."""
NUMBERS = re.compile(
    r"\b(?:numbers?|figures?|numeric\w*|decimals?|integers?|fractions?|amounts?|sums?|totals?|"
    r"calculat\w+|answer keys?|solution paths?|derivations?|workings?)\b"
)
JSON = re.compile(r"\b(?:as|in|to|into|out|the right) (?:a |an )?json\b|\bjson out\b")


def read_task(message: Message, shape: Shape | None = None) -> Task | None:
    """Return the task that most of a message's words speak of, or None.

    Args:
        message: What was said.
        shape: Of the data: where answers were compared or rated, words such as `answer` and
            `question` speak of the rows; where code checks them, a number is a result.
    """
    scores: dict[Task, float] = {}
    compared = shape in (Shape.PAIRS, Shape.RATINGS)
    masks = {sentence: masked(sentence) for sentence in message.sentences}
    for task, weight in WEIGHTS.items():
        places = {
            (sentence.folded[match.start() : match.end()])
            for sentence, match in message.find("tasks", task.value)
            if not any(start <= match.start() < end for start, end in masks[sentence])
        }
        if compared and task is Task.QUESTION_ANSWERING:
            weight = COMPARED_WEIGHT
        scores[task] = weight * min(len(places), PLACES_MAX)
    if output := output_task(message):
        scores[output] += FREE_OUTPUT_WEIGHT if output is Task.GENERATION else OUTPUT_WEIGHT
    if JSON.search(message.folded):
        scores[Task.EXTRACTION] += OUTPUT_WEIGHT
    numeric = shape is Shape.PROMPTS_WITH_CHECK and NUMBERS.search(message.folded)
    if numeric and not message.says("signals", "form_rules"):
        scores[Task.MATH_REASONING] += NUMBER_WEIGHT
    best = max(scores, key=lambda task: scores[task])
    return best if scores[best] > 0 else None
