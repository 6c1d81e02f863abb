"""Exchanges as the tests of the playground make them."""

from datetime import UTC, datetime

from services.serving.playground.answer import Answer, End
from services.serving.playground.exchange import Exchange
from services.serving.playground.preference import Preference, Verdict
from services.serving.playground.prompt import Message, Prompt

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BASE = "projects/default/baseModels/attune~starter"
TUNED = "projects/default/models/tickets/versions/1"
BETTER, WORSE, ALL_BAD = Verdict


def an_end(model_version="", finish_reason="stop", **fields):
    return End(model_version, finish_reason, 3, 5, 0.25, 0.5, **fields)


def an_answer(text, model_version="", **fields):
    return Answer(model_version or BASE, text, an_end(model_version, **fields))


def an_exchange(*answers, number=1, preference=None, messages=None, **prompt):
    asked = messages or (Message("system", "be kind"), Message("user", "how are you"))
    given = answers or (an_answer("fine"), an_answer("very well", TUNED))
    name = f"projects/default/exchanges/a{number:025}"
    return Exchange(name, Prompt(tuple(asked), **prompt), given, MOMENT, preference)


def an_opinion(verdict=BETTER, index=0, corrected="", author="ann"):
    return Preference(verdict, MOMENT, index, corrected, author)
