from services.planner.dataset import boilerplate
from tests.planner.dataset.views import views

OPENING = "Thank you for writing to our help desk today,"


def answers(*texts: str) -> list:
    return views(*((f"question {number}", text) for number, text in enumerate(texts)))


def others(count: int) -> list[str]:
    return [f"{chr(97 + n)} answer that says what it says in ten words" for n in range(count)]


def test_many_answers_that_open_alike_are_one_finding():
    alike = [f"{OPENING} and here is thought {number}." for number in range(10)]
    (finding,) = boilerplate.find(answers(*alike, *others(5)))
    assert (finding.line, finding.code) == (0, "boilerplate_answers")
    assert finding.message == "10 of 15 answers begin with the same 6 words."


def test_few_rows_or_a_small_share_are_none():
    alike = [f"{OPENING} and here is thought {number}." for number in range(9)]
    assert boilerplate.find(answers(*alike)) == []
    assert boilerplate.find(answers(*alike, alike[0], *others(26) * 2)) == []
    assert boilerplate.find([]) == []


def test_labels_and_structured_answers_open_alike_by_their_form():
    assert boilerplate.find(answers(*["refund"] * 20)) == []
    row = '{"a": "one two three", "b": "four five six seven", "c": "eight nine"}'
    assert boilerplate.find(answers(*[row] * 20)) == []
