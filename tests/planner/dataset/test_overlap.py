from services.planner.dataset import overlap
from tests.planner.dataset.views import found_in, view, views

HELD = views(("Is the lift working?", "Yes."), ("Where is the exit?", "On the left."))


def test_the_line_in_the_training_file_is_named_whatever_the_answer():
    rows = views(
        ("Something", "a"), ("Where is the exit?", "Nowhere."), ("is THE lift working", "x")
    )
    findings = overlap.find(rows, HELD)
    assert found_in(findings) == [(2, "train_test_overlap"), (3, "train_test_near_overlap")]
    assert "line 2 of the hold-out" in findings[0].message


def test_a_system_message_that_every_row_has_says_nothing():
    rows = [view(1, "Where is the exit?", system="You help.")]
    assert found_in(overlap.find(rows, HELD)) == [(1, "train_test_overlap")]


def test_system_messages_that_differ_make_other_prompts():
    rows = [view(1, "water", system="In French."), view(2, "water", system="In Dutch.")]
    held = [view(1, "water", system="In Polish."), view(2, "fire", system="In French.")]
    assert overlap.find(rows, held) == []


def test_sums_with_other_signs_are_other_prompts():
    assert overlap.find(views(("2 - 2 =", "0")), views(("2 + 2 =", "4"))) == []


def test_repeats_within_one_file_are_no_overlap():
    rows = views(("Same here", "a"), ("same HERE", "a"))
    assert overlap.find(rows, HELD) == []


def test_rows_with_the_words_of_a_near_one_are_near_too():
    words = "can a traveller with a folding bicycle and two large suitcases "
    words += "go on board of the very last train to the old harbour on a sunday in winter for free "
    words += "or does the conductor ask for a ticket at the"
    rows = views((f"{words} door", "a"), (f"{words.upper()} door!", "b"))
    findings = overlap.find(rows, views((f"{words} end", "c")))
    assert found_in(findings) == [(1, "train_test_near_overlap"), (2, "train_test_near_overlap")]
