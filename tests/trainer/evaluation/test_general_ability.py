"""The suite, rated with a real tokenizer by models whose knowledge is known."""

import pytest

from services.trainer.data.render import Renderer
from services.trainer.evaluation.general_ability import measure
from services.trainer.evaluation.general_questions import QUESTIONS


def right(question):
    """Return a question with its right ending."""
    return f"{question.text} {question.right}."


class Rater:
    """Finds each character of some sentences twice as likely as of all others."""

    context_length = 256

    def __init__(self, tokenizer, liked):
        self._tokenizer, self._liked = tokenizer, liked
        self.wholes = []

    def logprobs(self, prompt_ids, answer_ids):
        assert prompt_ids
        assert answer_ids
        text = self._tokenizer.decode([*prompt_ids, *answer_ids])
        self.wholes.append(text)
        ended = text in self._liked
        # Per character, so that tokens of any length are rated alike.
        each = [-len(self._tokenizer.decode([one])) for one in answer_ids]
        return [value * (0.5 if ended else 1.0) for value in each]


class Context:
    """As much of a run as the suite needs."""

    def __init__(self, renderer, text=""):
        self.renderer = renderer
        self.spec = type("Spec", (), {})()
        self.spec.evaluation = type("Evaluation", (), {"general_ability_check": text})()

    def check(self):
        """Nothing asks it to stop."""


@pytest.fixture(scope="module")
def renderer(saved_model):
    return Renderer(saved_model)


def test_who_likes_the_right_endings_has_all_right(renderer):
    rater = Rater(renderer.tokenizer, {right(one) for one in QUESTIONS})
    found = measure(Context(renderer), rater)
    assert sum(found.right) == len(QUESTIONS)
    assert found.text_loss is None
    assert len(rater.wholes) == 4 * len(QUESTIONS)
    assert {right(one) for one in QUESTIONS} < set(rater.wholes)


def test_who_likes_a_wrong_ending_has_it_wrong(renderer):
    wrong = f"{QUESTIONS[0].text} {QUESTIONS[0].wrong[2]}."
    rater = Rater(renderer.tokenizer, {right(one) for one in QUESTIONS[1:]} | {wrong})
    assert measure(Context(renderer), rater).right == [0] + [1] * (len(QUESTIONS) - 1)


def test_the_loss_is_the_mean_over_the_tokens_of_the_text(renderer):
    text = "The harbour lay quiet after the storm."
    rater = Rater(renderer.tokenizer, set())
    found = measure(Context(renderer, text), rater)
    token_ids = renderer.tokenizer(text)["input_ids"]
    lengths = [len(renderer.tokenizer.decode([one])) for one in token_ids[1:]]
    assert found.text_loss == pytest.approx(sum(lengths) / len(lengths))
