"""One table of codes."""

import re

import pytest

from services.planner.plan.notices import NOTICES, WARNING, note, page
from services.planner.plan.wish_notes import SIGNALS


def test_codes_are_codes_and_sentences_are_sentences():
    for code, kind in NOTICES.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]{0,62}", code)
        assert kind.meaning.endswith(".")
        assert kind.when.endswith(".")


def test_a_note_takes_its_severity_from_the_table_and_leaves_out_what_is_unknown():
    made = note("imbalance", field_path="data.dataset", rule="G1", label="a", share=None)
    assert made.severity == WARNING
    assert made.values == {"label": "a"}


def test_an_unknown_code_is_an_error():
    with pytest.raises(KeyError):
        note("no_such_code")


def test_every_signal_leads_to_a_code_of_the_table():
    assert {code for _, code, _ in SIGNALS} <= NOTICES.keys()


def test_the_page_lists_every_code():
    assert all(f"| `{code}` |" in page() for code in NOTICES)
