"""Turns a message into what it says about the plan. What comes out is data, checked like any."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Protocol

from services.planner.brief import PROBLEM_PATH, TARGET_PATH, Brief, BriefPatch, Value
from services.planner.reading.quantities import DURATION, NUMBER, SHARE, duration_s, number, share
from services.planner.reading.wording import FILLERS, HARDWARE, MODELS_NAMED, OVERRIDES, TECHNIQUES

PROBLEM_WORDS_MIN = 3
PROBLEM_CHARACTERS_MAX = 2000
TELLING_WORDS_MIN = 2
"""A sentence that holds a setting belongs to the problem only if it says so much besides."""
BARE_WORDS_MAX = 6
"""A message this short is taken as nothing but the answer or the wish it holds."""

ALIAS = re.compile(
    r"\b(?:call it|name it|alias(?:ed)?(?: is| to|:| as)?|deploy(?:ed)?(?: it)? as|under the name)"
    r"\s+[\"'`]?([a-z](?:[a-z0-9-]{0,61}[a-z0-9])?)(?![a-z0-9-])"
)
USERS = re.compile(r"\b(?:used by|users (?:are|will be)|users:)\s+([^.;\n]{2,300})", re.I)
DEADLINE = re.compile(
    r"\b(?:deadline|ready|done|finish(?:ed|es)?|trained|time limit|i have|we have)\b"
    rf"[^.;\n]{{0,30}}?(?P<span>{DURATION})",
    re.I,
)
WITHIN = re.compile(rf"\b(?:within|in under|no longer than|at most)\s+(?P<span>{DURATION})", re.I)
BARE_DEADLINE = re.compile(
    rf"(?:(?:with)?in|at most|under|no longer than)?\s*(?P<span>{DURATION})", re.I
)
AMOUNT = r"(?<!\d)\d{1,9}(?:\.\d{1,6})?"
MONEY = rf"(?:\$\s*(?P<a>{AMOUNT})|(?P<b>{AMOUNT})\s*(?:usd|us dollars|dollars|us\$))"
BUDGET = re.compile(
    r"\b(?:budget|spend|cost(?:s)?(?: cap)?|pay|at most|no more than|less than|up to)\b"
    rf"[^.;\n]{{0,25}}?{MONEY}",
    re.I,
)
TARGET = re.compile(
    r"\b(?:target|at least|accura\w+|success\w*|reach\w*|correct\w*|right|score\w*|above|aim\w*)\b"
    rf"[^.;\n]{{0,40}}?(?P<share>{SHARE})"
    rf"|(?P<before>{SHARE})\s*(?:\w+\s+){{0,3}}(?:right|correct|accura\w+|exact\w*)",
    re.I,
)
ANY_SHARE = re.compile(rf"(?<![\w.])(?P<share>{SHARE}|{NUMBER})(?![\w.]*\w)", re.I)
DELEGATED = re.compile(
    r"\b(?:you decide|you choose|up to you|not sure|no idea|(?:do not|don'?t) know|whatever|"
    r"recommend\w*|default)\b",
    re.I,
)
YES = re.compile(r"(?:yes|yep|sure|ok(?:ay)?|go ahead|go|approved?|looks? (?:good|right))\b", re.I)
NO = re.compile(r"(?:no|nope|not now|not yet|stop)\b", re.I)
JSON = re.compile(r"\bjson\b", re.I)
SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?](?!\s|$)[^.!?\n]*)*[.!?\n]?")


class Interpreter(Protocol):
    """Reads messages."""

    def read(self, message: str, brief: Brief) -> BriefPatch:
        """Return what a message adds to the brief.

        Args:
            message: What the person said, 1 to 8,000 characters.
            brief: What is known; `open_question` says what the message may answer.
        """
        ...


class DeterministicReader:
    """Reads by patterns: the same message gives the same patch, with no model at all."""

    def __init__(self, base_models: Collection[str]) -> None:
        """Keep the base models that a message may name, by id."""
        self._base_models = tuple(base_models)

    def read(self, message: str, brief: Brief) -> BriefPatch:
        """Return what a message adds to the brief."""
        rest = _Rest(message)
        overrides, notes = _overrides(rest)
        base_model = self._base_model(rest)
        technique = _technique(rest)
        alias = rest.take(ALIAS, 1)
        users = rest.take(USERS, 1)
        deadline_s = _deadline(rest, brief)
        budget = _budget(rest)
        target, target_notes = _target(rest, brief)
        if hardware := rest.take(HARDWARE, 0):
            notes.append(
                f"Hardware is inferred from the plan, so '{hardware}' was not taken as a wish."
            )
        bare = len(message.split()) <= BARE_WORDS_MAX
        agreement = None
        if bare and YES.match(message.strip()):
            agreement = True
        elif bare and NO.match(message.strip()):
            agreement = False
        problem, problem_notes = _problem(rest, brief, agreement is not None)
        return BriefPatch(
            problem=problem,
            users=users.strip() if users else None,
            target=target,
            target_delegated=brief.open_question == TARGET_PATH
            and target is None
            and bool(DELEGATED.search(message)),
            output_kind="json" if JSON.search(message) else None,
            technique=technique,
            base_model=base_model,
            alias=alias,
            deadline_s=deadline_s,
            cost_cap_micro_usd=budget,
            overrides=overrides,
            agreement=agreement,
            notes=(*notes, *target_notes, *problem_notes),
        )

    def _base_model(self, rest: _Rest) -> str | None:
        for model in sorted(self._base_models, key=len, reverse=True):
            for name in (model, model.rsplit("/", 1)[-1]):
                pattern = re.compile(MODELS_NAMED.format(name=re.escape(name)), re.I)
                if rest.take(pattern, 0):
                    return model
        return None


class _Rest:
    """A message, and which of its characters were understood so far."""

    def __init__(self, message: str) -> None:
        # Runs of spaces would make the patterns slow, and tell nothing.
        lines = [" ".join(line.split()) for line in message.splitlines()]
        self.message = "\n".join(line for line in lines if line)
        self._open = self.message

    def take(self, pattern: re.Pattern[str], group: int | str) -> str | None:
        """Return a group of the first match in what is still open, and close the match."""
        match = pattern.search(self._open)
        if match is None:
            return None
        self.close(match)
        return match[group] or None

    def find(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Return the first match in what is still open."""
        return pattern.search(self._open)

    def fully(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Return the match with all that is open, spaces and final points aside."""
        return pattern.fullmatch(self._open.strip().rstrip(".!").strip())

    def close(self, match: re.Match[str]) -> None:
        """Mark a match as understood."""
        gap = "\x00" * (match.end() - match.start())
        self._open = self._open[: match.start()] + gap + self._open[match.end() :]

    def telling_sentences(self) -> list[str]:
        """Return the sentences that say more than what was understood in them."""
        found = []
        for match in SENTENCE.finditer(self.message):
            left = self._open[match.start() : match.end()]
            words = [word.lower().strip(".,;:!?") for word in left.replace("\x00", " ").split()]
            telling = [word for word in words if word and word not in FILLERS]
            if match[0].strip() and ("\x00" not in left or len(telling) >= TELLING_WORDS_MIN):
                found.append(match[0].strip())
        return found


def _overrides(rest: _Rest) -> tuple[dict[str, Value], list[str]]:
    found: dict[str, Value] = {}
    notes: list[str] = []
    for override in OVERRIDES:
        match = rest.find(override.pattern)
        if match is None:
            continue
        rest.close(match)
        text = next(group for group in match.groups() if group is not None)
        value = override.read(text)
        if value is None:
            notes.append(f"'{match[0].strip()}' was not understood: {override.wanted}.")
        else:
            found[override.field_path] = value
    return found, notes


def _technique(rest: _Rest) -> str | None:
    for pattern, title in TECHNIQUES:
        if rest.take(pattern, 0):
            return title
    return None


def _deadline(rest: _Rest, brief: Brief) -> int | None:
    match = rest.find(DEADLINE) or rest.fully(BARE_DEADLINE)
    if match is None and brief.problem:
        # In a first message, `within two hours` may be part of the problem itself.
        match = rest.find(WITHIN)
    if match is None:
        return None
    rest.take(re.compile(re.escape(match[0])), 0)
    return duration_s(match["span"])


def _budget(rest: _Rest) -> int | None:
    match = rest.find(BUDGET) or rest.fully(re.compile(MONEY, re.I))
    if match is None:
        return None
    rest.take(re.compile(re.escape(match[0])), 0)
    return round(float(match["a"] or match["b"]) * 1_000_000)


def _target(rest: _Rest, brief: Brief) -> tuple[float | None, list[str]]:
    match = rest.find(TARGET)
    text = (match["share"] or match["before"]) if match else None
    if match is None and brief.open_question == TARGET_PATH:
        match = rest.find(ANY_SHARE)
        text = match["share"] if match else None
    if match is None or text is None:
        return None, []
    value = share(text)
    if value is None and brief.open_question == TARGET_PATH:
        # Asked for a share, people answer `85` and mean percent.
        plain = number(text)
        value = plain / 100 if plain is not None and 1 < plain <= 100 else None
    if value is None or not 0 < value <= 1:
        return None, [f"'{text.strip()}' is not a share between 0 and 100 %, so it was left aside."]
    rest.close(match)
    return value, []


def _problem(rest: _Rest, brief: Brief, bare: bool) -> tuple[str | None, list[str]]:
    if bare or (brief.problem and brief.open_question != PROBLEM_PATH):
        return None, []
    text = " ".join(" ".join(rest.telling_sentences()).split())
    if len(text.split()) < PROBLEM_WORDS_MIN:
        return None, []
    if len(text) <= PROBLEM_CHARACTERS_MAX:
        return text, []
    cut = text[:PROBLEM_CHARACTERS_MAX].rsplit(" ", 1)[0]
    return cut, [f"The problem was shortened to {PROBLEM_CHARACTERS_MAX:,} characters."]
