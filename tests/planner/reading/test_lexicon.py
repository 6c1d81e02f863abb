"""Phrases: how they are written, and that every one of every file can be searched for."""

import pytest

from services.planner.reading.lexicon import LANGUAGES, Phrase, fold, lexicon, read_lexicon
from services.planner.vocabulary import Shape, Signal, Task

FILE = """
negation: "no; not"
groups:
  signals:
    shouting: |
      loud* (voice|tone)?; (very|so)+ noisy; !no whisper*
"""


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_phrase_is_a_pattern_that_matches_something(language):
    for names in lexicon(language).groups.values():
        for phrases in names.values():
            for phrase in phrases:
                assert phrase.pattern.search("") is None, phrase.source


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_files_name_only_what_the_vocabulary_knows(language):
    groups = lexicon(language).groups
    extra = {
        "answers_missing",
        "harmful_purpose",
        "harmful_making",
        "harmless_context",
        "other_media",
        "never_succeeds",
        "facts_by_heart",
        "form_only",
        "form_rules",
    }
    assert set(groups["tasks"]) <= {task.value for task in Task}
    assert set(groups["signals"]) <= {signal.value for signal in Signal} | extra
    weak = {"demonstrations_weak", "demonstrations_loose"}
    assert set(groups["shapes"]) <= {shape.value for shape in Shape} | weak


@pytest.mark.parametrize(
    ("source", "text", "found"),
    [
        ("label*", "labelled", True),
        ("label", "labelled", False),
        ("labels?", "label", True),
        ("before (the)? (edit|review)", "before the edit", True),
        ("before (the)? (edit|review)", "before review", True),
        ("before (the)? (edit|review)", "before an edit", False),
        ("price .. monday", "the price list of each monday", True),
        ("price .. monday", "price " + "x" * 60 + " monday", False),
        ("# rows", "4,500 rows", True),
        ("hold out", "hold-out", True),
        ("(a|the)+ end", "the a end", True),
        ("在庫", "最新の在庫です", True),
    ],
)
def test_marks_mean_what_the_page_says(source, text, found):
    assert any(Phrase(source).find(fold(text))) is found


def test_a_negation_close_before_a_phrase_turns_it_round(tmp_path):
    path = tmp_path / "lexicon_xx.yaml"
    path.write_text(FILE)
    words = read_lexicon("en", path)
    says = lambda text: any(words.matches("signals", "shouting", fold(text)))  # noqa: E731
    assert says("a loud voice")
    assert says("so very noisy")
    assert not says("this is not a loud voice")
    assert says("no, a loud voice")
    assert says("there is no whispering")


def test_folding_keeps_the_length_and_drops_accents_and_wide_forms():
    text = "Größe \uff25xämple \u2013 \u201cquoted\u201d naïve \uff12,100 が"
    assert len(fold(text)) == len(text)
    assert fold("\uff25xämple") == "example"
    assert fold("が") == "が"
