"""Decisions as a whole: rules that fired, stages, graders, notes."""

import pytest

from services.planner.plan.decision import decide
from services.planner.plan.grader_choice import choose_graders
from services.planner.plan.technique import DPO, RLAIF, RLVR, SFT
from services.planner.plan.verdict import COLLECT_DATA, FINE_TUNE, PROMPT_FIRST, RETRIEVE
from services.planner.vocabulary import Shape, Signal, Task
from tests.planner.plan.evidence_made import evidence, said, shown


def codes(*signals, dataset=None, holdout=None, **fields) -> set[str]:
    return {note.code for note in decide(said(*signals, **fields), dataset, holdout).notes}


def test_a_plain_sentence_and_a_good_dataset_are_trained_on_with_sft():
    decision = decide(said(), shown("chat", 600, json_answer_share=1.0), None)
    assert decision.recommendation == FINE_TUNE
    assert decision.techniques == (SFT,)
    assert decision.grader_kinds == ("exact_json",)
    assert decision.rules[:3] == ("V7", "T1", "G2")
    assert decision.instead == ()
    assert decision.would_change
    assert not decision.notes


def test_the_same_brief_and_data_give_the_same_decision():
    given = said(Signal.PERSONAL_DATA, Signal.DATA_STAYS_LOCAL, data_shape=Shape.PAIRS)
    assert decide(given, shown(), None) == decide(given, shown(), None)


def test_no_plan_for_harm_and_its_claim_of_authority_is_named():
    decision = decide(said(Signal.HARMFUL, Signal.CLAIMED_AUTHORITY), shown(), None)
    assert decision.recommendation is None
    assert {note.code for note in decision.notes} == {"harmful_declined", "injection_ignored"}


def test_what_is_not_trained_has_no_stages_unless_the_person_insists():
    small = shown(rows=20)
    assert decide(said(), small, None).techniques == ()
    insisted = decide(said(Signal.INSISTS), small, None)
    assert insisted.recommendation == COLLECT_DATA
    assert insisted.techniques == (SFT,)


def test_described_data_count_and_the_rule_says_so():
    decision = decide(said(data_shape=Shape.PAIRS, data_row_count=3400), None, None)
    assert (decision.recommendation, decision.techniques) == (FINE_TUNE, (DPO,))
    assert "C1" in decision.rules


def test_demonstrations_come_before_a_check_that_never_succeeds():
    brief = said(Signal.CHECK_BY_CODE, base_success=0.01, task=Task.CODE)
    decision = decide(brief, shown(), None)
    assert decision.techniques == (SFT, RLVR)
    assert "sft_before_rl" in {note.code for note in decision.notes}


def test_where_all_weights_learn_there_is_one_stage_and_the_reason_says_so():
    brief = said(Signal.CHECK_BY_CODE, base_success=0.01, task=Task.CODE, method="full")
    decision = decide(brief, shown(), None)
    assert decision.techniques == (SFT,)
    assert decision.technique_reason.endswith("a chain trains one adapter.")


@pytest.mark.parametrize(
    ("task", "dataset", "kind"),
    [
        (Task.CLASSIFICATION, shown(labels=[500, 500]), "macro_f1"),
        (Task.EXTRACTION, shown(json_answer_share=1.0), "exact_json"),
        (Task.EXTRACTION, shown(), "exact_match"),
        (Task.EXTRACTION, None, "json_schema"),
        (Task.STYLE, shown(), "score_model"),
        (Task.TOOL_CALLING, shown("tool_calls"), "tool_call"),
        (Task.SUMMARIZATION, shown(), "score_model"),
        (Task.TRANSLATION, shown(), "text_similarity"),
        (Task.STYLE, shown("preference"), "win_rate"),
        (Task.STYLE, shown("prompts_only"), "score_model"),
        (Task.MATH_REASONING, shown("prompts_with_reference"), "math"),
        (Task.CODE, shown("prompts_with_reference"), "unit_tests"),
        (Task.DIALOGUE, shown("prompts_with_reference"), "exact_match"),
        ("", shown(labels=[500, 500]), "macro_f1"),
        ("", shown(mean_answer_token_count=90), "score_model"),
    ],
)
def test_graders_follow_the_task_and_the_shape(task, dataset, kind):
    brief = said(Signal.RUBRIC_AGREED, task=task)
    assert decide(brief, dataset, None).grader_kinds[0] == kind


def test_a_file_of_labels_is_judged_as_labels_even_if_json_was_wished_for():
    brief = said(task=Task.EXTRACTION, output_kind="json")
    decision = decide(brief, shown(labels=[500, 500]), None)
    assert decision.task == Task.CLASSIFICATION
    assert not {"json_schema", "exact_json"} & set(decision.grader_kinds)
    assert "exact_match" in decision.grader_kinds
    assert "data_mismatch" in {note.code for note in decision.notes}


def test_graders_that_were_asked_for_come_first():
    brief = said(task=Task.STYLE, grader_kinds=("rouge_l",))
    kinds = decide(brief, shown(), None).grader_kinds
    assert kinds[0] == "rouge_l"
    assert "score_model" in kinds


def test_a_judge_never_needs_references_that_are_not_there():
    rule, kinds = choose_graders(evidence(dataset=shown("prompts_only")), Task.STYLE, (RLAIF,))
    assert rule == "G8"
    assert "text_similarity" not in kinds


@pytest.mark.parametrize(
    ("signal", "code"),
    [
        (Signal.NO_CONSENT, "consent"),
        (Signal.NO_RIGHTS, "copyright"),
        (Signal.PROVIDER_OUTPUTS, "provider_terms"),
        (Signal.DATA_STAYS_LOCAL, "data_stays_local"),
        (Signal.INFRASTRUCTURE_NAMED, "infrastructure_not_needed"),
        (Signal.CLAIMED_AUTHORITY, "injection_ignored"),
        (Signal.SKIP_APPROVAL, "approval_needed"),
        (Signal.DROP_HOLDOUT, "holdout_required"),
        (Signal.UNSAFE_GRADER, "unsafe_grader"),
        (Signal.REWARD_IS_FORM, "reward_hacking"),
        (Signal.VOLATILE_FACTS, "volatile_knowledge"),
        (Signal.PERSONAL_DATA, "pii"),
        (Signal.LABELS_CONTRADICT, "label_noise"),
        (Signal.AGREEMENT_BY_CHANCE, "label_noise"),
        (Signal.IMBALANCED, "imbalance"),
        (Signal.CONFLICTING_WISHES, "conflict_named"),
    ],
)
def test_what_was_noticed_is_pointed_out(signal, code):
    assert code in codes(signal, dataset=shown())
    assert code not in codes(dataset=shown())


@pytest.mark.parametrize(
    ("dataset", "code"),
    [
        (shown(rows=49), "data_too_small"),
        (shown(rows=199), "holdout_too_small"),
        (shown(rows=20), "holdout_too_small"),
        (shown(duplicate_row_count=100), "duplicates"),
        (shown(labels=[800, 200]), "imbalance"),
        (shown("mixed"), "mixed_format"),
        (shown("unknown", valid=False, valid_row_count=0), "data_invalid"),
        (shown(labels=[500, 500], contradictory_row_count=60), "label_noise"),
        (shown("ratings"), "thumbs_unpaired"),
        (shown(found=[("prompt_injection_text", 2)]), "suspicious_rows"),
        (shown(found=[("prompt_injection_text", 2)]), "injection_ignored"),
        (shown(found=[("pii_email", 3)]), "pii"),
        (shown(holdout_overlap_count=3), "holdout_overlap"),
        (
            shown("preference", mean_answer_token_count=200, mean_rejected_token_count=100),
            "length_bias",
        ),
    ],
)
def test_what_the_report_shows_is_pointed_out(dataset, code):
    assert code in codes(dataset=dataset)


@pytest.mark.parametrize(
    ("dataset", "code"),
    [
        (shown(rows=200), "holdout_too_small"),
        (shown(rows=50), "data_too_small"),
        (shown(duplicate_row_count=90), "duplicates"),
        (shown(labels=[790, 210]), "imbalance"),
        (shown("ratings", contradictory_row_count=400), "thumbs_unpaired"),
        (
            shown("preference", mean_answer_token_count=199, mean_rejected_token_count=100),
            "length_bias",
        ),
    ],
)
def test_below_the_threshold_nothing_is_said(dataset, code):
    assert code not in codes(dataset=dataset)


def test_wishes_take_warnings_away():
    long = shown("preference", mean_answer_token_count=200, mean_rejected_token_count=100)
    assert "length_bias" not in codes(Signal.WANTS_LENGTH, dataset=long)
    removed = (Signal.PERSONAL_DATA, Signal.PERSONAL_DATA_REMOVED)
    assert "pii" not in codes(*removed, dataset=shown())
    rubric = {"dataset": shown("prompts_only")}
    assert "judge_calibration" in codes(Signal.RUBRIC_AGREED, **rubric)
    calibrated = (Signal.RUBRIC_AGREED, Signal.JUDGE_CALIBRATED)
    assert "judge_calibration" not in codes(*calibrated, **rubric)


def test_a_separate_hold_out_is_judged_by_its_own_size():
    assert "holdout_too_small" not in codes(dataset=shown(rows=150), holdout=shown(rows=150))
    assert "holdout_too_small" in codes(dataset=shown(rows=900), holdout=shown(rows=30))


@pytest.mark.parametrize(
    ("fields", "dataset"),
    [
        ({"data_shape": Shape.PAIRS}, shown("chat")),
        ({"data_row_count": 10_000}, shown(rows=900)),
    ],
)
def test_a_file_that_is_not_what_was_said(fields, dataset):
    assert "data_mismatch" in codes(dataset=dataset, **fields)


def test_rows_in_another_language_than_was_said():
    german = shown(languages=[{"language": "de", "share": 0.95}])
    assert "data_mismatch" in codes(dataset=german, languages=("fr",))
    assert "data_mismatch" not in codes(dataset=german, languages=("fr", "de"))


@pytest.mark.parametrize(
    ("given", "task"),
    [
        ({"dataset": shown(labels=[500, 500])}, Task.CLASSIFICATION),
        ({"dataset": shown("tool_calls")}, Task.TOOL_CALLING),
        ({"dataset": shown("preference")}, Task.GENERATION),
        ({"dataset": shown(mean_answer_token_count=90)}, Task.GENERATION),
        ({"dataset": shown(mean_answer_token_count=3)}, ""),
        ({"data_shape": Shape.DEMONSTRATIONS}, Task.GENERATION),
        ({"grader_kinds": ("unit_tests",)}, Task.CODE),
    ],
)
def test_the_rest_shows_a_task_that_the_words_leave_open(given, task):
    dataset = given.pop("dataset", None)
    assert decide(said(**given), dataset, None).task == task


def test_facts_are_asked_for_by_questions():
    brief = said(Signal.VOLATILE_FACTS, task=Task.GENERATION)
    assert decide(brief, None, None).task == Task.QUESTION_ANSWERING


def test_labels_in_the_rows_are_no_free_text():
    labelled = shown(labels=[900, 100])
    assert decide(said(task=Task.DIALOGUE), labelled, None).task == Task.CLASSIFICATION


def test_retrieval_says_what_training_cannot_do():
    decision = decide(said(Signal.VOLATILE_FACTS, Signal.NO_ACCESS), None, None)
    found = {note.code for note in decision.notes}
    assert decision.recommendation == RETRIEVE
    assert found >= {"facts_not_behaviour", "volatile_knowledge", "conflict_named"}


def test_a_target_that_is_met_is_told_with_its_figures():
    decision = decide(said(base_success=0.965, target=0.95), shown(rows=800), None)
    assert decision.recommendation == PROMPT_FIRST
    (met,) = [note for note in decision.notes if note.code == "base_already_sufficient"]
    assert met.values == {"share": "96.5%", "target": "95%", "rows": "800"}
