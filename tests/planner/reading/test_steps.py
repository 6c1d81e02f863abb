"""Up and down without a number."""

import pytest

from services.planner.brief import Brief
from services.planner.reading.interpreter import DeterministicReader
from services.planner.reading.message import read_message
from services.planner.reading.steps import DOWN, UP, read_steps

PATH = "stages.0.hyperparameters."


@pytest.mark.parametrize(
    ("said", "name", "factor"),
    [
        ("Halve the learning rate.", "learning_rate", DOWN),
        ("The lr is too high", "learning_rate", DOWN),
        ("use fewer epochs", "epoch_count", DOWN),
        ("Double the batch size, leave the rest", "effective_batch_size", UP),
        ("beta should be lower", "dpo.beta", DOWN),
        ("raise the KL penalty a bit", "rl.kl_coefficient", UP),
        ("rank looks too small", "lora.rank", UP),
    ],
)
def test_a_step_is_read(said, name, factor):
    assert read_steps(read_message(said, "en"), set()) == {PATH + name: factor}


@pytest.mark.parametrize("said", ["Rank 64 and more rows.", "Answers should be lower case."])
def test_what_is_no_step_is_none(said):
    assert read_steps(read_message(said, "en"), set()) == {}


def test_a_number_wins_over_a_step():
    said = "lower the learning rate to 1e-5"
    assert read_steps(read_message(said, "en"), {PATH + "learning_rate"}) == {}


@pytest.mark.parametrize(
    "message",
    [
        "Put the learning rate back to what you had. The 4 epochs stay.",
        "Learning rate back to your own value please",
        "Set the learning rate as you proposed it",
    ],
)
def test_a_value_can_be_given_back(message):
    patch = DeterministicReader(()).read(message, Brief(problem="Sort mails", dataset="d"))
    assert patch.released == {"stages.0.hyperparameters.learning_rate"}
    assert patch.command is None
