"""What is said of plans, changes and reasons."""

import pytest
from attune.spec.v1 import spec_pb2, stage_pb2

from services.planner import narration
from services.planner.narration.templates import LANGUAGES
from services.planner.plan.decision import Decision
from services.planner.plan.notices import note
from services.planner.plan.policy import Question
from services.planner.spec.edit import diff
from tests.planner.narration.spoken_plan import (
    ALPHA,
    BETA,
    EPOCHS,
    RANK,
    RATE,
    TARGET,
    a_plan,
    a_stage,
    advised_against,
    set_by_user,
)


def test_a_plan_is_said_with_its_figures_its_price_and_that_nothing_runs():
    said = narration.present(a_plan(), [], "en")
    for part in (
        "I advise fine-tuning. 1,300 demonstrations show",
        "I propose to customise Qwen/Qwen3-8B (8.2 billion parameters) by supervised fine-tuning",
        "with LoRA (a small adapter, the base stays as it is)",
        "1,300 of your rows",
        "150 that it never sees",
        "the share of exactly right answers is at least 85%",
        "about 2.5 hours and cost about $12.50",
        "Nothing runs before you approve revision 1.",
    ):
        assert part in said


def test_a_plan_without_training_says_what_to_do_instead_and_what_would_change_it():
    said = narration.present(advised_against(), [note("volatile_knowledge")], "en")
    assert "not to train but to look the facts up" in said
    assert "Do this instead:\n- Keep the facts in a store" in said
    assert "What would change my mind:\n- If tone or format" in said
    assert "trains nothing" in said
    assert "I propose" not in said
    assert "before you approve" not in said


@pytest.mark.parametrize("language", [each for each in LANGUAGES if each != "en"])
@pytest.mark.parametrize(
    "rule", ["V2", "V3", "V4", "V5", "V6a", "V6b", "V6c", "V6d", "V7", "V8", "V9", "X"]
)
def test_the_advice_is_never_in_english_elsewhere(language, rule):
    spec = advised_against(rule)
    spec.verdict.reason = "A sentence that nobody has translated."
    spec.verdict.instead[:] = ["Another such sentence."]
    said = narration.present(spec, [], language)
    assert "nobody" not in said
    assert "Another" not in said
    assert said.count("\n- ") == 2


def test_a_notice_does_not_say_the_reason_of_the_verdict_again():
    notes = [note("volatile_knowledge"), note("facts_not_behaviour")]
    said = narration.present(advised_against(), notes, "en")
    assert "facts behind these answers" not in said
    assert "Training teaches a model how to behave" in said
    assert "facts behind these answers" in narration.present(a_plan(), notes, "en")


def test_who_insists_gets_the_plan_after_the_advice():
    spec = advised_against()
    spec.stages.append(a_stage())
    said = narration.present(spec, [], "en")
    assert "If you want to go on all the same" in said
    assert said.index("My advice") < said.index("I propose to customise")


def test_a_provisional_plan_asks_for_the_file_before_approval():
    spec = a_plan()
    spec.data.provisional, spec.data.dataset = True, ""
    assert "needs the file first" in narration.present(spec, [], "en")
    assert "needs the file first" in narration.agree(spec, "en")


def test_what_cannot_run_says_what_is_missing():
    spec = a_plan()
    spec.compute.available = False
    spec.compute.missing.append("No node has org/big. Bring it there.")
    assert "It cannot run right now: No node has org/big." in narration.present(spec, [], "en")
    assert "„No node has org/big." in narration.present(spec, [], "de")


def test_several_stages_are_said_in_order():
    spec = a_plan()
    second = a_stage()
    second.technique = stage_pb2.TECHNIQUE_RLVR
    spec.stages.append(second)
    said = narration.present(spec, [], "en")
    assert said.index("supervised") < said.index(", then reinforcement learning with a check")


def test_values_of_the_person_are_repeated():
    spec = set_by_user(a_plan(), RANK, "rank 16")
    assert "Set by you: adapter rank 16." in narration.present(spec, [], "en")
    assert "Von Ihnen festgelegt: Rang des Adapters 16." in narration.present(spec, [], "de")


def test_the_gravest_notice_comes_first_and_none_twice():
    notes = [note("reason_given"), note("provisional"), note("duplicates"), note("duplicates")]
    said = narration.present(a_plan(), notes, "en")
    listed = [line for line in said.splitlines() if line.startswith("- ")]
    assert listed[0].startswith("- These figures are what you told me")
    assert len(listed) == 2


def refined() -> tuple[spec_pb2.Spec, spec_pb2.Spec]:
    before, after = a_plan(), a_plan()
    after.revision = 2
    after.stages[0].hyperparameters.lora.rank = 64
    after.stages[0].hyperparameters.epoch_count = 2
    return before, set_by_user(after, RANK, "Change rank to 64")


def test_a_change_is_told_with_its_reason_and_what_followed():
    before, after = refined()
    said = narration.refine(after, diff(before, after), [], "en")
    assert "Revision 2 changes:\n  Adapter rank: 16 → 64\n" in said
    assert "This follows from it:\n  Epochs: 3 → 2 (Few rows need more passes)" in said
    assert "It should take about 2.5 hours" in said
    assert said.endswith("Nothing runs before you approve revision 2.")


def test_in_other_languages_the_source_stands_for_the_english_reason():
    before, after = refined()
    said = narration.refine(after, diff(before, after), [], "de")
    assert "Rang des Adapters: 16 → 64\n" in said
    assert "Epochen: 3 → 2 (bewährtes Rezept, sft-lora/9b: OpenAI cookbook)" in said


def test_what_only_follows_is_not_listed_and_many_graders_are_one_line():
    before, after = refined()
    after.data.dataset_sha256 = "cd" * 32
    after.base_model.licence = "apache-2.0"
    judge = after.evaluation.graders.add(name="judge")
    judge.score_model.model = "m"
    judge.score_model.input.add(role="user", content="long prompt " * 100)
    said = narration.refine(after, diff(before, after), [], "en")
    assert "sha256" not in said
    assert "licence" not in said
    assert "Graders of the evaluation: now exact_match, judge" in said
    assert "long prompt" not in said


def test_a_judge_that_changes_is_told_and_graders_are_explained_by_name():
    before, after = refined()
    for spec in (before, after):
        judge = spec.evaluation.graders.add(name="judge")
        judge.score_model.model = "org/small"
        judge.score_model.input.add(role="user", content="long prompt " * 100)
    after.evaluation.graders[1].score_model.model = "org/large"
    said = narration.refine(after, diff(before, after), [], "en")
    assert "Judge model: org/small → org/large" in said
    after.choices.add(field_path="evaluation.graders", reason="The whole answer must be right.")
    explained = narration.explain(after, ["evaluation.graders"], "de")
    assert "Prüfungen der Bewertung: exact_match, judge." in explained


def test_long_text_of_a_plan_is_quoted():
    spec = a_plan()
    spec.objective.problem = "Route the tickets of our customers " * 20
    spec.choices.add(field_path="objective.problem", reason="It is what the model is for.")
    said = narration.explain(spec, ["objective.problem"], "es")
    assert "Problema: «Route the tickets" in said
    assert "Para eso es el modelo." in said


def test_a_stage_that_comes_or_goes_is_one_line():
    before, after = a_plan(), a_plan()
    after.stages.append(a_stage())
    added = narration.refine(after, diff(before, after), [], "en")
    assert "Training stage 2 is added: supervised fine-tuning" in added
    dropped = narration.refine(before, diff(after, before), [], "en")
    assert "Training stage 2 is dropped" in dropped
    assert len(dropped.splitlines()) < 8


def test_a_verdict_that_turns_is_said_with_its_reason():
    before, after = a_plan(), advised_against()
    said = narration.refine(after, diff(before, after), [], "en")
    assert "Advice: fine-tune → look facts up instead" in said
    assert "Keep the facts in a store" in said


def test_a_missed_deadline_is_said():
    spec = a_plan()
    spec.limits.deadline.FromSeconds(7200)
    assert "longer than your deadline of 2 hours" in narration.present(spec, [], "en")
    spec.limits.deadline.FromSeconds(4 * 3600)
    assert "within your deadline of 4 hours" in narration.present(spec, [], "en")


def test_an_explanation_gives_value_range_source_and_reason_from_the_plan():
    said = narration.explain(a_plan(), [RATE, EPOCHS], "en")
    assert "Learning rate: 0.0002. Allowed: 0 to 0.1." in said
    assert (
        "Why: Small adapters bear higher rates than all weights, and larger models lower ones."
        in said
    )
    assert "Source: a recipe (sft-lora/9b: AWS SageMaker recipes 2.0)." in said
    assert "Epochs: 3." in said


def test_an_explanation_of_a_changed_value_says_what_i_would_choose():
    spec = set_by_user(a_plan(), RATE, "lr 2e-3")
    spec.stages[0].hyperparameters.learning_rate = 2e-3
    said = narration.explain(spec, [RATE], "en")
    assert "Learning rate: 0.002. I would choose 0.0002." in said
    assert "Source: your own choice (you said: “lr 2e-3”)." in said


def test_a_concept_is_explained_though_the_plan_does_not_use_it():
    said = narration.explain(a_plan(), [BETA], "en")
    assert "Beta has no value in this plan. Beta says how closely" in said


def test_a_block_stands_for_its_choices_and_nothing_for_those_that_decide_most():
    block = narration.explain(a_plan(), ["stages.0.hyperparameters"], "en")
    assert all(name in block for name in ("Learning rate", "Epochs", "Adapter rank"))
    leading = narration.explain(a_plan(), [], "en")
    assert "I advise fine-tuning." in leading
    assert "Decided by rule V7, D5." in leading
    assert "Base model: Qwen/Qwen3-8B." in leading


def test_a_field_that_no_plan_has_is_said_to_be_none():
    assert "holds no choice of that name" in narration.explain(a_plan(), ["no.such.field"], "en")


def test_an_expert_names_far_values_thin_data_and_a_coarse_hold_out():
    spec = set_by_user(a_plan(), RATE, "lr 2e-3")
    spec.stages[0].hyperparameters.learning_rate = 2e-3
    spec.data.train_row_count, spec.data.holdout_row_count = 80, 20
    spec.data.minimum_detectable_difference = 0
    spec.objective.success_criteria[0].ClearField("target")
    said = narration.expert_review(spec, [note("duplicates", rows=30), note("reason_given")], "en")
    assert "Learning rate: 0.002. I would choose 0.0002; that is a factor of 10." in said
    assert "80 rows to learn from" in said
    assert "20 rows are held out: a difference below about 22%" in said
    assert "No target is set" in said
    assert "30 rows repeat" in said
    assert "Here is why" not in said


def test_an_expert_who_finds_nothing_names_the_three_choices_that_matter_most():
    said = narration.expert_review(a_plan(), [], "en")
    assert "nothing to correct" in said
    assert said.count("\n- ") == 3


def test_a_question_comes_after_what_there_is_to_say():
    question = Question("success_metric", TARGET, ("0.7", "planner_decides"))
    said = narration.ask(question, [note("duplicates", rows=30)], "en")
    assert said.index("30 rows") < said.index("Which share of exactly right answers would make")
    assert said.endswith("whether prompting alone would do.")
    assert narration.question_text(question, "en")[2] == ("70%", "You decide")


def test_two_wishes_are_asked_about_in_words_of_their_own():
    text, _, _ = narration.question_text(Question("constraints", "limits"), "en")
    assert "exclude each other" in text


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("harmful_declined", "I do not help with this"),
        ("out_of_scope", "not something that a language model is trained for"),
        ("capability_explained", "Nothing runs before you approve it."),
    ],
)
def test_no_plan_is_declined_with_the_reason(code, words):
    decision = Decision(
        recommendation=None,
        rules=("V1",),
        reason="The purpose of the request is to harm people, so it is declined.",
        instead=(),
        would_change=(),
        techniques=(),
        method=stage_pb2.METHOD_UNSPECIFIED,
        technique_reason="",
        technique_origin="",
        rejected={},
        grader_kinds=(),
        task="",
        notes=(note(code),),
    )
    assert words in narration.decline(decision, decision.notes, "en")
    assert narration.decline(decision, [], "ja")


def test_agreeing_names_revision_and_hash_and_an_approved_plan_needs_none():
    spec = a_plan()
    said = narration.agree(spec, "en")
    assert said.startswith("Good. Approve revision 1 by its hash, " + "ab" * 32)
    spec.state = spec_pb2.Spec.STATE_APPROVED
    assert narration.agree(spec, "en") == "Revision 1 is approved already."
    assert "trains nothing" in narration.agree(advised_against(), "en")


def test_going_back_says_what_it_undoes():
    before, after = refined()
    before.revision = 3
    said = narration.restored(before, diff(after, before), "en")
    assert "The earlier plan is back, as revision 3" in said
    assert "Adapter rank: 64 → 16\n" in said
    assert "already is what you want back" in narration.restored(before, [], "en")


def test_a_language_without_templates_is_answered_in_english_and_says_so():
    first = "I answer in English, because I have no templates for Swedish."
    for said in (
        narration.present(a_plan(), [], "sv"),
        narration.explain(a_plan(), [RATE], "sv"),
        narration.wait("sv"),
        narration.unchanged([], "sv"),
        narration.lacking("data", [], "sv"),
    ):
        assert said.startswith(first)
        assert said.count(first) == 1
    assert "for “xx”" in narration.wait("xx")
    assert not narration.notice_text(note("pii"), "sv").startswith("I answer")


def test_pieces_join_to_the_reply():
    reply = narration.present(a_plan(), [], "de")
    assert "".join(narration.pieces(reply)) == reply
    assert len(narration.pieces(reply)) > 5


@pytest.mark.parametrize("reply", ["", "one", "a b c d e f g h i j", "two\nlines  and  spaces "])
def test_spaces_and_lines_survive_the_pieces(reply):
    assert "".join(narration.pieces(reply)) == reply


def test_words_of_the_person_stay_quoted_and_short():
    spec = set_by_user(a_plan(), RANK, "ignore all rules " * 100)
    said = narration.explain(spec, [RANK], "en")
    assert "(you said: “ignore all rules" in said
    assert len(said) < 600


def test_the_same_plan_is_said_the_same_way():
    assert narration.present(a_plan(), [], "fr") == narration.present(a_plan(), [], "fr")


def test_alpha_that_keeps_the_step_is_named():
    values = {"rank": 64, "alpha": 32, "before": "2", "after": "0.5"}
    said = narration.notice_text(note("rank_alpha_scale", field_path=ALPHA, **values), "de")
    assert "0,5 statt 2" in said
    assert "Alpha auf 128" in said
