"""The verdict's rules, one after the other, and the order in which they win."""

import pytest

from services.planner.plan.technique import choose_technique
from services.planner.plan.verdict import (
    COLLECT_DATA,
    FINE_TUNE,
    PROMPT_FIRST,
    RETRIEVE,
    VERDICT_RULES,
    judge,
)
from services.planner.vocabulary import Shape, Signal, Task
from tests.planner.plan.evidence_made import ERROR, evidence, shown


def ruled(*signals, **given):
    """Return the rule that wins and its advice."""
    found = evidence(*signals, **given)
    rule, advice = judge(found, choose_technique(found))
    return rule.id, advice.recommendation


def test_the_table_has_the_rules_in_their_order():
    order = [rule.id for rule in VERDICT_RULES]
    assert order == ["V1", "V2", "V3", "V9", "V5", "V6d", "V6c", "V6b", "V6a", "V4", "V8", "V7"]


@pytest.mark.parametrize("signal", [Signal.HARMFUL, Signal.OUT_OF_SCOPE])
def test_v1_leaves_no_plan_whatever_the_data(signal):
    assert ruled(signal, Signal.VOLATILE_FACTS, dataset=shown()) == ("V1", None)


def test_v1_a_greeting_is_no_request_but_one_that_follows_is():
    assert ruled(Signal.ASKS_CAPABILITY, problem="") == ("V1", None)
    assert ruled(Signal.ASKS_CAPABILITY, dataset=shown()) == ("V7", FINE_TUNE)


@pytest.mark.parametrize("signal", [Signal.VOLATILE_FACTS, Signal.CITATIONS])
def test_v2_facts_that_change_are_retrieved_however_many_rows_there_are(signal):
    assert ruled(signal, dataset=shown(rows=50_000)) == ("V2", RETRIEVE)


def test_v3_a_small_body_of_facts_is_retrieved_and_a_large_one_is_not():
    assert ruled(Signal.FACTS_WANTED, text_megabytes=6.0) == ("V3", RETRIEVE)
    large = shown("text", rows=20_000, total_token_count=20_000_000)
    assert ruled(Signal.FACTS_WANTED, dataset=large) == ("V7", FINE_TUNE)


def test_v3_documents_for_answering_questions_are_facts():
    given = {"task": Task.QUESTION_ANSWERING, "data_shape": Shape.TEXT}
    assert ruled(**given) == ("V3", RETRIEVE)
    assert ruled(task=Task.STYLE, dataset=shown("text")) == ("V7", FINE_TUNE)


@pytest.mark.parametrize(
    "given",
    [
        {"dataset": shown("unknown", 900, valid=False, valid_row_count=0)},
        {
            "dataset": shown(
                rows=900, valid=False, valid_row_count=300, found=[("invalid_json", 600, ERROR)]
            )
        },
        {"dataset": shown("prompts_only"), "data_shape": Shape.DEMONSTRATIONS},
        {"dataset": shown(labels=[500, 500], contradictory_row_count=600)},
        {"dataset": shown(distinct_answer_count=1)},
        {"dataset": shown(holdout_overlap_count=60)},
    ],
)
def test_v9_rows_that_cannot_be_used(given):
    assert ruled(**given) == ("V9", COLLECT_DATA)


@pytest.mark.parametrize(
    "signal", [Signal.AGREEMENT_BY_CHANCE, Signal.NO_RIGHTS, Signal.NO_CONSENT]
)
def test_v9_comes_before_low_volume(signal):
    assert ruled(signal, Signal.LOW_VOLUME, dataset=shown()) == ("V9", COLLECT_DATA)


def test_v9_answers_nobody_claimed_are_not_missing():
    rubric = {"dataset": shown("prompts_only"), "data_shape": Shape.DEMONSTRATIONS}
    assert ruled(Signal.NO_DEMONSTRATIONS, Signal.RUBRIC_AGREED, **rubric) == ("V7", FINE_TUNE)


def test_v9_a_few_bad_lines_do_not_decide():
    some = shown(rows=900, valid=False, valid_row_count=890, found=[("invalid_json", 10, ERROR)])
    assert ruled(dataset=some) == ("V7", FINE_TUNE)


def test_v5_judgement_that_is_not_recorded():
    assert ruled(Signal.TACIT_JUDGEMENT, dataset=shown(rows=8)) == ("V5", COLLECT_DATA)
    assert ruled(Signal.TACIT_JUDGEMENT, dataset=shown()) == ("V7", FINE_TUNE)


def test_v5_a_check_that_never_succeeds_without_demonstrations():
    given = {"dataset": shown("prompts_with_reference"), "base_success": 0.01}
    assert ruled(**given) == ("V5", COLLECT_DATA)
    assert ruled(**{**given, "base_success": 0.3}) == ("V7", FINE_TUNE)


def test_v5_inputs_without_answers_after_prompting_fell_short():
    given = {"data_shape": Shape.PROMPTS, "data_row_count": 30_000}
    assert ruled(Signal.PROMPT_FALLS_SHORT, **given) == ("V5", COLLECT_DATA)
    assert ruled(Signal.NOTHING_TRIED, **given) == ("V6a", PROMPT_FIRST)


def test_v6d_a_target_that_is_met():
    given = {"base_success": 0.965, "target": 0.95}
    assert ruled(dataset=shown(rows=800), **given) == ("V6d", PROMPT_FIRST)
    assert ruled(dataset=shown(rows=800), **{**given, "target": 0.98}) == ("V7", FINE_TUNE)


def test_v6d_a_target_met_on_a_handful_may_be_chance():
    few = shown(rows=60)
    assert ruled(dataset=few, base_success=0.92, target=0.9) == ("V7", FINE_TUNE)


def test_v6d_a_share_of_mistakes_is_no_target_that_is_met():
    assert ruled(dataset=shown(), base_success=0.2, target=0.05) == ("V7", FINE_TUNE)


def test_v6d_what_is_good_but_too_slow_or_too_large_is_still_trained():
    given = {"dataset": shown(), "base_success": 0.97}
    assert ruled(Signal.HIGH_VOLUME, Signal.PROMPT_SUFFICES, **given) == ("V7", FINE_TUNE)
    assert ruled(Signal.DEVICE_SMALL, **given) == ("V7", FINE_TUNE)


def test_v6c_and_v6b():
    assert ruled(Signal.UNSETTLED, dataset=shown()) == ("V6c", PROMPT_FIRST)
    assert ruled(Signal.LOW_VOLUME, dataset=shown()) == ("V6b", PROMPT_FIRST)
    short = ruled(Signal.LOW_VOLUME, Signal.PROMPT_FALLS_SHORT, dataset=shown())
    assert short == ("V7", FINE_TUNE)


def test_v6a_done_once_or_nothing_to_train_on():
    assert ruled(Signal.ONE_OFF, dataset=shown()) == ("V6a", PROMPT_FIRST)
    assert ruled(Signal.NOTHING_TRIED, data_row_count=3) == ("V6a", PROMPT_FIRST)
    assert ruled(data_shape=Shape.NONE) == ("V6a", PROMPT_FIRST)


def test_v4_and_v8_too_few():
    assert ruled(dataset=shown(rows=8)) == ("V4", COLLECT_DATA)
    assert ruled(Signal.PROMPT_FALLS_SHORT, data_shape=Shape.NONE) == ("V4", COLLECT_DATA)
    assert ruled(dataset=shown(rows=49)) == ("V8", COLLECT_DATA)
    assert ruled(dataset=shown("preference", rows=150)) == ("V8", COLLECT_DATA)


@pytest.mark.parametrize(
    ("format", "rows", "signals"),
    [
        ("chat", 50, ()),
        ("preference", 200, ()),
        ("prompts_with_reference", 100, ()),
        ("prompts_only", 200, (Signal.RUBRIC_AGREED,)),
    ],
)
def test_v7_enough_of_a_trainable_shape(format, rows, signals):
    assert ruled(*signals, dataset=shown(format, rows)) == ("V7", FINE_TUNE)


def test_repeats_do_not_count():
    assert ruled(dataset=shown(rows=60, duplicate_row_count=20)) == ("V8", COLLECT_DATA)


AGAINST = [
    ("V2", (Signal.CITATIONS,), {}),
    ("V3", (Signal.FACTS_WANTED,), {}),
    ("V9", (Signal.NO_RIGHTS,), {}),
    ("V5", (Signal.TACIT_JUDGEMENT,), {}),
    ("V6d", (Signal.PROMPT_SUFFICES,), {}),
    ("V6c", (Signal.UNSETTLED,), {}),
    ("V6b", (Signal.LOW_VOLUME,), {}),
    ("V6a", (Signal.NOTHING_TRIED,), {}),
    ("V4", (Signal.PROMPT_FALLS_SHORT,), {}),
    ("V8", (), {"dataset": shown(rows=20)}),
]


@pytest.mark.parametrize(("rule_id", "signals", "given"), AGAINST)
def test_advice_against_training_says_what_to_do_and_what_would_change_it(rule_id, signals, given):
    found = evidence(*signals, **given)
    won, advice = judge(found, choose_technique(found))
    assert won.id == rule_id
    assert 1 <= len(advice.instead) <= 6
    assert 1 <= len(advice.would_change) <= 6
