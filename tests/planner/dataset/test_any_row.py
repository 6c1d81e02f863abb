"""Whatever stands in a row, it is checked, and what passes can be viewed and rendered."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from services.planner.dataset.findings import CODES, ERROR
from services.planner.dataset.rows import check_row, renderable, view_of
from services.planner.dataset.shapes import CHAT_FORM, FORMS, MESSAGES_ONLY, choose_form

KEYS = ["role", "content", "weight", "tool_calls", "tool_call_id", "function", "name", "arguments"]
KEYS += ["id", "parameters", "messages", "tools", "ground_truth", "x"]
ROLES = st.sampled_from(["system", "user", "assistant", "tool", "bot"])
LEAVES = st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from(["", " ", "a", "{}"])
ANYTHING = st.recursive(
    LEAVES | ROLES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
    ),
    max_leaves=8,
)
CALLS = st.lists(
    st.fixed_dictionaries(
        {"id": LEAVES, "function": st.fixed_dictionaries({"name": LEAVES, "arguments": LEAVES})}
    ),
    max_size=2,
)
MESSAGE = st.fixed_dictionaries(
    {"role": ROLES, "content": LEAVES}, optional={"weight": LEAVES, "tool_calls": CALLS}
)
PART = ANYTHING | st.sampled_from(["Why?", "So."]) | st.lists(MESSAGE, max_size=4)
ROW_KEYS = sorted({key for form in FORMS for key in form.keys} | {"messages", "tools", "system"})
ROW = st.dictionaries(st.sampled_from(ROW_KEYS), PART, max_size=4)
OF_A_FORM = st.sampled_from([*FORMS, CHAT_FORM, MESSAGES_ONLY]).flatmap(
    lambda form: st.fixed_dictionaries(
        dict.fromkeys(sorted(form.keys), PART), optional={"tools": PART, "system": PART}
    )
)


@settings(max_examples=400, deadline=None)
@given(st.lists(ROW | OF_A_FORM | ANYTHING, min_size=1, max_size=4))
def test_any_row_is_checked_and_a_good_one_is_viewed_and_rendered(bodies):
    form = choose_form(bodies)
    for body in bodies:
        findings = check_row(body, form, 7)
        assert all(each.code in CODES and each.line == 7 for each in findings)
        if any(each.severity == ERROR for each in findings):
            continue
        view = view_of(body, form, 7)
        assert all(isinstance(text, str) for _, text in view.texts)
        assert all(isinstance(each, str) for each in (view.prompt, view.answer, view.system))
        assert json.dumps(renderable(body, form))
