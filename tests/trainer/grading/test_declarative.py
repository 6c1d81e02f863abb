import pytest
from attune.spec.v1.grader_pb2 import (
    Grader,
    JsonSchemaGrader,
    LengthGrader,
    StringCheckGrader,
)

from services.common.errors import InvalidArgument
from services.trainer.grading.build import build, scores
from services.trainer.grading.sample import Sample

EQ, NE, LIKE, ILIKE = 1, 2, 3, 4


def score(grader: Grader, answer: str, reference: str = "") -> float:
    return scores(build(grader), [Sample(answer, {"reference": reference})])[0]


def string_check(operation: int, template: str = "{{sample.output_text}}") -> Grader:
    check = StringCheckGrader(input=template, reference="{{item.reference}}", operation=operation)
    return Grader(name="g", string_check=check)


def json_grader(**settings: str) -> Grader:
    return Grader(name="g", json_schema=JsonSchemaGrader(**settings))


@pytest.mark.parametrize(
    ("operation", "answer", "reference", "expected"),
    [
        (EQ, "a", "a", 1.0),
        (EQ, "a ", "a", 0.0),
        (NE, "a", "b", 1.0),
        (NE, "a", "a", 0.0),
        (LIKE, "it is a cat", "cat", 1.0),
        (LIKE, "it is a CAT", "cat", 0.0),
        (ILIKE, "it is a CAT", "cat", 1.0),
        (ILIKE, "dog", "cat", 0.0),
    ],
)
def test_string_check_compares_as_named(operation, answer, reference, expected):
    assert score(string_check(operation), answer, reference) == expected


def test_templates_may_hold_text_and_spaces():
    assert score(string_check(EQ, "<{{ sample.output_text }}>"), "x", "<x>") == 1.0


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"a":1,"b":[true,null]}', 1.0),
        (' { "b" : [true, null], "a": 1.0 } ', 1.0),
        ('{"a":true,"b":[true,null]}', 0.0),
        ('{"a":1,"b":[null,true]}', 0.0),
        ('{"a":1,"b":[true,null],"c":0}', 0.0),
        ('{"a":1,"b":[true,null]} and more', 0.0),
        ("no JSON", 0.0),
        ("[" * 100_000, 0.0),
    ],
)
def test_json_is_equal_whatever_its_order_and_spacing(answer, expected):
    reference = '{"a": 1, "b": [true, null]}'
    assert score(json_grader(reference="{{item.reference}}"), answer, reference) == expected


def test_without_settings_any_json_passes_but_not_nan():
    answers = ("{}", "3", "NaN", "{")
    assert [score(json_grader(), answer) for answer in answers] == [1.0, 1.0, 0.0, 0.0]


def test_the_schema_must_hold_too():
    grader = json_grader(json_schema='{"type":"object","required":["team"]}')
    assert score(grader, '{"team":"x"}') == 1.0
    assert score(grader, '{"tea":"x"}') == 0.0


def test_a_reference_that_is_no_json_scores_nothing():
    assert score(json_grader(reference="{{item.reference}}"), "{}", "not JSON") == 0.0


@pytest.mark.parametrize(
    "grader",
    [
        Grader(name="g", length=LengthGrader(min_characters=1)),
        Grader(name="g"),
        string_check(0),
        string_check(EQ, "{{item.label}}"),
        json_grader(json_schema="{"),
        json_grader(json_schema='{"type":"nothing"}'),
        json_grader(reference="{{sample.tools}}"),
    ],
)
def test_what_this_trainer_lacks_is_refused_with_a_reason(grader):
    with pytest.raises(InvalidArgument) as caught:
        build(grader)
    assert caught.value.reason == "UNSUPPORTED_GRADER"
    assert "'g'" in caught.value.message
