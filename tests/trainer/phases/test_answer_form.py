"""When an answer has the form that a grader can read."""

import pytest
from attune.spec.v1.grader_pb2 import (
    Grader,
    JsonSchemaGrader,
    MathGrader,
    MultiGrader,
    NumericGrader,
    RegexGrader,
    ToolCallGrader,
)

from services.trainer.phases.answer_form import has_form

TEXT = Grader(name="r", regex=RegexGrader(pattern="x"))
JSON = Grader(name="j", json_schema=JsonSchemaGrader())
CALLS = Grader(name="t", tool_call=ToolCallGrader())
NUMBER = Grader(name="n", numeric=NumericGrader())
MATH = Grader(name="m", math=MathGrader())
BOTH = Grader(name="b", multi=MultiGrader(graders=[JSON, NUMBER]))


@pytest.mark.parametrize(
    ("grader", "text", "expected"),
    [
        (TEXT, "anything", True),
        (TEXT, " \n", False),
        (JSON, '{"a": 1}', True),
        (JSON, "a: 1", False),
        (JSON, "[" * 100_000, False),
        (CALLS, '[{"name": "f"}]', True),
        (CALLS, "f()", False),
        (NUMBER, "It is 12.", True),
        (NUMBER, "twelve", False),
        (MATH, "x = 2", True),
        (MATH, "none", False),
        (BOTH, '{"a": 1}', True),
        (BOTH, '{"a": "b"}', False),
    ],
)
def test_form(grader, text, expected):
    assert has_form(grader, text) is expected
