import pytest

from services.planner.reading.clock import clock_deadline
from services.planner.reading.message import read_message
from services.planner.reading.task import read_task
from services.planner.vocabulary import Shape


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("Dictated field notes in, one CSV line out.", "extraction"),
        ("A customs declaration goes in and a tariff heading code comes out.", "classification"),
        ("Turn the minutes-long voicemail transcript into a haiku.", "generation"),
        ("Which of the nine counters should a visitor go to?", "classification"),
        ("For every pupil the model writes a short farewell letter.", "generation"),
        ("From the raw interview to a synopsis.", "summarization"),
        ("Spoken requests in, a shell script out.", "code"),
        ("Say for each parcel whether customs will open it.", "classification"),
        ("Eulogies from the notes of the family.", "generation"),
    ],
)
def test_what_comes_out_tells_the_task(text, task):
    assert read_task(read_message(text, "en")) == task


@pytest.mark.parametrize(
    "text",
    [
        "A small script tells us which drafts are allowed.",
        "The compiler checks it, and the code can decide.",
        "A chat model was tried.",
    ],
)
def test_what_checks_is_not_what_comes_out(text):
    assert read_task(read_message(text, "en")) not in ("code", "dialogue", "tool_calling")


def test_a_number_that_code_checks_is_a_result():
    message = read_message("2,000 tasks, each with the figure that must come out.", "en")
    assert read_task(message, Shape.PROMPTS_WITH_CHECK) == "math_reasoning"


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("it is nine in the morning and by noon everything has to be done", 3),
        ("it's 2 pm, the cluster is needed by 8 pm", 6),
        ("the machines are free over night", 14),
        ("it must be ready by tomorrow", 24),
        ("we answer mails at six", None),
    ],
)
def test_the_clock_sets_a_deadline(text, hours):
    assert clock_deadline(text) == (hours and hours * 3600)
