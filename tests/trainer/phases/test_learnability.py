"""Whether a few answers leave anything to reinforce."""

import pytest

from services.trainer.grading.sample import Graded
from services.trainer.phases.learnability import MIXED_SHARE_MIN, no_spread, summarised


def found(*groups, form_share=1.0, clipped_share=0.0):
    graded = [
        Graded(score, "" if score is not None else "Why.") for group in groups for score in group
    ]
    return summarised(graded, len(groups[0]), form_share=form_share, clipped_share=clipped_share)


def test_a_group_is_mixed_when_its_rewards_differ():
    figures = found([0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [0.5, 0.25])
    assert (figures.prompt_count, figures.answer_count) == (4, 2)
    assert figures.mixed_share == 0.5
    assert figures.mean_reward == pytest.approx(3.75 / 8)


def test_an_answer_that_could_not_be_graded_is_no_zero():
    figures = found([1.0, None], [None, None])
    assert (figures.mixed_share, figures.mean_reward, figures.ungraded_share) == (0.0, 1.0, 0.75)


def test_enough_spread_asks_nothing():
    assert MIXED_SHARE_MIN == 0.2
    assert no_spread(found([0.0, 1.0], *[[0.0, 0.0]] * 4)) is None


@pytest.mark.parametrize(
    ("groups", "shares", "advice"),
    [
        ([[0.0, 0.0]], {"clipped_share": 0.9}, "raise rl.max_completion_length"),
        ([[0.0, 0.0]], {"form_share": 0.1}, "a stage of SFT on examples before"),
        ([[1.0, 1.0]], {}, "too easy"),
        ([[0.0, 0.0]], {}, "soften the reward"),
    ],
)
def test_too_little_spread_asks_with_figures_and_the_advice_that_fits(groups, shares, advice):
    question = no_spread(found(*groups, **shares))
    assert question.reason == "NO_SPREAD"
    assert question.figures["mixed_share"] == 0.0
    assert advice in question.message
