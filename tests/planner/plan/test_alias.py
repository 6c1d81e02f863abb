"""Names from problems, and parts of datasets."""

import pytest

from services.planner.attachment import assign
from services.planner.plan.alias import derive_alias
from services.planner.spec.rules import ALIAS
from tests.planner.plans import SENTENCE, DatasetFacts, facts


@pytest.mark.parametrize(
    ("problem", "display_name", "alias"),
    [
        (SENTENCE, "train.jsonl", "support-tickets"),
        ("Classify banking questions into 77 intents.", "train.jsonl", "banking-questions"),
        ("Classify it", "Bank Tickets v2.jsonl", "bank-tickets-v2"),
        ("\u60c5\u5831 \u5206\u985e", "train.jsonl", "tuned-model"),
        ("9 lives", "data.jsonl", "tuned-model"),
        ("x" * 500, "rows.jsonl", "x" * 40),
    ],
)
def test_an_alias_is_made_of_the_words_that_tell(problem, display_name, alias):
    assert derive_alias(problem, display_name) == alias
    assert ALIAS.fullmatch(derive_alias(problem, display_name))


def naming(name: str, holdout: str) -> DatasetFacts:
    made = facts(name)
    return DatasetFacts(made.name, made.display_name, made.sha256, holdout, made.report)


def test_what_names_a_hold_out_is_learnt_from():
    held, train = facts("b2", row_count=9000), naming("a1", facts("b2").name)
    parts = assign([held, train])
    assert (parts.dataset, parts.holdout_dataset, parts.notes) == (train.name, held.name, ())


def test_of_two_the_smaller_is_held_out_and_said_so():
    parts = assign([facts("b2", row_count=60), facts("a1", row_count=600)])
    assert (parts.dataset, parts.holdout_dataset) == (facts("a1").name, facts("b2").name)
    assert "hold out b2.jsonl" in parts.notes[0]


def test_of_three_the_rest_is_left_aside_and_said_so():
    parts = assign([facts("a1"), facts("b2", row_count=5), facts("c3", row_count=6)])
    assert (parts.dataset, parts.holdout_dataset) == (facts("a1").name, "")
    assert "b2.jsonl" in parts.notes[0]
