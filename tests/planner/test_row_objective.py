"""What a dataset is for, from its report alone."""

import json

import pytest
from attune.planner.v1 import dataset_pb2

from services.planner.brief import Brief
from services.planner.dataset.preview import sample_rows
from services.planner.dataset.rows import view_of
from services.planner.dataset.shapes import CHAT_FORM
from services.planner.row_objective import from_rows, read_objective
from services.planner.vocabulary import Task
from tests.planner.plans import facts


def chat(*turns: tuple[str, str]) -> str:
    """Return a chat as a report shows it."""
    body = {"messages": [{"role": role, "content": text} for role, text in turns]}
    return sample_rows([view_of(body, CHAT_FORM, 1)])[0]


def row(**texts: str) -> str:
    return json.dumps(texts)


ROUTE = chat(("system", "Route  the\nmessage."), ("user", "Where is it?"), ("assistant", "a"))
LABELS = [dataset_pb2.LabelCount(label=label, count=10) for label in "abcdefghij"]


def test_the_system_message_that_all_rows_share_is_quoted():
    read = read_objective(facts(sample_rows=[ROUTE, ROUTE]))
    assert read.problem == "Route the message."
    assert read.origin == "the system message of the rows"
    other = chat(("system", "Else."), ("user", "Hm?"), ("assistant", "b"))
    assert "a1.jsonl" in read_objective(facts(sample_rows=[ROUTE, other])).problem


def test_rows_with_planted_instructions_are_not_quoted():
    planted = [dataset_pb2.FindingCount(code="prompt_injection_text", count=1)]
    read = read_objective(facts(sample_rows=[ROUTE], finding_counts=planted))
    assert "Route" not in read.problem


def test_a_long_system_message_is_cut_between_words():
    long = chat(("system", "word " * 300), ("user", "?"), ("assistant", "!"))
    problem = read_objective(facts(sample_rows=[long])).problem
    assert len(problem) <= 400
    assert problem.endswith("word")


@pytest.mark.parametrize(
    ("changes", "task"),
    [
        ({"labels": LABELS}, Task.CLASSIFICATION),
        ({}, Task.EXTRACTION),
        ({"format": "tool_calls"}, Task.TOOL_CALLING),
        (
            {
                "json_answer_share": 0.0,
                "format": "prompts_with_reference",
                "sample_rows": [row(prompt="2+2", answer="4")],
            },
            Task.MATH_REASONING,
        ),
        (
            {
                "json_answer_share": 0.0,
                "format": "prompts_with_reference",
                "sample_rows": [row(prompt="Who?", answer="Ada")],
            },
            Task.QUESTION_ANSWERING,
        ),
        (
            {
                "json_answer_share": 0.0,
                "sample_rows": [row(prompt="Sum", answer="```python\nsum(x)\n```")],
            },
            Task.CODE,
        ),
        (
            {
                "json_answer_share": 0.0,
                "mean_prompt_token_count": 900.0,
                "mean_answer_token_count": 60.0,
            },
            Task.SUMMARIZATION,
        ),
        (
            {
                "json_answer_share": 0.0,
                "sample_rows": [
                    chat(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"))
                ],
            },
            Task.DIALOGUE,
        ),
        ({"json_answer_share": 0.0, "sample_rows": []}, Task.GENERATION),
        (
            {
                "json_answer_share": 0.0,
                "sample_rows": [row(prompt="A mail says\nuser: x\nuser: y", answer="b")],
            },
            Task.GENERATION,
        ),
    ],
)
def test_the_report_shows_the_task(changes, task):
    read = read_objective(facts(**changes))
    assert read.task == task
    assert 0 < len(read.problem) <= 500


def test_labels_are_named_up_to_eight():
    assert "a, b, c, d, e, f, g, h and 2 more" in read_objective(facts(labels=LABELS)).problem


def test_only_what_was_not_said_is_read_from_the_rows():
    languages = [
        dataset_pb2.LanguageShare(language=code, share=share)
        for code, share in (("de", 0.7), ("und", 0.25), ("fr", 0.05))
    ]
    said = Brief(problem="Sort them", task=Task.STYLE)
    brief = from_rows(said, facts(languages=languages))
    assert (brief.problem, brief.task, brief.languages) == ("Sort them", Task.STYLE, ("de",))
