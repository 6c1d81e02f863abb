"""How to train follows the data, then what was asked for."""

import pytest
from attune.spec.v1 import stage_pb2

from services.planner.plan.technique import (
    DPO,
    RLAIF,
    RLVR,
    SFT,
    choose_method,
    choose_technique,
)
from services.planner.vocabulary import Shape, Signal, Task
from tests.planner.plan.evidence_made import evidence, shown


def chosen(*signals, **given):
    choice = choose_technique(evidence(*signals, **given))
    return choice.rule, choice.techniques


@pytest.mark.parametrize(
    ("signals", "given", "expected"),
    [
        ((), {"dataset": shown("chat")}, ("T1", (SFT,))),
        ((), {"data_shape": Shape.DEMONSTRATIONS}, ("T1", (SFT,))),
        ((Signal.EDITED_DRAFTS,), {"dataset": shown("prompt_completion")}, ("T1", (SFT,))),
        ((), {"dataset": shown("preference")}, ("T2", (DPO,))),
        ((), {"data_shape": Shape.PAIRS}, ("T2", (DPO,))),
        ((), {"dataset": shown("ratings")}, ("T3", (SFT,))),
        ((), {"dataset": shown("ratings", contradictory_row_count=500)}, ("T3", (DPO,))),
        ((), {"dataset": shown("prompts_with_reference")}, ("T4", (RLVR,))),
        ((Signal.CHECK_BY_CODE,), {"dataset": shown("prompts_only")}, ("T4", (RLVR,))),
        (
            (Signal.CHECK_BY_CODE,),
            {"dataset": shown("prompt_completion"), "base_success": 0.02},
            ("T5", (SFT, RLVR)),
        ),
        (
            (Signal.CHECK_BY_CODE,),
            {"dataset": shown("prompt_completion"), "base_success": 0.4},
            ("T6", (SFT,)),
        ),
        ((Signal.RUBRIC_AGREED,), {"dataset": shown("prompts_only")}, ("T7", (RLAIF,))),
        ((Signal.REWARD_IS_FORM,), {"dataset": shown("prompts_only")}, ("T4", (RLVR,))),
        ((), {"dataset": shown("prompts_only"), "technique": "RLAIF"}, ("T7", (RLAIF,))),
        ((), {"dataset": shown("prompts_only")}, ("", ())),
        ((), {"dataset": shown("prompts_with_reference"), "base_success": 0.0}, ("", ())),
        ((), {"data_shape": Shape.NONE}, ("", ())),
    ],
)
def test_the_data_pick_the_technique(signals, given, expected):
    assert chosen(*signals, **given) == expected


def test_the_report_wins_over_the_words():
    assert chosen(data_shape=Shape.PAIRS, dataset=shown("chat")) == ("T1", (SFT,))


def test_t8_what_was_asked_for_is_kept_when_the_data_allow_it():
    assert chosen(technique="SFT", dataset=shown("preference")) == ("T8", (SFT,))
    given = {"technique": "RLVR", "dataset": shown("chat"), "base_success": 0.4}
    assert chosen(Signal.CHECK_BY_CODE, **given) == ("T8", (RLVR,))


@pytest.mark.parametrize(
    ("wished", "dataset", "kept"),
    [
        ("DPO", shown("chat"), SFT),
        ("SFT", shown("prompts_with_reference"), RLVR),
        ("RLVR", shown("preference"), DPO),
        ("KTO", shown("ratings"), SFT),
        ("pretraining", shown("text"), SFT),
    ],
)
def test_t8_what_the_data_do_not_allow_is_named_and_not_done(wished, dataset, kept):
    choice = choose_technique(evidence(technique=wished, dataset=dataset))
    assert choice.techniques == (kept,)
    assert wished in choice.conflict


def test_t8_free_text_has_no_check_by_code_whatever_is_wished():
    wish = {"technique": "RLVR", "task": Task.STYLE, "dataset": shown("chat")}
    choice = choose_technique(evidence(Signal.CHECK_BY_CODE, **wish))
    assert choice.techniques == (SFT,)
    assert "RLVR" in choice.conflict


def test_everything_else_is_rejected_with_a_reason():
    choice = choose_technique(evidence(dataset=shown("ratings")))
    assert {"DPO", "RLVR", "RLAIF", "KTO", "QLoRA", "DoRA", "full fine-tuning"} == set(
        choice.rejected
    )
    assert all(reason.endswith(".") for reason in choice.rejected.values())


@pytest.mark.parametrize(
    ("said", "method"),
    [
        ("", stage_pb2.METHOD_LORA),
        ("QLoRA", stage_pb2.METHOD_QLORA),
        ("DoRA", stage_pb2.METHOD_DORA),
        ("full", stage_pb2.METHOD_FULL),
    ],
)
def test_lora_unless_something_else_was_said(said, method):
    assert choose_method(evidence(method=said)) == method
