"""Few questions, each worth asking."""

from services.planner.brief import DATASET_PATH, PROBLEM_PATH, QUESTIONS_MAX, TARGET_PATH, Brief
from services.planner.plan.policy import is_ready, next_question
from services.planner.reading.interpreter import DeterministicReader
from tests.planner.plans import SENTENCE, a_brief

READER = DeterministicReader(["attune/starter"])


def talk(*messages: str, dataset: str = "projects/default/datasets/a1") -> list[str]:
    """Return the field paths that are asked about, one after each message."""
    brief, asked = Brief().with_data(dataset, ""), []
    for message in messages:
        brief = brief.apply(READER.read(message, brief), message)
        if question := next_question(brief):
            brief = brief.asked(question.field_path)
            asked.append(question.field_path)
    return asked


def test_the_demo_sentence_with_a_dataset_leads_to_exactly_one_question():
    assert talk(SENTENCE, "85 %") == [TARGET_PATH]


def test_a_sentence_that_names_the_target_leads_to_none():
    assert talk(SENTENCE + " At least 85 % must be right.") == []


def test_a_target_left_to_the_planner_is_not_asked_again():
    assert talk(SENTENCE, "you decide") == [TARGET_PATH]


def test_the_problem_is_asked_before_the_dataset_and_the_dataset_before_the_target():
    assert talk("hello", SENTENCE, "hm", dataset="") == [PROBLEM_PATH, DATASET_PATH, DATASET_PATH]


def test_never_more_than_three_questions():
    asked = talk("hello", "hi", "hey", "hello", "hi", dataset="")
    assert len(asked) == QUESTIONS_MAX


def test_without_an_answer_after_three_questions_the_plan_is_made_all_the_same():
    brief = a_brief(target=None, questions=(PROBLEM_PATH, TARGET_PATH, TARGET_PATH))
    assert next_question(brief) is None
    assert is_ready(brief)


def test_no_plan_without_problem_or_dataset():
    assert not is_ready(Brief(problem=SENTENCE))
    assert not is_ready(Brief(dataset="projects/default/datasets/a1"))


def test_a_brief_survives_its_json():
    brief = a_brief(overrides={"data.split_seed": 3}, questions=(TARGET_PATH,))
    brief = brief.apply(READER.read("90 %", brief), "90 %")
    assert Brief.from_json(brief.to_json()) == brief
    assert brief.open_question == ""
