"""Numbers, shares and durations as people write them, in the languages of the lexicon."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from services.planner.reading.lexicon import lexicon

DOT_GROUPS = ("de", "es", "pt", "it", "nl", "fr", "tr")
"""Languages that write 3.400 for three thousand four hundred."""
DIGITS = (
    r"\d{1,3}(?:[ .,']\d{3})+(?![\d.,]\d)(?:[.,]\d{1,2})?|"
    r"\d{1,9}(?:[.,]\d{1,9})?(?:e[-+]?\d{1,2})?"
)
SCALES = {
    "k": 1e3,
    "thousand": 1e3,
    "tsd": 1e3,
    "tausend": 1e3,
    "mille": 1e3,
    "mila": 1e3,
    "duizend": 1e3,
    "m": 1e6,
    "mio": 1e6,
    "million": 1e6,
    "millionen": 1e6,
    "millions": 1e6,
    "millones": 1e6,
    "milhoes": 1e6,
    "milioni": 1e6,
    "miljoen": 1e6,
    "万": 1e4,
    "千": 1e3,
    "百": 1e2,
    "百万": 1e6,
    "億": 1e8,
    "割": 0.1,
    "成": 0.1,
}
SCALE = (
    r"(?:k|m)(?![\w'])|\s?(?:thousand|tsd\.?|tausend|mille|mila|mil|duizend|mio|million(?:en|s)?|"
    r"millones|milhoes|milioni|miljoen)(?!\w)|百万|[万千百億割成]"
)
PERCENT = (
    r"\s?(?:%|percent\b|per cent\b|prozent\b|pct\b|pour ?cent\b|por ?cien(?:to)?\b|por ?cento\b|"
    r"per ?cento\b|procent\b|パーセント|个百分点)"
)
OF = (
    r"\s(?:out of|in|of|von|auf|sur|de cada|de|em cada|em|cada|su|op de|op|van de|van|ogni)"
    r"(?: (?:every|each|the|those|these|our|all|a|los|las|den|de|les|das|todos|alle|elke|cada))?\s"
)
ORDINALS = {
    2: "second|other|zweite[nrs]?|deuxieme|seconde?|tweede",
    3: "third|dritte[nrs]?|troisieme|tercer[ao]?|terceir[ao]|terz[ao]|derde",
    4: "fourth|vierte[nrs]?|quatrieme|cuart[ao]|quart[ao]|vierde",
    5: "fifth|funfte[nrs]?|cinquieme|quint[ao]|vijfde",
    20: "twentieth|zwanzigste[nrs]?|vingtieme|vigesim[ao]|twintigste",
    10: "tenth|zehnte[nrs]?|dixieme|decim[ao]|tiende",
}
EVERY = r"(?:every|each|jede[rsnm]?|chaque|cada|ogni|elke?|iedere?|tous les|une?) "
PARTS = (
    (1 / 2, "half|halfte|moitie|mitad|metade|meta|helft|半分|半数|一半|半分以上"),
    (
        2 / 3,
        "two thirds|two-thirds|zwei drittel|deux tiers|dos tercios|dois tercos|due terzi|"
        "twee ?derde",
    ),
    (1 / 3, "(?:a|one) third|(?:ein|einem) drittel|un tiers|un tercio|um terco|un terzo|een derde"),
    (
        3 / 4,
        "three quarters|three-quarters|drei viertel|dreiviertel|trois quarts|tres cuartos|"
        "tres quartos|tre quarti|drie ?kwart",
    ),
    (1 / 4, "(?:a|one) quarter|(?:ein|einem) viertel|un quart|un cuarto|um quarto|een kwart"),
)
WHOLE_MAX = 1000
"""`3 of 5,000` is a share of more than this only where right answers are counted."""
QUANTITIES_MAX = 16
"""In one sentence: a list of more numbers says nothing about a plan."""
COLLECTIVES = ("aine", "dozen", "docena", "dutzend", "dozzina", "dozijn", "duzia")
"""Endings of words for a number of things, which `a` or `two` multiply."""
TIMES = {
    "minute": (60, "minutes?|mins?|minuten?|minutos?|minuti|minuut|分間|分(?![のず])|分钟"),
    "hour": (3600, "hours?|hrs?|h|stunden?|std|heures?|horas?|ore|ora|uur|uren|時間|小时"),
    "day": (86400, "days?|tage?n?|jours?|dias?|giorn[oi]|dag(?:en)?|日間|日|天"),
    "week": (604800, "weeks?|wochen?|semaines?|semanas?|settiman[ae]|we(?:ek|ken)|週間|周"),
}
DURATION_UNIT = "|".join(f"(?P<{name}>(?:{words})(?![a-z]))" for name, (_, words) in TIMES.items())


@dataclass(frozen=True)
class Quantity:
    """A number in a folded sentence."""

    start: int
    end: int
    value: float
    """As it counts: 44 % is 0.44, 12k is 12000, one in ten is 0.1."""
    is_share: bool
    """Whether it was written as a share: a percentage, `one in ten`, `half`."""
    is_decimal: bool = False
    """Whether it was written with decimals, as 0.85."""


def number(text: str, language: str = "en") -> float | None:
    """Return a number written in digits or words, or None."""
    found = quantities(text.strip().lower(), language)
    whole = len(found) == 1 and found[0].end - found[0].start == len(text.strip())
    return found[0].value if whole and not found[0].is_share else None


def quantities(folded: str, language: str) -> list[Quantity]:
    """Return the first 16 numbers of a folded sentence, in order; none overlap."""
    found: list[Quantity] = []
    plain = list(_plain(folded, language))
    taken = -1
    for index, each in enumerate(plain):
        if each.start < taken:
            continue
        following = plain[index + 1] if index + 1 < len(plain) else None
        share = _share(folded, each, following)
        found.append(share or each)
        taken = found[-1].end
    for pattern, value in _parts():
        for match in pattern.finditer(folded):
            found = [q for q in found if q.end <= match.start() or q.start >= match.end()]
            found.append(Quantity(match.start(), match.end(), value, True))
    return sorted(found, key=lambda quantity: quantity.start)[:QUANTITIES_MAX]


def duration_after(folded: str, quantity: Quantity) -> tuple[int, int] | None:
    """Return the seconds of a duration that opens with a number, and where it ends, or None."""
    match = re.compile(rf"\s?-?(?:{DURATION_UNIT})").match(folded, quantity.end)
    if match is None or quantity.is_share or match.lastgroup is None:
        return None
    return round(quantity.value * TIMES[match.lastgroup][0]), match.end()


def digits_value(text: str, language: str) -> float:
    """Return the value of digits with whatever separators the language uses."""
    groups = re.fullmatch(r"(\d{1,3})((?:[ .,']\d{3})+)([.,]\d{1,2})?", text)
    if groups and not groups[1].startswith("0"):
        separators = set(re.findall(r"[ .,']", groups[2]))
        dots_are_decimal = separators == {"."} and language not in DOT_GROUPS
        if len(separators) == 1 and (not dots_are_decimal or groups[2].count(".") > 1):
            rest = (groups[3] or "").replace(",", ".")
            return float(re.sub(r"[ .,']", "", groups[1] + groups[2]) + rest)
    mantissa, _, exponent = text.replace(",", ".").replace(" ", "").replace("'", "").partition("e")
    whole, *decimals = mantissa.split(".")
    return float(f"{whole}.{''.join(decimals) or 0}" + (f"e{exponent}" if exponent else ""))


def _plain(folded: str, language: str) -> list[Quantity]:
    found = []
    for match in _number_pattern(language).finditer(folded):
        if match["digits"]:
            value = digits_value(match["digits"], language)
            decimal = "." in match["digits"] or "," in match["digits"]
            scale = (match["scale"] or "").strip().rstrip(".")
            if scale == "mil":
                value *= 1e3 if language in ("es", "pt") else 1e6
            elif scale:
                value *= SCALES[scale]
            value = float(f"{value:.12g}")
            is_share = scale in ("割", "成")
            found.append(Quantity(*match.span(), value, is_share, decimal and value < 1000))
        else:
            spoken = _spoken(match["words"], language)
            if spoken is not None:
                found.append(Quantity(*match.span(), spoken, False))
    return found


def _share(folded: str, quantity: Quantity, following: Quantity | None) -> Quantity | None:
    """Return the share that opens with a number, or None."""
    if percent := _PERCENT.match(folded, quantity.end):
        return Quantity(quantity.start, percent.end(), round(quantity.value / 100, 9), True)
    if folded[quantity.start - 1 : quantity.start] == "%":
        # Turkish and Basque put the sign before the number.
        return Quantity(quantity.start - 1, quantity.end, round(quantity.value / 100, 9), True)
    if following is None:
        return None
    if _JAPANESE_OF.fullmatch(folded[quantity.end : following.start]):
        low, high = sorted((quantity.value, following.value))
        return Quantity(quantity.start, following.end, low / high, True)
    if following.value <= 0 or following.value < quantity.value:
        return None
    between = folded[quantity.end : following.start]
    if following.value > WHOLE_MAX and not (
        quantity.value >= following.value / 2 and _JUDGED.search(folded)
    ):
        return None
    if between == "/" and following.value > 1 and folded[following.end : following.end + 1] != "/":
        share = quantity.value / following.value
        return Quantity(quantity.start, following.end, share, True)
    after = folded[following.end :]
    if quantity.value == 1 and _ONE_OF.fullmatch(between) and not _COUNTED.match(after):
        return None  # `One of 24 groups` chooses.
    if len(between) <= 32 and _OF.fullmatch(between) and following.value >= 2:
        return Quantity(quantity.start, following.end, quantity.value / following.value, True)
    return None


_PERCENT = re.compile(PERCENT)
_JUDGED = re.compile(r"\b(?:right|correct\w*|pass\w*|solve[sd]?|accept\w*|valid|wrong|fail\w*)\b")
_ONE_OF = re.compile(r"\s(?:of|von|de|di|van)(?: (?:the|our|these|those))?\s")
_COUNTED = re.compile(
    r"\s*(?:$|[,.;)]|(?:[a-z]+ ){0,2}?(?:is|are|was|were|gets?|fails?|pass(?:es)?|comes?|needs?|"
    r"has|have|ist|sind|est|sont|es|son|e|sono|are|right|wrong|correct)\b)"
)
_JAPANESE_OF = re.compile(r"[件問回人通個行枚本点]?(?:に|中|のうち|あたり)")
_OF = re.compile(rf"(?:\s[a-z']{{2,14}}){{0,2}}{OF}")


@cache
def _parts() -> tuple[tuple[re.Pattern[str], float], ...]:
    found = [(re.compile(rf"(?<!\w)(?:{words})(?!\w)"), value) for value, words in PARTS]
    found += [
        (re.compile(rf"(?<!\w){EVERY}(?:{words})(?!\w)"), 1 / whole)
        for whole, words in ORDINALS.items()
    ]
    return tuple(found)


@cache
def _words(language: str) -> dict[str, float]:
    """Return number words of a language with their values."""
    found: dict[str, float] = {}
    for value, phrases in lexicon(language).groups.get("numbers", {}).items():
        found |= {phrase.source: float(value) for phrase in phrases}
    joiner = {"de": "und", "nl": "en"}.get(language)
    if joiner:
        units = {word: value for word, value in found.items() if value < 10}
        tens = {word: value for word, value in found.items() if 20 <= value < 100}
        for unit, one in units.items():
            found |= {f"{unit}{joiner}{ten}": one + more for ten, more in tens.items()}
    return found


@cache
def _number_pattern(language: str) -> re.Pattern[str]:
    words = {**_words("en"), **_words(language)}
    choice = "|".join(sorted(map(re.escape, words), key=len, reverse=True))
    joined = rf"(?:{choice})(?:(?:[ -]|-?\band\b ?|\by\b ?|\be\b ?|-et-)?(?:{choice})){{0,5}}"
    return re.compile(
        rf"(?<![a-z0-9_.,])(?P<digits>{DIGITS})(?P<scale>{SCALE})?|(?<!\w)(?P<words>{joined})(?!\w)"
    )


def _spoken(text: str, language: str) -> float | None:
    """Return the value of number words in a row."""
    words = {**_words("en"), **_words(language)}
    total = current = 0.0
    parts = [text] if text in words else re.split(r"[ -]", text)
    for part in parts:
        value = words.get(part)
        if value is None:
            continue
        if value >= 1000:
            total, current = total + max(current, 1) * value, 0
        elif current and (value == 100 or part.endswith(COLLECTIVES)):
            current *= value
        else:
            current += value
    return total + current or None
