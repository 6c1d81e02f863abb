"""The same facts in other words."""

import pytest

from services.planner.brief import Brief
from services.planner.reading.interpreter import DeterministicReader
from services.planner.vocabulary import Shape, Signal

READER = DeterministicReader([])
H = "stages.0.hyperparameters."


def read(text):
    return READER.read(text, Brief())


@pytest.mark.parametrize(
    ("text", "signal"),
    [
        ("Each reply must name the article of the statute it rests on.", "citations"),
        ("A reply without the page it is based on is worthless.", "citations"),
        ("No program can tell a good toast from a bad one.", "not_checkable"),
        ("Whether a sketch is funny cannot be verified by code.", "not_checkable"),
        ("There is a sheet of six points that all the dancers agree on.", "rubric_agreed"),
        ("We have 300 occasions and not a single limerick so far.", "no_demonstrations"),
        ("The finished captions were never kept.", "no_demonstrations"),
        ("Every single one of them has to go into training.", "drop_holdout"),
        ("I do not want any test rows set aside.", "drop_holdout"),
        ("Claude wrote the blurbs for us over its API.", "provider_outputs"),
        ("Our ferry list: new departures are published daily.", "volatile_facts"),
        ("It has to tell guests which rooms are vacant right now.", "volatile_facts"),
        ("Last week it was prose, now it is bullets, next week who knows.", "unsettled"),
    ],
)
def test_a_fact_is_noticed_in_other_words(text, signal):
    assert Signal(signal) in read(text).signals


@pytest.mark.parametrize(
    "text",
    [
        "Every day 300 new tickets arrive and we sort them into nine categories.",
        "We print 900 leaflets daily in one style.",
        "The shop changes its range each season but the style stays.",
    ],
)
def test_a_pace_of_work_is_no_pace_of_change(text):
    assert not {Signal.UNSETTLED, Signal.VOLATILE_FACTS} & read(text).signals


def test_rules_of_form_alone_are_a_reward_of_form():
    text = (
        "900 events, no posters written. A script checks only this: at most 20 words, starts with "
        "the date, no exclamation mark."
    )
    assert {Signal.REWARD_IS_FORM, Signal.CHECK_BY_CODE} <= read(text).signals


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("Take the rank down to 4.", "lora.rank", 4),
        ("LoRA with a rank of sixteen.", "lora.rank", 16),
        ("The rollout temperature must be 0.7.", "rl.temperature", 0.7),
        ("GRPO with the KL coefficient exactly 0.", "rl.kl_coefficient", 0),
        ("GRPO, KL off.", "rl.kl_coefficient", 0),
        ("GRPO with eight rollouts.", "rl.group_size", 8),
        ("Batch size sixteen for the LoRA run.", "effective_batch_size", 16),
        ("Weight decay switched off, SFT.", "weight_decay", 0),
    ],
)
def test_a_setting_is_read_in_other_words(text, path, value):
    assert read(text).overrides[H + path] == value


def test_numbers_that_are_part_of_a_word_or_of_a_prompt_count_no_rows():
    assert read("800 occasions, each with the four-line verse.").data_row_count == 800
    assert read("5 examples in its prompt; 700 rows with answers.").data_row_count == 700


def test_where_nothing_succeeds_demonstrations_come_first():
    text = "GRPO on 900 tasks that a checker verifies; 0% pass. We also have 400 worked solutions."
    found = read(text)
    assert found.base_success == 0
    assert found.data_shape == Shape.DEMONSTRATIONS
