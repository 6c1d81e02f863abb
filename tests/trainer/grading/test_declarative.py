import json

import pytest
from attune.spec.v1.grader_pb2 import (
    Grader,
    JsonSchemaGrader,
    LengthGrader,
    NumericGrader,
    RegexGrader,
    StringCheckGrader,
    TextSimilarityGrader,
    ToolCallGrader,
)

from services.common.errors import InvalidArgument
from services.trainer.grading.build import build, scores
from services.trainer.grading.likeness import LIKENESS
from services.trainer.grading.sample import Fault, Sample

EQ, NE, LIKE, ILIKE = 1, 2, 3, 4


def score(grader: Grader, answer: str, reference: str = "") -> float:
    return scores(build(grader), [Sample(answer, {"reference": reference})])[0]


def string_check(operation: int, template: str = "{{sample.output_text}}") -> Grader:
    check = StringCheckGrader(input=template, reference="{{item.reference}}", operation=operation)
    return Grader(name="g", string_check=check)


def regex_grader(pattern: str) -> Grader:
    return Grader(name="g", regex=RegexGrader(pattern=pattern))


def similarity(metric: str) -> Grader:
    made = TextSimilarityGrader(
        input="{{sample.output_text}}", reference="{{item.reference}}", evaluation_metric=metric
    )
    return Grader(name="g", text_similarity=made)


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


def test_a_reference_that_is_no_json_is_an_error_of_the_row_and_no_score():
    graded = build(json_grader(reference="{{item.reference}}"))([Sample("{}", {"reference": "x"})])
    assert (graded[0].score, graded[0].fault) == (None, Fault.SAMPLE_PARSE)


@pytest.mark.parametrize(
    "grader",
    [
        Grader(name="g", length=LengthGrader(min_characters=2, max_characters=1)),
        Grader(name="g"),
        string_check(0),
        string_check(EQ, "{{row.label}}"),
        string_check(EQ, "{{sample.output_textual}}"),
        regex_grader("("),
        regex_grader("a" * 1001),
        Grader(name="g", numeric=NumericGrader(reference="1", tolerance=-1)),
        similarity("cosine"),
        json_grader(json_schema="{"),
        json_grader(json_schema='{"type":"nothing"}'),
        json_grader(reference="{{sample.tools}}"),
    ],
)
def test_what_is_set_wrongly_is_refused_with_a_reason(grader):
    with pytest.raises(InvalidArgument) as caught:
        build(grader)
    assert caught.value.reason == "UNSUPPORTED_GRADER"
    assert "'g'" in caught.value.message


def test_a_schema_fetches_nothing_and_what_it_lacks_is_an_error():
    grader = json_grader(json_schema='{"$ref": "http://127.0.0.1:9/schema.json"}')
    graded = build(grader)([Sample("{}")])[0]
    assert (graded.score, graded.fault) == (None, Fault.OTHER)
    assert "$defs" in graded.error


def test_patterns_that_backtrack_without_end_are_stopped():
    endless, answer = "^(a|a)*$", "a" * 60 + "b"
    schemas = ({"pattern": endless}, {"patternProperties": {endless: False}})
    graders = [json_grader(json_schema=json.dumps(schema)) for schema in schemas]
    answers = [json.dumps(answer), json.dumps({answer: 1})]
    for grader, text in [(regex_grader(endless), answer), *zip(graders, answers, strict=True)]:
        graded = build(grader)([Sample(text)])[0]
        assert (graded.score, graded.fault) == (None, Fault.UNRESPONSIVE_REWARD)


def test_a_pattern_is_searched_anywhere_in_the_answer():
    assert score(regex_grader(r"\bcat\b"), "the cat sat") == 1.0
    assert score(regex_grader(r"^cat"), "the cat sat") == 0.0
    assert score(regex_grader(r"^sat$"), "the cat\nsat") == 0.0


def test_length_counts_characters():
    grader = Grader(name="g", length=LengthGrader(min_characters=1, max_characters=3))
    assert [score(grader, text) for text in ("", "äöü", "abcd")] == [0.0, 1.0, 0.0]
    assert score(Grader(name="g", length=LengthGrader(min_characters=2)), "x" * 99) == 1.0


@pytest.mark.parametrize(
    ("answer", "reference", "tolerance", "expected"),
    [
        ("It is 42.", "42", 0, 1.0),
        ("First 7, then 42", "42", 0, 1.0),
        ("42 at first, then 7", "42", 0, 0.0),
        ("The result: #### 42\nsaid at 10", "42", 0, 1.0),
        (r"so \boxed{42} by rule 3", "42", 0, 1.0),
        ("1,234,567.5", "1234567.5", 0, 1.0),
        ("3,14", "3.14", 0, 1.0),
        ("1.234,5", "1234.5", 0, 1.0),
        ("-5", "-5", 0, 1.0),
        ("\u22125", "-5", 0, 1.0),
        ("8-5", "5", 0, 1.0),
        ("1e3", "1000", 0, 1.0),
        ("1.1", "1.0", 0.1, 1.0),
        ("1.11", "1.0", 0.1, 0.0),
        ("42.0", "42", 0, 1.0),
        ("none", "42", 0, 0.0),
        ("", "42", 0, 0.0),
        ("9" * 500, "42", 0, 0.0),
        ("1e9999", "42", 5, 0.0),
    ],
)
def test_the_last_or_marked_number_counts(answer, reference, tolerance, expected):
    made = NumericGrader(reference="{{item.reference}}", tolerance=tolerance)
    assert score(Grader(name="g", numeric=made), answer, reference) == expected


def test_a_row_without_a_number_is_an_error_and_no_score():
    made = Grader(name="g", numeric=NumericGrader(reference="{{item.reference}}"))
    graded = build(made)([Sample("42", {"reference": "forty"})])[0]
    assert (graded.score, graded.fault) == (None, Fault.SAMPLE_PARSE)


WEATHER = '[{"name": "weather", "arguments": {"city": "Oslo", "days": 2}}]'


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (WEATHER, 1.0),
        ('{"name": "weather", "arguments": {"days": 2.0, "city": "Oslo"}}', 1.0),
        ('{"tool_calls": [{"type": "function", "function": ' + WEATHER[1:-1] + "}]}", 1.0),
        (r'{"name": "weather", "arguments": "{\"city\": \"Oslo\", \"days\": 2}"}', 1.0),
        (f"I look.<tool_call>\n{WEATHER[1:-1]}\n</tool_call>", 1.0),
        ('{"name": "weather", "arguments": {"city": "Oslo"}}', 0.0),
        (WEATHER[:-1] + ", " + WEATHER[1:], 0.0),
        ("<tool_call>broken</tool_call>", 0.0),
        ("It rains in Oslo.", 0.0),
        ("3", 0.0),
    ],
)
def test_calls_are_read_in_the_common_shapes(answer, expected):
    grader = Grader(name="g", tool_call=ToolCallGrader(reference="{{item.reference}}"))
    assert score(grader, answer, WEATHER) == expected


def test_calls_that_the_engine_has_read_come_before_the_text():
    grader = Grader(name="g", tool_call=ToolCallGrader(reference="{{item.reference}}"))
    calls = json.loads(WEATHER)
    assert scores(build(grader), [Sample("", {"reference": WEATHER}, calls)]) == [1.0]


def test_arguments_may_be_left_uncompared_and_the_order_of_calls_is_free():
    made = ToolCallGrader(reference="{{item.reference}}", compare_arguments=False)
    grader = Grader(name="g", tool_call=made)
    assert score(grader, '[{"name": "b"}, {"name": "a"}]', '[{"name": "a"}, {"name": "b"}]') == 1.0
    assert score(grader, '{"name": "a"}', '[{"name": "a"}, {"name": "b"}]') == 0.0


def test_where_words_are_right_a_call_is_wrong():
    grader = Grader(name="g", tool_call=ToolCallGrader(reference="{{item.reference}}"))
    assert score(grader, "Hello.", "Good day.") == 1.0
    assert score(grader, WEATHER, "Good day.") == 0.0


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("{{ item.a.b }}", "deep"),
        ("{{item.list.1}}-{{item.number}}", "y-2"),
        ("{{item.a}}", '{"b": "deep"}'),
        ("{{sample.output_json.team}}", "x"),
        ("{{sample.output_json}}", '{"team": "x"}'),
        ("{{sample.output_tools}}", '[{"name": "f"}]'),
        ("plain", "plain"),
    ],
)
def test_templates_read_rows_and_answers(template, filled):
    item = {"a": {"b": "deep"}, "list": ["x", "y"], "number": 2, "reference": filled}
    sample = Sample('{"team": "x"}', item, [{"name": "f"}])
    assert scores(build(string_check(EQ, template)), [sample]) == [1.0]


def test_a_field_that_a_row_lacks_is_an_error_of_that_row_alone():
    grade = build(string_check(EQ, "{{item.label.name}}"))
    rows = [{"label": {"name": "a"}, "reference": "a"}, {"label": "a", "reference": "a"}]
    graded = grade([Sample("a", row) for row in rows])
    assert [each.score for each in graded] == [1.0, None]
    assert graded[1].fault == Fault.INVALID_VARIABLE
    assert "item.label.name" in graded[1].error


def test_an_answer_without_the_json_that_a_template_wants_is_wrong():
    assert score(string_check(NE, "{{sample.output_json.team}}"), "no JSON", "x") == 0.0
    assert score(string_check(NE, "{{sample.output_json.team}}"), "{}", "x") == 0.0


@pytest.mark.parametrize("metric", LIKENESS)
def test_equal_texts_are_alike_and_strange_ones_are_not(metric):
    text = "The quick brown fox jumps over the lazy dog."
    assert score(similarity(metric), text, text) == pytest.approx(1.0)
    assert score(similarity(metric), "", text) == 0.0
    strange = score(similarity(metric), "völlig andere 12345 Wörter hier", text)
    near = score(similarity(metric), "A quick brown fox jumps over the lazy cat.", text)
    assert 0.0 <= strange < near < 1.0


def test_a_text_too_long_to_compare_is_an_error():
    graded = build(similarity("rouge_l"))([Sample("x" * 200_001, {"reference": "x"})])[0]
    assert (graded.score, graded.fault) == (None, Fault.TRUNCATED_OBSERVATION)
