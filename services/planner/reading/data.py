"""What a message says about examples: their shape, their number, and how good answers are today."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from services.planner.reading.message import Message, Sentence
from services.planner.reading.quantities import Quantity, duration_after, quantities
from services.planner.reading.shape import read_shape
from services.planner.vocabulary import Shape

Spans = Mapping[Sentence, list[tuple[int, int]]]

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
DOMINANT = 0.8
"""Share of one label from which accuracy misleads."""
PORTION = re.compile(
    r"\s*(?:of|der|von|des|de|de los|de las|dos|das|dei|delle|van de)\s[\w ,.]{0,34}?"
    r"\b(?:are|is|belong|fall|have|say|were|land|go|sind|gehoren|fallen|sont|appartiennent|son|"
    r"pertenecen|sao|pertencem|sono|zijn|horen)\b"
    r"(?! (?:still |not |all )?(?:right|correct|wrong|accept|good|fine|solved|passed|ok|answered|"
    r"edited|rejected|richtig|falsch|korrekt|juste|faux|fausse|correct|bien|mal|cert|errad|"
    r"giust|sbagl|goed|fout|sent))"
)
"""What makes a share that of rows of one kind."""
NOUN_REACH = 44
"""Characters behind a number in which its noun may stand."""
DIFFER = re.compile(
    r"\b(?:differ(?:s|ed)?|disagree[ds]?|contradict\w*|conflict(?:s|ed|ing)?|at odds|"
    r"(?:do|does|did|is|are) ?n[o']t (?:agree|match|coincide)|unlike|different (?:label|grade|code|"
    r"verdict|tag|categor)\w*)\b"
)
"""What makes a share that of rows on which people disagree."""
CLAUSE = re.compile(
    r"[,;:()]|\s-\s| but | and | aber | und | mais | et | pero | y | mas | e | ma | maar | en |、|"
    r"。|が、"
)


@dataclass(frozen=True)
class Said:
    """What was said about the data. None where nothing was."""

    shape: Shape | None = None
    row_count: int | None = None
    text_megabytes: float | None = None
    base_success: float | None = None
    target: float | None = None
    label_error_share: float | None = None
    agreement: float | None = None
    """Share of rows on which people agree."""
    holdout_rows: int | None = None
    scored_count: int | None = None
    """Answers that people scored."""
    uses_per_week: float | None = None
    label_count: int | None = None
    largest_label_share: float | None = None
    spans: dict[Sentence, list[tuple[int, int]]] = field(default_factory=dict)
    """Where shares stand that were understood."""


def read_data(message: Message, taken: Spans, technique: str, asks_target: bool) -> Said:
    """Return what a message says about data and success.

    Args:
        message: What was said.
        taken: Places that are settings, by sentence.
        technique: The one that was named, may be empty.
        asks_target: Whether the last question was about the target.
    """
    said = _Counts(message, taken).read()
    said = _Shares(message, taken, said, asks_target).read()
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
                if _overlaps(quantity, self._taken.get(sentence, [])):
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
        if IN_PROMPT.match(near):
            return "shots", 0
        if MONEY_BEFORE.search(before) or MONEY_AFTER.match(after) or BILLIONS.match(after):
            return "money", 0
        if BARE_NAME.search(before[-2:]) and not before.endswith(" "):
            return "name", 0
        if period := self._period(before, near, folded):
            return f"per {period}", 0
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


class _Shares:
    """Finds what the shares of a message are shares of."""

    def __init__(self, message: Message, taken: Spans, said: Said, asks_target: bool) -> None:
        self._message = message
        self._taken = taken
        self._said = said
        self._asks_target = asks_target

    def read(self) -> Said:
        said = self._said
        spans: dict[Sentence, list[tuple[int, int]]] = {}
        failing = False
        for sentence, quantity, clause, rest in self._shares():
            role, fails, value = self._role(sentence, quantity, clause, rest)
            if role in ("target", "base") and not fails and failing and quantity.value <= 0.5:
                # "They correct one line in three, I would like one in ten."
                fails = role == "target"
            if role == "base":
                failing = fails
            value = 1 - value if fails else value
            value = round(value, 9)
            if role == "target" and 0 < value <= 1:
                said = replace(said, target=value)
            elif role == "base" and said.base_success is None:
                said = replace(said, base_success=value)
            elif role == "label_error":
                said = replace(said, label_error_share=quantity.value)
            elif role == "disagreement":
                said = replace(said, label_error_share=quantity.value, agreement=1 - quantity.value)
            elif role == "agreement":
                said = replace(said, agreement=quantity.value)
            elif role == "label":
                said = replace(said, largest_label_share=quantity.value)
            if role:
                spans.setdefault(sentence, []).append((quantity.start, quantity.end))
        return replace(said, spans=spans)

    def _shares(self) -> Iterator[tuple[Sentence, Quantity, str, str]]:
        for sentence in self._message.sentences:
            if self._cue("weight", sentence.folded):
                continue
            found = quantities(sentence.folded, self._message.language)
            bounds = [
                0,
                *(m.start() for m in CLAUSE.finditer(sentence.folded)),
                len(sentence.folded),
            ]
            for quantity in found:
                taken = _overlaps(quantity, self._taken.get(sentence, []))
                plausible = quantity.is_share or (quantity.is_decimal and 0 < quantity.value <= 1)
                if taken or not plausible or not 0 <= quantity.value <= 1:
                    continue
                start = max(bound for bound in bounds if bound <= quantity.start)
                end = min([b for b in bounds if b >= quantity.end] or [len(sentence.folded)])
                clause = sentence.folded[start:end]
                if not quantity.is_share and not self._cue("score", sentence.folded):
                    continue
                yield sentence, quantity, clause, sentence.folded[quantity.end : end]

    def _role(
        self, sentence: Sentence, quantity: Quantity, clause: str, rest: str
    ) -> tuple[str, bool, float]:
        """Return what a share is, whether it counts failures, and its value."""
        folded, value = sentence.folded, quantity.value
        fails = self._cue("failure", clause)
        has_target, has_base = self._cue("target", clause), self._cue("base", clause)
        if re.search(r"\bfrom\s+$|\bvon\s+$|\bde\s+$", folded[: quantity.start]) and re.match(
            r"\s+(?:to|auf|a|para|naar)\s+\S*\d", folded[quantity.end :]
        ):
            return "base", fails, value
        if self._cue("agreement", clause) and not has_target:
            return "agreement", False, value
        if DIFFER.search(clause) and not has_target and not self._cue("model", clause):
            return "disagreement", True, value
        label_error = self._cue("label_error", clause) or self._cue("label_error", folded)
        if label_error and fails and not has_target and not self._cue("model", clause):
            return "label_error", True, value
        if portion := PORTION.match(folded, quantity.end):
            is_label = value >= DOMINANT and not self._cue("model", portion[0])
            return ("label" if is_label else ""), False, value
        other = self._cue("other_share", rest[:36]) or self._cue("other_share", clause[:24])
        if other and not fails and not has_base and not (has_target and quantity.is_share):
            is_label = value >= DOMINANT and self._cue("label", folded)
            return ("label" if is_label else ""), False, value
        if has_target and not (has_base and self._nearer("base", "target", sentence, quantity)):
            return "target", fails, value
        if has_base or fails:
            return "base", fails, value
        # The cue may stand in the clause before: "today it is decent, 62 % are right".
        if self._cue("target", folded) and not self._cue("base", folded):
            return "target", fails, value
        if self._cue("base", folded):
            return "base", fails, value
        if self._asks_target or self._cue("right", clause):
            return "target", fails, value
        return "", False, value

    def _cue(self, name: str, text: str) -> bool:
        return any(
            True for words in self._message.lexicons for _ in words.places("cues", name, text)
        )

    def _nearer(self, name: str, than: str, sentence: Sentence, quantity: Quantity) -> bool:
        """Return whether the nearest cue of one name is nearer than that of another."""
        distances: dict[str, int] = {}
        for cue in (name, than):
            distances[cue] = min(
                (
                    min(abs(match.end() - quantity.start), abs(match.start() - quantity.end))
                    for words in self._message.lexicons
                    for match in words.places("cues", cue, sentence.folded)
                ),
                default=999,
            )
        return distances[name] < distances[than]


def _overlaps(quantity: Quantity, spans: list[tuple[int, int]]) -> bool:
    return any(quantity.start < end and start < quantity.end for start, end in spans)


def _is_alone(after: str) -> bool:
    """Return whether a number stands without a noun, as in `2,000 so far`."""
    return bool(
        re.match(
            r"\s*(?:$|[,.;:)]|of (?:them|those|these)|davon|de ellos|d'entre|so far|in total|"
            r"insgesamt|en total|au total|in totaal)",
            after,
        )
    )
