import pytest

from services.trainer.data.row_shape import clean_messages, said, shape_row

ASKED = {"role": "user", "content": "q"}
ANSWERED = {"role": "assistant", "content": "a"}
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}


def test_a_chat_is_taken_as_it_is():
    row = shape_row({"messages": [ASKED, ANSWERED], "tools": [{"type": "function"}]})
    assert list(row.messages) == [ASKED, ANSWERED]
    assert row.tools == [{"type": "function"}]
    assert row.is_learnt


def test_prompt_and_completion_are_a_chat():
    row = shape_row({"system": "s", "prompt": "q", "completion": "a"})
    assert list(row.messages) == [{"role": "system", "content": "s"}, ASKED, ANSWERED]
    assert row == shape_row({"system": "s", "prompt": [ASKED], "completion": [ANSWERED]})


def test_both_forms_of_pairs_are_one():
    worse = {"role": "assistant", "content": "b"}
    hugging_face = shape_row({"prompt": "q", "chosen": "a", "rejected": "b"})
    openai = shape_row(
        {
            "input": {"messages": [ASKED]},
            "preferred_output": [ANSWERED],
            "non_preferred_output": [worse],
        }
    )
    assert hugging_face == openai
    assert (list(openai.chosen), list(openai.rejected)) == ([ANSWERED], [worse])


@pytest.mark.parametrize(
    ("values", "reference"),
    [
        ({"messages": [ASKED], "reference_answer": "4"}, "4"),
        ({"prompt": [ASKED], "reward_model": {"ground_truth": 4, "style": "rule"}}, "4"),
        ({"prompt": "q", "data_source": "x", "label": {"a": 1}}, '{"a": 1}'),
        ({"prompt": "q"}, ""),
    ],
)
def test_prompts_have_a_reference_or_none(values, reference):
    row = shape_row(values)
    assert (list(row.messages), row.reference, row.is_learnt) == ([ASKED], reference, False)


def test_text_stands_alone():
    assert shape_row({"text": "t"}).text == "t"


@pytest.mark.parametrize(
    "values",
    [
        [],
        {},
        {"messages": []},
        {"messages": [{"role": "user"}]},
        {"messages": ["x"]},
        {"prompt": ""},
        {"prompt": "q", "chosen": "a"},
        {"input": "q", "preferred_output": [ANSWERED], "non_preferred_output": [ANSWERED]},
        {"text": 1},
    ],
)
def test_other_rows_are_refused(values):
    with pytest.raises(ValueError, match=r"\w"):
        shape_row(values)


def test_templates_get_text_and_objects():
    (message,) = clean_messages(
        [{"role": "assistant", "content": None, "weight": 0, "tool_calls": [CALL]}]
    )
    assert message["content"] == ""
    assert "weight" not in message
    assert message["tool_calls"][0]["function"] == {"name": "add", "arguments": {"a": 1}}
    assert CALL["function"]["arguments"] == '{"a": 1}'


def test_a_message_says_its_text_or_its_calls():
    assert said(ANSWERED) == "a"
    calls = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    assert said(calls) == '[{"name": "add", "arguments": {"a": 1}}]'
    assert said({"role": "assistant", "content": None}) == ""
