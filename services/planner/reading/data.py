"""What a message says about examples: their shape, their number, and how good answers are today."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from services.planner.reading.message import Message, Sentence
from services.planner.reading.quantities import Quantity, duration_after, quantities
from services.planner.reading.said import Said, Spans, overlaps
from services.planner.reading.shape import read_shape
from services.planner.reading.shares import Shares

MEGABYTES = {"kb": 0.001, "mb": 1, "megab": 1, "mo": 1, "gb": 1000, "gigab": 1000, "tb": 1e6}
SIZE = re.compile(r"\s?(kb|mb|megab|mo\b|gb|gigab|tb)")
MONEY_BEFORE = re.compile(r"(?:[$€£]|usd|eur|chf)\s?$")
MONEY_AFTER = re.compile(
    r"\s?(?:[$€£]|usd|us dollars|dollars?|euros?|eur|chf|pounds|円|ドル|cents?)"
)
BILLIONS = re.compile(r"\s?(?:b|bn|billion|mrd|milliarden)(?![a-z])|\s?-\s?\d{1,3}\s?b(?![a-z])")
BARE_NAME = re.compile(r"[a-z_]-?$")
ADJECTIVE = re.compile(r"-[a-z]{3,}(?<!held)(?<!plus)\b")
"""What makes a number part of a word: `four-line`, `two-minute`."""
SCORED_BEFORE = re.compile(
    r"\b(?:scored|graded|marked|judged|rated)(?: (?:about|around|some|roughly|only|already))? $"
)
IN_PROMPT = re.compile(r"\s*(?:[a-z]+ ){0,3}(?:in|inside|into) (?:its|the|a|our|my) prompts?\b")
SHOTS_BEFORE = re.compile(r"\bprompts? (?:and|plus|with|including) (?:the |some |about )?$")
"""Examples that a prompt shows are no rows."""
OF_PEOPLE = re.compile(
    r"\s*(?:customer|user|client|guest|employee|student|visitor|member|patient|passenger|expert|"
    r"teacher|doctor|agent|editor|reviewer|hotel|shop|tester|lawyer) [a-z]{3,}s\b"
)
"""Things of people, `customer wishes`, not the people."""
SCORED_MAX = 300
"""More rows than this are scored to be learnt from, not to compare a judge with."""
YEAR = re.compile(r"(?:19|20)\d\d$")
QUOTED_LABELS = re.compile(r"[\"'][\w -]{1,24}[\"'] or [\"'][\w -]{1,24}[\"']")
PERIODS = (
    (10080, r"minut\w*|分"),
    (168, r"hour\w*|stund\w*|heure\w*|hora\w*|or[ae]|uur|時間|小时"),
    (5, r"working day|weekday|werktag|arbeitstag|jour ouvre|dia (?:habil|util)|werkdag|平日"),
    (
        7,
        r"day|daily|tag|taglich\w*|jour\w*|quotidien\w*|dia|diari\w*|giorno|dag|dagelijks\w*|"
        r"night\w*|nacht|shift|morning|evening|日|天",
    ),
    (1, r"week\w*|woche\w*|wochentlich\w*|semaine\w*|semana\w*|settiman\w*|週|周"),
    (
        0.23,
        r"month\w*|monat\w*|mois|mensuel\w*|mes|mensual\w*|mensal\w*|mese|mensil\w*|maand\w*|月",
    ),
    (0.077, r"quarter\w*|quartal\w*|trimest\w*|kwartaal"),
    (0.019, r"year\w*|season|annual\w*|jahr\w*|an|annee|ano|anno|jaar|年"),
)
ON_PAPER = re.compile(
    r"\b(?:on paper|not digiti[sz]ed|auf papier|sur papier|en papel|em papel|su carta|"
    r"op papier)\b|紙"
)
UNKNOWN_NOUN_MIN = 40
"""A number of things that the lexicon does not know counts as rows from here on."""
NOUN_REACH = 44
"""Characters behind a number in which its noun may stand."""
CLOCK_BEFORE = re.compile(r"\b(?:at|it's|it is|its|by|until|till|before|around) $")
CLOCK_AFTER = re.compile(r"\s*(?:$|[,.;!]|o'?clock|[ap]\.?m\b|in the |tonight|tomorrow|sharp|now)")
HOURS_MAX = 24
"""A number up to here between such words is the time of day."""


def read_data(message: Message, taken: Spans, technique: str, asks_target: bool) -> Said:
    """Return what a message says about data and success.

    Args:
        message: What was said.
        taken: Places that are settings, by sentence.
        technique: The one that was named, may be empty.
        asks_target: Whether the last question was about the target.
    """
    said = _Counts(message, taken).read()
    said = Shares(message, taken, said, asks_target).read()
    return replace(
        said, shape=read_shape(message, said.row_count or 0, said.text_megabytes, technique)
    )


class _Counts:
    """Finds what the whole numbers of a message count."""

    def __init__(self, message: Message, taken: Spans) -> None:
        self._message = message
        self._taken = taken

    def read(self) -> Said:
        said = Said()
        best = 0.0
        if self._message.says("cues", "two_labels") or QUOTED_LABELS.search(self._message.folded):
            said = replace(said, label_count=2)
        for sentence in self._message.sentences:
            bonus = self._bonus(sentence)
            for quantity in quantities(sentence.folded, self._message.language):
                if overlaps(quantity, self._taken.get(sentence, [])):
                    continue
                if size := SIZE.match(sentence.folded, quantity.end):
                    megabytes = quantity.value * MEGABYTES[size[1].strip()]
                    said = replace(said, text_megabytes=megabytes)
                    continue
                if quantity.is_share or not quantity.value.is_integer() or quantity.value < 1:
                    continue
                role, score = self._role(sentence, quantity)
                count = int(quantity.value)
                if role == "rows" and score + bonus > best:
                    best, said = score + bonus, replace(said, row_count=count)
                elif role == "held" and said.holdout_rows is None:
                    said = replace(said, holdout_rows=count)
                elif role == "scored":
                    said = replace(said, scored_count=max(count, said.scored_count or 0))
                elif role == "labels" and said.label_count is None:
                    said = replace(said, label_count=count)
                elif role.startswith("per "):
                    said = replace(said, uses_per_week=count * float(role[4:]))
        return said

    def _bonus(self, sentence: Sentence) -> float:
        """Return how much a sentence sounds like one about examples that exist."""
        bonus = 0.0
        for words in self._message.lexicons:
            if any(True for _ in words.places("data_cues", "have", sentence.folded)):
                bonus = 1.5
            for shape in ("demonstrations", "pairs", "ratings", "prompts_with_check"):
                if any(True for _ in words.matches("shapes", shape, sentence.folded)):
                    bonus += 0.5
                    break
        return bonus

    def _role(self, sentence: Sentence, quantity: Quantity) -> tuple[str, float]:
        folded = sentence.folded
        before, after = folded[max(0, quantity.start - 40) : quantity.start], folded[quantity.end :]
        near = re.split(r"[,;:.。、]", after, maxsplit=1)[0][:NOUN_REACH]
        if ADJECTIVE.match(after):
            return "unit", 0
        if SCORED_BEFORE.search(before) and not self._is("shapes", "ratings", near, 5):
            return "scored", 0
        if IN_PROMPT.match(near) or SHOTS_BEFORE.search(before):
            return "shots", 0
        if MONEY_BEFORE.search(before) or MONEY_AFTER.match(after) or BILLIONS.match(after):
            return "money", 0
        if BARE_NAME.search(before[-2:]) and not before.endswith(" "):
            return "name", 0
        if period := self._period(before, near, folded):
            return f"per {period}", 0
        is_hour = quantity.value <= HOURS_MAX and CLOCK_BEFORE.search(before)
        if is_hour and CLOCK_AFTER.match(after):
            return "time", 0
        if duration_after(folded, quantity) or self._is("not_data", "time", near, 1):
            return "time", 0
        if self._is("not_data", "held", near, 3) or self._ends("not_data", "held_before", before):
            return "held", 0
        scored = self._is("not_data", "scored", near, 5) and quantity.value <= SCORED_MAX
        if scored and not self._is("shapes", "ratings", near, 5):
            return "scored", 0
        if self._is("not_data", "units", near, 1) and not (
            quantity.value >= 50 and near.strip().startswith(("times", "mal", "veces", "fois"))
        ):
            return "unit", 0
        if quantity.value < 100 and self._is("not_data", "labels", near, 2):
            return "labels", 0
        score = 0.0
        if self._is("data_nouns", "rows", near, 5):
            score = 4
        elif self._is("data_nouns", "things", near, 5):
            score = 3
        elif near.strip().startswith(("times", "mal ", "veces", "fois")):
            score = 2
        elif quantity.value >= UNKNOWN_NOUN_MIN or (
            _is_alone(after) and folded[quantity.start].isdigit()
        ):
            score = 1
        if score == 0 or (self._is("not_data", "people", near, 1) and not OF_PEOPLE.match(near)):
            return "people", 0
        if ON_PAPER.search(folded):
            score -= 6
        if YEAR.fullmatch(str(int(quantity.value))) and score < 4 and not near.strip():
            return "year", 0
        score -= 2.5 if quantity.value < 3 else 0
        # Of two numbers of things the larger is that of the rows: "our 30 forms, 4,000 old ones".
        score += 0.4 * math.log10(quantity.value)
        return "rows", score

    def _period(self, before: str, near: str, folded: str) -> float | None:
        """Return how often the period goes into a week, when a number is a rate."""
        for words in self._message.lexicons:
            changes = any(True for _ in words.places("pace", "change", folded))
            for text in (near, before[-14:]):
                for match in words.places("volume", "per", text):
                    if changes and "times" not in near:
                        return None
                    for weeks, names in PERIODS:
                        if re.search(rf"(?<![a-z])(?:{names})(?![a-z])", match[0]):
                            return weeks
        return None

    def _is(self, group: str, name: str, near: str, words_max: int) -> bool:
        """Return whether one of a name's words is among the first words of a text."""
        for words in self._message.lexicons:
            for match in words.places(group, name, near):
                if len(near[: match.start()].split()) < words_max:
                    return True
        return False

    def _ends(self, group: str, name: str, before: str) -> bool:
        tail = before[-30:]
        return any(
            len(tail[match.end() :].split()) <= 3
            for words in self._message.lexicons
            for match in words.places(group, name, tail)
        )


def _is_alone(after: str) -> bool:
    """Return whether a number stands without a noun, as in `2,000 so far`."""
    return bool(
        re.match(
            r"\s*(?:$|[,.;:)]|of (?:them|those|these)|davon|de ellos|d'entre|so far|in total|"
            r"insgesamt|en total|au total|in totaal)",
            after,
        )
    )
