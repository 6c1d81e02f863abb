"""What the shares of a message are shares of: right answers, mistakes, agreement, a target."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from services.planner.reading.message import Message, Sentence
from services.planner.reading.quantities import Quantity, quantities
from services.planner.reading.said import Said, Spans, overlaps

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
DIFFER = re.compile(
    r"\b(?:differ(?:s|ed)?|disagree[ds]?|contradict\w*|conflict(?:s|ed|ing)?|at odds|"
    r"(?:do|does|did|is|are) ?n[o']t (?:agree|match|coincide)|unlike|different (?:label|grade|code|"
    r"verdict|tag|categor)\w*)\b"
)
"""What makes a share that of rows on which people disagree."""
TARGET_LEAST = 0.2
"""A lower share that must be reached is that of a rare case, no bar."""
WEIGHTS_LEAST = 2
TOLERANCE_BEFORE = re.compile(r"(?:\b(?:within|plus or minus|tolerance of|give or take)|±)\s*$")
"""What makes a share the width of what still counts as right."""
RIGHT_COUNT = re.compile(
    r"(?<![\d.,])(\d{1,3}(?:,\d{3})+|\d{1,7}) (?:(?:of (?:them|these|those)|answers|cases) )?"
    r"(?:were|was|are|came out|come out|turned out|went) "
    r"(?:right|correct\w*|accepted|solved|good|fine|as they should)\b"
)
"""A number of right answers, next to that of all."""
CLAUSE = re.compile(
    r"[,;:()]|\s-\s| but | and | aber | und | mais | et | pero | y | mas | e | ma | maar | en |、|"
    r"。|が、"
)


class Shares:
    """Finds what the shares of a message are shares of."""

    def __init__(self, message: Message, taken: Spans, said: Said, asks_target: bool) -> None:
        self._message = message
        self._taken = taken
        self._said = said
        self._asks_target = asks_target

    def read(self) -> Said:
        """Return what was said with what its shares add."""
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
            if role == "target" and TARGET_LEAST <= value <= 1:
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
        return self._counted(replace(said, spans=spans))

    def _counted(self, said: Said) -> Said:
        """Return what was said with the share of right answers that two counts give."""
        right = RIGHT_COUNT.search(self._message.folded)
        if right is None or said.base_success is not None or not said.row_count:
            return said
        share = int(right[1].replace(",", "")) / said.row_count
        return replace(said, base_success=round(share, 9)) if 0 < share <= 1 else said

    def _shares(self) -> Iterator[tuple[Sentence, Quantity, str, str]]:
        for sentence in self._message.sentences:
            found = quantities(sentence.folded, self._message.language)
            if self._cue("weight", sentence.folded) or _are_weights(found):
                continue
            bounds = [
                0,
                *(m.start() for m in CLAUSE.finditer(sentence.folded)),
                len(sentence.folded),
            ]
            for quantity in found:
                taken = overlaps(quantity, self._taken.get(sentence, []))
                plausible = quantity.is_share or (quantity.is_decimal and 0 < quantity.value <= 1)
                if taken or not plausible or not 0 <= quantity.value <= 1:
                    continue
                start = max(bound for bound in bounds if bound <= quantity.start)
                end = min([b for b in bounds if b >= quantity.end] or [len(sentence.folded)])
                clause = sentence.folded[start:end]
                scored = self._cue("score", sentence.folded) or (
                    self._cue("target", sentence.folded) and self._cue("base", sentence.folded)
                )
                if not (quantity.is_share or scored):
                    continue
                yield sentence, quantity, clause, sentence.folded[quantity.end : end]

    def _role(
        self, sentence: Sentence, quantity: Quantity, clause: str, rest: str
    ) -> tuple[str, bool, float]:
        """Return what a share is, whether it counts failures, and its value."""
        folded, value = sentence.folded, quantity.value
        if TOLERANCE_BEFORE.search(folded[: quantity.start]):
            return "", False, value
        fails = self._cue("failure", clause)
        has_target, has_base = self._cue("target", clause), self._cue("base", clause)
        if re.search(r"\bfrom\s+$|\bvon\s+$|\bde\s+$", folded[: quantity.start]) and re.match(
            r"\s+(?:to|auf|a|para|naar)\s+\S*\d", folded[quantity.end :]
        ):
            return "base", fails, value
        if self._cue("agreement", clause) and not (has_target or self._cue("model", folded)):
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


def _are_weights(found: list[Quantity]) -> bool:
    """Return whether decimals stand in a row that add up to 1."""
    decimals = [each.value for each in found if each.is_decimal and 0 < each.value < 1]
    return len(decimals) >= WEIGHTS_LEAST and abs(sum(decimals) - 1) < 1e-6
