"""Whatever is edited and undone, a spec stays valid or the edit is refused by name."""

import pytest
from attune.spec.v1 import spec_pb2
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.errors import InvalidArgument
from services.planner.spec.edit import apply_edit, diff
from services.planner.spec.hash import spec_hash
from services.planner.spec.path import resolve, write
from services.planner.spec.rules import violations
from tests.planner.plans import a_brief, plan

STARTS = {
    "sft": plan(a_brief()),
    "chain": plan(a_brief(), techniques=(1, 3), grader_kinds=("math", "json_schema")),
    "judged": plan(a_brief(), techniques=(4,), grader_kinds=("score_model",)),
    "none": plan(a_brief(), techniques=()),
}
EXTRA = ("objective.out_of_scope", "objective.task", "data.holdout_rows", "nonsense", "hash",
         "stages.9.method", "base_model.licence", "stages.0", "data.preparation_steps")  # fmt: skip
NUMBERS = st.one_of(
    st.sampled_from([0, 1, 2, 8, 16, 64, 512, 0.5, 0.1, 1e-4, -1, 10**12]),
    st.floats(allow_nan=True, allow_infinity=True),
)
UNDO = "undo"


def value_for(field: FieldDescriptor, draw):
    """Return a value of the field's type, sensible or not; None clears it."""
    if draw(st.integers(0, 9)) == 0 or field.message_type is not None:
        return None
    if field.enum_type is not None:
        return draw(st.sampled_from(sorted(field.enum_type.values_by_number)))
    if field.type == FieldDescriptor.TYPE_INT64:
        return draw(st.integers(-2, 2000) | st.sampled_from([2**40, 2**63 - 1]))
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return float(draw(NUMBERS))
    if field.type == FieldDescriptor.TYPE_BOOL:
        return draw(st.booleans())
    text = draw(st.text(max_size=40) | st.sampled_from(["router", "exact_json", "x" * 3000]))
    return [text] if field.is_repeated else text


def edited(current: spec_pb2.Spec, path: str, draw) -> spec_pb2.Spec:
    other = spec_pb2.Spec()
    other.CopyFrom(current)
    try:
        field = resolve(current, path).field
        value = value_for(field, draw)
        in_list = path.rpartition(".")[2].isdigit()
        if not in_list:
            write(other, path, value)
    except InvalidArgument:
        pass
    return other


def check_refusal(refused: InvalidArgument, path: str) -> None:
    assert [each.field for each in refused.violations] == [path]
    assert all(each.message.endswith(".") for each in refused.violations)


@pytest.mark.parametrize("start", STARTS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_sequence_of_edits_and_undos_gives_a_valid_spec_or_a_clear_refusal(start, data):
    history = [STARTS[start]]
    paths = [choice.field_path for choice in history[0].choices] + list(EXTRA)
    for step in data.draw(st.lists(st.sampled_from([*paths, UNDO]), max_size=8)):
        current = history[-1]
        if step == UNDO:
            if len(history) > 1:
                history.pop()
            continue
        before = current.SerializeToString(deterministic=True)
        try:
            after = apply_edit(current, edited(current, step, data.draw), [step])
        except InvalidArgument as refused:
            check_refusal(refused, step)
        else:
            broken = violations(after)
            assert all(each.field and each.rule and each.message for each in broken)
            if not broken:
                same = spec_hash(after) == spec_hash(current)
                assert same == (diff(current, after) == [])
                history.append(after)
        assert current.SerializeToString(deterministic=True) == before
    assert violations(history[-1]) == []
    assert spec_hash(history[0]) == spec_hash(STARTS[start])
