"""What was asked and answered, as people read it."""

from __future__ import annotations

from attune.serving.v1 import playground_pb2 as pb

from cli.resource_names import short
from cli.views.answers import Answer, AnswersView
from cli.views.figures import moment
from cli.views.screen import Screen

SUMMARY_MAX = 60
"""Characters of a prompt in a list."""
VERDICTS = {
    pb.Preference.VERDICT_BETTER: ("{} is better", "it is good"),
    pb.Preference.VERDICT_WORSE: ("{} is worse", "it is bad"),
    pb.Preference.VERDICT_ALL_BAD: ("all are bad", "it is bad"),
}


def summary_of(exchange: pb.Exchange) -> str:
    """Return the beginning of what was asked last, on one line."""
    text = " ".join(exchange.prompt.messages[-1].content.split())
    return text if len(text) <= SUMMARY_MAX else text[: SUMMARY_MAX - 1] + "\u2026"


def preference_of(exchange: pb.Exchange) -> str:
    """Return what somebody thinks of the answers, counted from 1; a dash when nobody said."""
    if not exchange.HasField("preference"):
        return "-"
    said = exchange.preference
    several, alone = VERDICTS.get(said.verdict, ("unknown", "unknown"))
    verdict = several.format(said.answer_index + 1) if len(exchange.answers) > 1 else alone
    corrected = ", corrected" if said.corrected_answer else ""
    author = f", says {said.author}" if said.author else ""
    return verdict + corrected + author


def show_exchange(screen: Screen, exchange: pb.Exchange, titles: list[str]) -> None:
    """Write what was asked, every answer, and what somebody thinks of them.

    Args:
        screen: Where it is written.
        exchange: All of it.
        titles: Of its answers.
    """
    screen.say(f"{short(exchange.name)}  {moment(exchange.create_time)}", "bold")
    for message in exchange.prompt.messages:
        screen.say(f"{message.role}: {message.content}")
    screen.say()
    answers = [Answer.kept(title, one) for title, one in zip(titles, exchange.answers, strict=True)]
    AnswersView(screen, answers).stand()
    screen.say()
    screen.facts(
        [
            ("judgement", preference_of(exchange)),
            ("right answer", exchange.preference.corrected_answer),
        ]
    )
