"""Few questions, each worth asking."""

import pytest

from services.planner.brief import DATASET_PATH, PROBLEM_PATH, QUESTIONS_MAX, TARGET_PATH
from services.planner.plan.decision import decide
from services.planner.plan.policy import CONFLICT_PATH, TOPICS, next_question
from services.planner.vocabulary import Shape, Signal, Task
from tests.planner.plan.evidence_made import said, shown

JSON_ROWS = shown("chat", 600, json_answer_share=1.0)


def asked(brief, dataset=None) -> str:
    """Return the field path that is asked about; empty for none."""
    question = next_question(brief, decide(brief, dataset, None), dataset)
    assert question is None or question.topic in TOPICS
    return question.field_path if question else ""


def asked_in_turn(brief, dataset=None) -> list[str]:
    """Return what is asked when nothing that is said answers it."""
    found = []
    while path := asked(brief, dataset):
        found.append(path)
        brief = brief.asked(path)
    return found


def test_a_sentence_and_rows_with_one_right_answer_lead_to_exactly_one_question():
    assert asked_in_turn(said(task=Task.EXTRACTION), JSON_ROWS) == [TARGET_PATH]


def test_a_few_words_beside_rows_do_not_say_what_they_are_for():
    assert asked_in_turn(said(problem="Make it good."), JSON_ROWS) == [PROBLEM_PATH, TARGET_PATH]
    longer = said(problem="Read what a customer writes and answer with the record of our form.")
    assert asked_in_turn(longer, JSON_ROWS) == [TARGET_PATH]


@pytest.mark.parametrize(
    "known",
    [
        {"target": 0.9},
        {"target_delegated": True},
        {"base_success": 0.4},
        {"grader_kinds": ("win_rate",)},
    ],
)
def test_the_target_is_not_asked_when_success_was_spoken_of(known):
    assert asked(said(task=Task.EXTRACTION, **known), JSON_ROWS) == ""


def test_the_target_is_not_asked_where_no_share_of_right_answers_decides():
    assert asked(said(task=Task.STYLE), shown("preference")) == ""
    assert asked(said(task=Task.SUMMARIZATION), shown()) == ""


def test_without_task_and_data_both_are_asked_one_at_a_time():
    assert asked_in_turn(said()) == [PROBLEM_PATH, DATASET_PATH]
    assert asked_in_turn(said(task=Task.CLASSIFICATION)) == [DATASET_PATH]


def test_data_that_are_described_are_not_asked_for_but_their_number_is():
    assert asked(said(data_shape=Shape.PAIRS, data_row_count=4200)) == ""
    assert asked(said(data_shape=Shape.NONE, task=Task.STYLE)) == ""
    assert asked(said(data_shape=Shape.NONE)) == PROBLEM_PATH
    assert asked(said(data_shape=Shape.PAIRS)) == DATASET_PATH


@pytest.mark.parametrize(
    "signal",
    [
        Signal.HARMFUL,
        Signal.OUT_OF_SCOPE,
        Signal.VOLATILE_FACTS,
        Signal.CITATIONS,
        Signal.UNSETTLED,
        Signal.LOW_VOLUME,
        Signal.ONE_OFF,
        Signal.NO_RIGHTS,
    ],
)
def test_nothing_is_asked_when_what_was_said_settles_the_verdict(signal):
    assert asked(said(signal)) == ""


def test_a_greeting_is_answered_with_the_question_what_the_model_should_do():
    assert asked(said(Signal.ASKS_CAPABILITY, problem="")) == PROBLEM_PATH
    assert asked(said(problem=""), JSON_ROWS) == PROBLEM_PATH


def test_an_expert_who_names_technique_and_rows_is_not_asked_for_a_sentence():
    assert asked(said(problem="", technique="DPO"), shown("preference")) == ""


def test_of_two_wishes_that_exclude_each_other_one_is_asked_to_win():
    fields = {"data_shape": Shape.NONE, "conflict": "Small and best.", "task": Task.DIALOGUE}
    assert asked_in_turn(said(Signal.CONFLICTING_WISHES, **fields)) == [CONFLICT_PATH]


def test_a_technique_that_the_data_do_not_allow_is_no_question():
    brief = said(technique="DPO", task=Task.STYLE)
    assert asked(brief, shown()) == ""


def test_never_more_than_three_questions():
    brief = said(problem="")
    for _ in range(QUESTIONS_MAX):
        brief = brief.asked("objective.users")
    assert asked(brief) == ""


def test_facts_that_are_wanted_are_asked_for_while_nothing_is_known_of_them():
    assert asked(said(Signal.FACTS_WANTED)) == PROBLEM_PATH
    assert asked(said(Signal.FACTS_WANTED, text_megabytes=0.4)) == ""
