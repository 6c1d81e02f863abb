import pytest

from services.planner.dataset import contradictions, labels
from tests.planner.dataset.views import found_in, view, views


def labelled(*counts: tuple[str, int]) -> list:
    pairs = [(label, number) for label, count in counts for number in range(count)]
    return views(*((f"prompt {label} {number}", label) for label, number in pairs))


def test_short_answers_that_repeat_are_labels():
    assert labels.labels(labelled(("b", 3), ("a", 3), ("c", 4))) == [("c", 4), ("a", 3), ("b", 3)]


@pytest.mark.parametrize(
    "answers",
    [
        ["eau", "H2O", "0", "no", "A", "false", "None", "?", "yes", "B"],
        ["It is on the left side.", "It is on the left side."] * 5,
        [str(number * 7) for number in range(30)] * 2,
        ["a\nb"] * 10,
    ],
)
def test_other_answers_are_none(answers):
    assert labels.labels(views(*((f"p{n}", text) for n, text in enumerate(answers)))) == []


def test_a_scale_of_numbers_is_labels():
    rows = views(*((f"p{number}", str(number % 5)) for number in range(50)))
    assert len(labels.labels(rows)) == 5


def test_pairs_have_no_labels():
    rows = [view(line, f"p{line}", "yes", rejected="no", shape="preference") for line in range(9)]
    assert labels.labels(rows) == []


def test_nine_tenths_of_fifty_rows_are_out_of_balance():
    (finding,) = labels.find(labelled(("refund", 45), ("other", 5)))
    assert (finding.line, finding.code) == (0, "label_imbalance")
    assert finding.field == "messages[1].content"
    assert "90%" in finding.message
    assert labels.find(labelled(("refund", 44), ("other", 6))) == []
    assert labels.find(labelled(("refund", 45), ("other", 4))) == []


def test_the_later_row_with_another_label_is_named():
    rows = labelled(("a", 4), ("b", 4))
    rows += [view(20, "Prompt a 1!", "b"), view(21, "prompt a 1", "a")]
    (finding,) = contradictions.find(rows)
    assert found_in([finding]) == [(20, "contradictory_labels")]
    assert "'b' here, and 'a' there" in finding.message


def test_answers_in_sentences_may_differ():
    rows = views(*(("Tell me more.", f"Here is thought number {n}.") for n in range(9)), ("x", "y"))
    assert contradictions.find(rows) == []


def test_the_system_message_is_part_of_the_prompt():
    rows = labelled(("a", 4), ("b", 4))
    rows += [view(20, "q", "a", system="First."), view(21, "q", "b", system="Second.")]
    assert contradictions.find(rows) == []
