"""The comparison by kind of row, the rows that changed most, what training knows, what it cost."""

import pytest

from services.trainer.data.rows import Row
from services.trainer.evaluation.bootstrap import Resampling
from services.trainer.evaluation.general_ability import Ability, compare
from services.trainer.evaluation.general_questions import QUESTIONS
from services.trainer.evaluation.leakage import leakage
from services.trainer.evaluation.overfit import overfit
from services.trainer.evaluation.regressions import SHOWN_MAX, most_changed
from services.trainer.evaluation.slices import ROWS_MIN, SLICES_MAX, slices, terciles

HOW = Resampling(500, 0.95, 0)


def asked(text, answer="yes"):
    return Row(1, [{"role": "user", "content": text}, {"role": "assistant", "content": answer}])


def test_labels_are_slices_the_largest_first_with_their_own_intervals():
    rows = [asked(f"question {index}", "no" if index < 8 else "yes") for index in range(28)]
    base, tuned = [0.0] * 28, [0.0] * 8 + [1.0] * 20
    yes, no = [one for one in slices(rows, base, tuned, HOW) if one.dimension == "label"]
    assert (yes.value, yes.row_count, yes.base_score, yes.tuned_score) == ("yes", 20, 0.0, 1.0)
    assert (no.value, no.row_count, no.difference.value) == ("no", 8, 0.0)


def test_small_slices_are_not_shown_and_large_ones_are_bounded():
    few = [asked(f"q {index}", "rare" if index < ROWS_MIN - 1 else "often") for index in range(20)]
    shown = [one.value for one in slices(few, [0] * 20, [1] * 20, HOW) if one.dimension == "label"]
    assert shown == ["often"]
    many = [asked(f"q {index}", f"label {index % 30}") for index in range(300)]
    shown = [one for one in slices(many, [0] * 300, [1] * 300, HOW) if one.dimension == "label"]
    assert len(shown) == SLICES_MAX


def test_prompts_are_parted_by_length_in_order():
    rows = [asked("word " * (1 + index)) for index in reversed(range(30))]
    found = [one for one in slices(rows, [0.0] * 30, [0.0] * 30, HOW) if one.dimension == "length"]
    assert [(one.value, one.row_count) for one in found] == [
        ("short", 10),
        ("medium", 10),
        ("long", 10),
    ]


def test_prompts_of_one_length_are_not_parted():
    assert set(terciles([5] * 20)) == {"long"}
    assert slices([asked("same")] * 20, [0] * 20, [0] * 20, HOW) == []


def test_languages_are_slices():
    rows = [asked("Where is the exit of this station?")] * 6
    rows += [asked("Wo ist der Ausgang dieses Bahnhofs?")] * 5
    found = slices(rows, [0.0] * 11, [1.0] * 6 + [0.0] * 5, HOW)
    languages = [one for one in found if one.dimension == "language"]
    assert [(one.value, one.tuned_score) for one in languages] == [("en", 1.0), ("de", 0.0)]


def test_the_rows_that_changed_most_come_first_and_ungraded_ones_not_at_all():
    base, tuned = [1.0, 0.5, 0.0, 1.0, None, 0.2], [0.0, 0.0, 1.0, 1.0, 1.0, 0.4]
    assert most_changed(base, tuned) == ([0, 1], [2, 5])
    assert len(most_changed([1.0] * 50, [0.0] * 50)[0]) == SHOWN_MAX


LONG = "My card was charged twice for the same train ticket to the coast last Sunday morning"


def test_known_prompts_are_not_scored_while_enough_others_are_left():
    training = [asked("What is my balance?"), asked("Close my account"), asked(LONG)]
    holdout = [asked("what is my  BALANCE"), asked("Send a card"), asked(f"{LONG} please")]
    found = leakage(training, holdout)
    assert (found.equal, found.near, found.excluded, found.scored) == ([0], [2], True, [1, 2])
    assert "1 of 3 held-out prompts are also training prompts and are not scored" in found.sentence
    assert "nearly equal" in found.sentence


def test_a_hold_out_that_is_mostly_known_is_scored_but_spoilt():
    found = leakage([asked("one"), asked("two")], [asked("one"), asked("two"), asked("three")])
    assert (found.excluded, found.scored, found.spoils) == (False, [0, 1, 2], True)


def test_a_clean_hold_out_has_nothing_to_say():
    found = leakage([asked("one")], [asked("two")])
    assert (found.sentence, found.spoils, found.scored) == ("", False, [0])


def test_near_equals_that_were_not_looked_for_are_told(monkeypatch):
    monkeypatch.setattr("services.trainer.evaluation.leakage.NEAR_ROWS_MAX", 1)
    found = leakage([asked(LONG)], [asked(f"{LONG} please")])
    assert (found.near, found.near_checked) == ([], False)
    assert "Near equals were not looked for: there are over 1 prompts." in found.sentence


COUNT = len(QUESTIONS)


def ability(share, loss=3.0):
    right = round(share * COUNT)
    return Ability(loss, [1] * right + [0] * (COUNT - right))


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        (ability(0.9), ability(0.9), False),
        (ability(0.9), ability(0.5), True),
        (ability(0.9), ability(0.9, 3.19), False),
        (ability(0.9), ability(0.9, 3.3), True),
        (ability(0.9), ability(0.9, float("nan")), True),
        (ability(0.9, None), ability(0.9, None), False),
        # A base that guesses has nothing to lose.
        (ability(0.25, 8.0), ability(0.1, 10.0), False),
    ],
)
def test_ability_is_lost_beyond_the_thresholds_and_only_where_there_was_some(before, after, lost):
    change = compare(before, after, HOW)
    assert change.is_lost is lost
    assert f"Of {COUNT} general questions" in change.sentence


def test_the_suite_has_forty_questions_of_four_different_options():
    assert COUNT == len({question.text for question in QUESTIONS}) == 40
    assert all(len({one.right, *one.wrong}) == 4 for one in QUESTIONS)


def test_rows_learnt_by_heart_are_told_from_luck():
    assert overfit([1.0] * 50, [0.0] * 40 + [1.0] * 60, HOW).is_overfit
    assert not overfit([1.0] * 8 + [0.0] * 2, [1.0] * 7 + [0.0] * 3, HOW).is_overfit
    assert overfit([], [1.0], HOW) is None


def test_where_less_is_better_rows_learnt_by_heart_score_less():
    taught, unseen = [0.0] * 50, [1.0] * 40 + [0.0] * 60
    assert overfit(taught, unseen, HOW, lower_is_better=True).is_overfit
    assert not overfit(unseen, taught, HOW, lower_is_better=True).is_overfit
