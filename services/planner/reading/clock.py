"""Deadlines that are said by the clock or by the day: `it is noon, and at six they are gone`."""

from __future__ import annotations

import re

HOURS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
}  # fmt: skip
NAMED_HOURS = {"noon": 12, "midday": 12, "lunchtime": 12, "midnight": 24}
HOUR_WORDS = "|".join(HOURS)
HOUR_NAMES = "|".join(NAMED_HOURS)
PART = (
    r"(?:in the |this |tomorrow )?(?P<part>morning|afternoon|evening|night)|tonight|"
    r"p\.?m\b\.?|a\.?m\b\.?"
)
CLOCK = re.compile(
    rf"(?<![\w.,])(?:(?P<word>{HOUR_WORDS})|(?P<digits>\d{{1,2}})(?:[:.](?P<minutes>\d\d))?)"
    rf"(?P<sharp> ?o.?clock| ?h\b)?,? ?(?P<day>{PART})?(?![\w%])|\b(?P<named>{HOUR_NAMES})\b"
)
NOW = re.compile(
    r"\b(?:it is|it's|its|now is|right now it is|we have|at present it is)(?: now| just)? $"
)
LIMIT = re.compile(
    r"\b(?:by|at|until|till|before|from|not after|no later than|latest|tonight (?:by|at))"
    r"(?: (?:latest|about|around|exactly))? $"
)
DONE = re.compile(
    r"\b(?:done|finish\w*|ready|complete\w*|over|trained|deadline|due|by then|until then|belong\w*|"
    r"gone|need\w*|must|have to|has to|free|available|taken|reserved|returned)\b"
)
PERIODS = (
    (24, r"(?:by|before|until|for) tomorrow(?: (?:evening|night|noon|afternoon))?"),
    (14, r"over ?night|by (?:tomorrow|next) morning|first thing tomorrow|by the morning"),
    (
        8,
        r"by (?:tonight|this evening|the end of (?:the|this) (?:day|shift))|before (?:close|"
        r"closing)|"
        r"(?:still|yet) today|by end of (?:day|business)|by eod",
    ),
    (
        120,
        r"(?:by|before|until) (?:the end of (?:the|this) week|the weekend)|within (?:the|"
        r"this) week",
    ),
)
"""Hours that are left when only the day is named: what is safe to count on."""
NAMED_PERIODS = tuple((hours, re.compile(rf"\b(?:{words})\b")) for hours, words in PERIODS)
SECONDS = 3600


def clock_deadline(folded: str) -> int | None:
    """Return the seconds between the time that it is and the time that is set, or None.

    Where only a day is named, the hours that are left of it at least.

    Args:
        folded: A whole message, folded.
    """
    if not DONE.search(folded):
        return None
    now: float | None = None
    limit: float | None = None
    for match in CLOCK.finditer(folded):
        before = folded[max(0, match.start() - 28) : match.start()]
        if NOW.search(before):
            now = _hour(match)
        elif LIMIT.search(before) and (now is not None or limit is None):
            limit = _hour(match)
    if now is not None and limit is not None and now != limit:
        left = limit - now
        while left <= 0:
            left += 12
        return round(left * SECONDS)
    return next((hours * SECONDS for hours, words in NAMED_PERIODS if words.search(folded)), None)


def _hour(match: re.Match[str]) -> float:
    """Return the hour of the day, 0 to 24, that a clock time means."""
    if match["named"]:
        return float(NAMED_HOURS[match["named"]])
    hour = float(HOURS[match["word"]] if match["word"] else match["digits"])
    hour += int(match["minutes"] or 0) / 60
    day = match["day"] or ""
    late = match["part"] in ("afternoon", "evening", "night") or day.startswith(("p", "tonight"))
    return hour + 12 if late and hour < 12 else hour
