import pytest

from services.common.errors import FailedPrecondition, InvalidArgument
from services.serving.playground.answer import Answer, Failure
from services.serving.playground.preference import Preference, check_preference
from tests.serving.playground.exchanges import (
    ALL_BAD,
    BASE,
    BETTER,
    MOMENT,
    WORSE,
    an_answer,
    an_opinion,
)

BROKEN = Answer(BASE, "half of", failure=Failure("ENGINE_AWAY", "It went away."))
ANSWERS = (an_answer("one"), BROKEN)


@pytest.mark.parametrize(
    "preference", [an_opinion(), an_opinion(WORSE), an_opinion(ALL_BAD, 7, "so", "")]
)
def test_an_opinion_of_an_answer_that_ended_is_taken(preference):
    check_preference(preference, ANSWERS)


def test_every_broken_rule_is_named():
    preference = Preference(BETTER, MOMENT, 2, "x" * 100_001, "y" * 201)
    with pytest.raises(InvalidArgument) as caught:
        check_preference(preference, ANSWERS)
    assert [violation.field for violation in caught.value.violations] == [
        "preference.answer_index",
        "preference.corrected_answer",
        "preference.author",
    ]


@pytest.mark.parametrize("verdict", [BETTER, WORSE])
def test_an_answer_that_broke_off_is_neither_better_nor_worse(verdict):
    with pytest.raises(FailedPrecondition) as caught:
        check_preference(an_opinion(verdict, 1), ANSWERS)
    assert caught.value.reason == "ANSWER_NOT_ENDED"
