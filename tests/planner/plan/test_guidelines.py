"""Advice to authors: in the words of the task, with examples from the rows; and looking again."""

import json

import pytest

from services.planner.plan.guidelines import examples
from services.planner.plan.sample import Sample
from services.planner.spec.rules import violations
from services.planner.vocabulary import Task
from tests.planner.plans import a_brief, a_spec, facts, plan, sources

ROWS = [
    json.dumps({"prompt": q, "answer": a})
    for q, a in (("My card is lost", "card"), ("Where is my parcel?", "parcel"), ("Hi", "none"))
]


@pytest.mark.parametrize("task", [*Task, ""])
def test_every_task_has_advice_of_its_own_within_the_rules(task):
    used = sources(facts(json_answer_share=0))
    spec = plan(a_brief(task=task), used)
    assert violations(spec) == []
    advice = spec.data.guidelines
    assert len(advice.dos) >= 5
    assert len(advice.donts) >= 3
    assert not task or list(advice.dos) != list(plan(a_brief(), used).data.guidelines.dos)


def test_rows_become_good_examples_and_one_is_spoilt_with_the_reason():
    spec = plan(a_brief(), sources(facts(sample_rows=ROWS, json_answer_share=0)))
    advice = spec.data.guidelines
    assert [each.answer for each in advice.good_examples] == ["card", "parcel", "none"]
    (bad,) = advice.bad_examples
    assert (bad.prompt, bad.answer) == ("My card is lost", "parcel")
    assert bad.reason == "It is the answer to another question."
    assert violations(spec) == []


@pytest.mark.parametrize(
    ("sample", "answer", "reason"),
    [
        (Sample("q", "a", "worse"), "worse", "prefers another answer"),
        (Sample("q", '{"team": "card", "order": 3}', ""), '{"team": "card"}', "'order' is missing"),
        (Sample("q", "yes", ""), "yes, I think, but I am not sure.", "more than was asked"),
        (
            Sample("q", "First read the letter, then answer it in our own words.", ""),
            "First read the letter,",
            "ends in the middle",
        ),
    ],
)
def test_a_bad_example_says_what_is_wrong_with_it(sample, answer, reason):
    _, (bad,) = examples([sample], "")
    assert bad.answer == answer
    assert reason in bad.reason


def test_long_rows_are_cut_and_no_rows_give_no_examples():
    (good,), (bad,) = examples([Sample("q" * 5000, "word " * 5000, "")], "")
    assert max(len(good.prompt), len(good.answer), len(bad.answer)) <= 1000
    assert examples([], "style") == ([], [])


def test_a_result_is_looked_at_again_and_outlives_its_base():
    kept = a_spec().maintenance
    assert kept.reevaluation_interval.seconds == 90 * 24 * 3600
    assert kept.watch_base_model
    assert "85%" in kept.drift_trigger
    assert "150 rows" in kept.drift_trigger
    assert "successor" in kept.when_superseded
