"""One row's JSON: whatever the bytes are, there is a value or exactly one finding."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.planner.dataset.rows_json import DEPTH_MAX, depth_of, parse

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_what_json_writes_is_read_back(value, escape):
    raw = json.dumps(value, ensure_ascii=escape).encode()
    if not escape or "\\u0000" not in raw.decode():
        assert parse(raw, 7) == (value, [])


@given(st.binary(min_size=1, max_size=200), st.booleans())
def test_any_bytes_give_a_value_or_one_finding(raw, breaks_off):
    body, findings = parse(raw, 7, breaks_off=breaks_off)
    assert len(findings) <= 1
    assert body is None or not findings
    assert all(each.line == 7 for each in findings)


@given(st.integers(1, 400))
def test_nesting_is_counted_outside_strings(depth):
    inside = json.dumps({"a": "[" * depth}).encode()
    assert depth_of(inside) == 1
    raw = b"[" * depth + b"]" * depth
    assert depth_of(raw) == depth
    codes = [each.code for each in parse(raw, 1)[1]]
    assert codes == (["nesting_too_deep"] if depth > DEPTH_MAX else [])


@pytest.mark.parametrize("brackets", [b"[" * 2_000_000, b'{"a":' * 500_000, b"[" * 90 + b"{" * 90])
def test_brackets_without_end_are_refused_without_a_deep_stack(brackets):
    assert [each.code for each in parse(brackets, 1)[1]] == ["nesting_too_deep"]


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b'{"a": 1, "a": 1}', "a"),
        (b'{"a": [{"b": 1}, {"b": 1, "c": {}, "b": 2}]}', "a[1].b"),
    ],
)
def test_a_key_that_stands_twice_is_named(raw, path):
    assert [(each.code, each.field) for each in parse(raw, 1)[1]] == [("duplicate_key", path)]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (r'{"a": ["\ud83d"]}', "a[0]"),
        (r'{"\udc00": 1}', ""),
        (r'{"a": "\ud83d\ude00"}', None),
        (r'{"a": "\\ud83d"}', None),
    ],
)
def test_half_a_pair_is_no_character_but_a_whole_one_is(text, field):
    findings = parse(text.encode(), 1)[1]
    assert [each.field for each in findings] == ([] if field is None else [field])
