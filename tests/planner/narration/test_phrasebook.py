"""What rules and recipes say in English has words in the other languages."""

import pytest

from services.planner.brief import Brief
from services.planner.narration.phrasebook import said_in
from services.planner.narration.templates import LANGUAGES
from services.planner.plan.decision import decide
from services.planner.plan.propose import propose
from services.planner.plan.recipe import load_recipes
from services.planner.vocabulary import Shape, Signal
from tests.planner.plans import sources

OTHERS = [language for language in LANGUAGES if language != "en"]


def brief(*signals: Signal, **fields) -> Brief:
    return Brief(problem="Answer questions", signals=frozenset(signals), **fields)


BRIEFS = {
    "V2": brief(Signal.VOLATILE_FACTS),
    "V2 sources": brief(Signal.CITATIONS),
    "V3": brief(Signal.FACTS_WANTED, text_megabytes=3.5),
    "V9 chance": brief(Signal.AGREEMENT_BY_CHANCE, data_shape="demonstrations"),
    "V9 rights": brief(Signal.NO_RIGHTS, data_shape="demonstrations", data_row_count=900),
    "V5": brief(Signal.TACIT_JUDGEMENT, data_shape="demonstrations", data_row_count=8),
    "V6d": brief(base_success=0.97, target=0.9, data_row_count=900),
    "V6d words": brief(Signal.PROMPT_SUFFICES),
    "V6c": brief(Signal.UNSETTLED),
    "V6b": brief(Signal.LOW_VOLUME),
    "V6a": brief(Signal.NOTHING_TRIED),
    "V6a once": brief(Signal.ONE_OFF),
    "V4": brief(Signal.PROMPT_FALLS_SHORT, data_shape="demonstrations", data_row_count=5),
    "V8": brief(Signal.PROMPT_FALLS_SHORT, data_shape="demonstrations", data_row_count=30),
    "V7 demonstrations": brief(data_shape="demonstrations", data_row_count=1300),
    "V7 pairs": brief(data_shape="pairs", data_row_count=1300),
    "V7 edited": brief(Signal.EDITED_DRAFTS, data_shape="pairs", data_row_count=1300),
    "V7 thumbs": brief(data_shape="ratings", data_row_count=1300),
    "V7 check": brief(data_shape="prompts_with_check", data_row_count=1300, base_success=0.4),
    "V7 unknown": brief(data_shape="prompts_with_check", data_row_count=1300),
    "V7 rubric": brief(Signal.RUBRIC_AGREED, data_shape="prompts", data_row_count=1300),
    "V7 wished": brief(
        Signal.RUBRIC_AGREED, data_shape="prompts", data_row_count=1300, technique="SFT"
    ),
}


@pytest.mark.parametrize("case", BRIEFS)
def test_what_a_decision_says_is_said_in_every_language(case):
    decision = decide(BRIEFS[case], None, None)
    assert decision.rules[0] == case.split()[0]
    sentences = [decision.reason, *decision.instead, *decision.would_change]
    sentences += [decision.technique_reason] if decision.technique_reason else []
    sentences += [
        each.values["conflict"] for each in decision.notes if each.code == "conflict_named"
    ]
    silent = [text for text in sentences if not all(said_in(other, text) for other in OTHERS)]
    assert silent == []


def test_every_reason_of_a_recipe_is_said_in_every_language():
    reasons = {
        recipe.setting(name, 1000).reason for recipe in load_recipes() for name in recipe.names
    }
    silent = [text for text in reasons if not all(said_in(other, text) for other in OTHERS)]
    assert silent == []


@pytest.mark.parametrize("case", [case for case in BRIEFS if case.startswith("V7")])
def test_every_reason_of_a_plan_is_said_in_every_language(case):
    spec = propose(BRIEFS[case], sources(described=True), decide(BRIEFS[case], None, None))
    reasons = {choice.reason for choice in spec.choices}
    silent = [text for text in reasons if not all(said_in(other, text) for other in OTHERS)]
    assert silent == []


def test_several_sentences_are_said_one_by_one_or_not_at_all():
    text = "The texts themselves show what is wanted; whole rows are learnt."
    both = f"{text} A judge can be talked round, so the model is held to its start."
    assert said_in("es", both).count(".") == 2
    assert said_in("ja", both).count("。") == 2
    assert said_in("es", f"{text} Nobody has translated this.") == ""


def test_gaps_keep_what_stands_in_them_and_translate_what_they_know():
    text = "SFT was asked for, but there are no model answers to learn from."
    kept = said_in("fr", f"{text} The plan follows the data with RLAIF.")
    assert "SFT" in kept
    assert "RLAIF" in kept
    assert said_in("de", "12,000 rows") == "12.000 Zeilen"
    assert said_in("ja", Shape.PAIRS) == "比較の組"
