from services.planner.dataset import near_duplicates
from tests.planner.dataset.views import found_in, view, views

FILLER = [("Is the lift working?", "Yes."), ("Where is the exit?", "On the left.")]


def test_other_case_spacing_and_punctuation_are_near_with_an_equal_answer():
    rows = views(*FILLER, ("IS THE LIFT  WORKING", "Yes."), ("where is the exit", "There."))
    (finding,) = near_duplicates.find(rows)
    assert (finding.line, finding.code, finding.field) == (3, "near_duplicate_row", "")
    assert "line 1" in finding.message


def test_rows_equal_throughout_are_another_finding():
    assert near_duplicates.find(views(*FILLER, FILLER[0])) == []


def test_another_system_message_is_another_row():
    rows = [view(1, "water", "eau", system="French."), view(2, "Water", "eau", system="Lower.")]
    assert near_duplicates.find(rows) == []


def test_pairs_of_one_prompt_with_other_rejected_answers_are_wanted():
    rows = [
        view(line, "How early?", "Soon.", rejected=text, shape="preference")
        for line, text in enumerate(("No.", "Maybe."), 1)
    ]
    rows.append(view(3, "Else?", "Soon.", shape="preference"))
    assert near_duplicates.find(rows) == []


def test_one_prompt_in_every_row_is_one_finding_for_the_file():
    rows = views(*(("Write a line.", f"Line {number}.") for number in range(5)))
    (finding,) = near_duplicates.find_identical(rows)
    assert (finding.line, finding.code) == (0, "all_prompts_identical")
    assert finding.field == "messages[0].content"
    assert near_duplicates.find(rows) == []


def test_different_prompts_are_not_identical():
    assert near_duplicates.find_identical(views(*FILLER)) == []
    assert near_duplicates.find_identical([]) == []


def test_texts_are_compared_as_wholes():
    texts = ("One two three.", "one two three", "Four.")
    rows = [view(line, "", text, shape="text") for line, text in enumerate(texts, 1)]
    assert found_in(near_duplicates.find(rows)) == [(2, "near_duplicate_row")]
    assert near_duplicates.find_identical(rows) == []
