"""Wishes that exclude each other are named, not settled in silence."""

import pytest

from services.planner.brief import Brief
from services.planner.reading.interpreter import DeterministicReader

READER = DeterministicReader(())


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("Every row goes into training, none set aside. Prove it on claims it has never seen.",
         "held out"),
        ("It must quote the clause, and there is to be no search and no document store behind it.",
         "makes sources up"),
        ("The tone changes every week. Train it once and then nothing may be touched.",
         "still changes"),
        ("Nothing may leave our building. Judge with one of the big models hosted elsewhere.",
         "outside service"),
    ],
)  # fmt: skip
def test_wishes_that_exclude_each_other_are_named(message, words):
    assert words in (READER.read(message, Brief()).conflict or "")
