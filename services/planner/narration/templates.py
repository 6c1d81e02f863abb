"""The sentences of the planner in six languages, and how their gaps are filled.

A table `templates_<noun>.yaml` holds texts by key and language; its keys are read as
`<noun>.<key>`. Two marks are filled in:

- `{name}` is a value. `{name:kind}` says how it is written: `count` and `number` with the
  separators of the language, `percent` for a share in [0, 1], `duration` for seconds, `hours` for
  hours, `money` for millionths of a US dollar, `size` for parameters of a model, `quote` for words
  of a person or a file, between quotation marks, cut. Other text stands as it is given.
- `[one|another]` is the first part whose values are all there, or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path

import yaml

from services.planner.narration import figures

LANGUAGES = ("en", "de", "fr", "es", "pt", "ja")
FALLBACK = "en"
FOLDER = Path(__file__).parent
PLACEHOLDER = re.compile(r"\{(\w+)(?::(\w+))?\}")
CHOICE = re.compile(r"\[([^\[\]]*)\]")

LARGE = 500_000_000
"""Parameters from which on a size is given in the larger unit."""
SCALES = {
    "en": {"large_size": 1e9, "small_size": 1e6},
    "ja": {"large_size": 1e8, "small_size": 1e4},
}
"""By language: what the units of size count; languages that are missing count as English does."""

FRENCH_SPACE = re.compile(r" (?=[:;?!»])|(?<=«) ")
"""Where French keeps a mark on the line of its word."""

Value = str | int | float | Decimal
Values = Mapping[str, Value]


@cache
def load_templates() -> Mapping[str, Mapping[str, str]]:
    """Return all texts: by key such as `notices.pii`, by language."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    texts: dict[str, Mapping[str, str]] = {}
    for path in sorted(FOLDER.glob("templates_*.yaml")):
        noun = path.stem.removeprefix("templates_")
        table = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
        texts.update({f"{noun}.{key}": entry for key, entry in table.items()})
    return texts


def spoken(language: str) -> str:
    """Return the language that is answered in: the one asked for, or English without templates."""
    return language if language in LANGUAGES else FALLBACK


def has(key: str) -> bool:
    """Return whether there is a text with this key."""
    return key in load_templates()


def fill(key: str, language: str, values: Values | None = None) -> str:
    """Return a text with its gaps filled.

    Args:
        key: Such as `replies.consent`.
        language: ISO 639-1; English stands in for one without templates.
        values: By placeholder. An empty text counts as missing.

    Raises:
        KeyError: If there is no such text, or a value is missing outside brackets.
    """
    tongue = spoken(language)
    given = {name: value for name, value in (values or {}).items() if value != ""}
    template = load_templates()[key][tongue]
    chosen = CHOICE.sub(lambda choice: _first_complete(choice[1], given), template)
    if tongue == "fr":
        chosen = FRENCH_SPACE.sub("\u00a0", chosen)
    return PLACEHOLDER.sub(lambda gap: _written(given[gap[1]], gap[2] or "", tongue), chosen)


def duration(seconds: float, language: str) -> str:
    """Return a duration as people say it: `40 seconds`, `2,5 Stunden`."""
    if seconds < 1.5:
        return fill("units.one_second", language)
    for unit, length, below in (("seconds", 1, 90), ("minutes", 60, 5400), ("hours", 3600, 172800)):
        if seconds < below:
            digits = 1 if unit == "hours" else 0
            return fill(f"units.{unit}", language, {"count": _rounded(seconds / length, digits)})
    return fill("units.days", language, {"count": _rounded(seconds / 86400, 1)})


def size(parameters: float, language: str) -> str:
    """Return the size of a model as people say it: `8.2 billion parameters`, `82億パラメータ`."""
    unit = "large_size" if parameters >= LARGE else "small_size"
    scale = SCALES.get(spoken(language), SCALES[FALLBACK])[unit]
    return fill(f"units.{unit}", language, {"count": _rounded(parameters / scale, 1)})


def _rounded(value: float, digits: int) -> Decimal:
    return Decimal(repr(round(value, digits)))


def _first_complete(parts: str, given: Values) -> str:
    for part in parts.split("|"):
        if all(name in given for name, _ in PLACEHOLDER.findall(part)):
            return part
    return ""


def _written(value: Value, kind: str, language: str) -> str:
    if kind == "quote":
        return figures.quoted(str(value), language)
    exact = figures.parsed(value) if isinstance(value, str) and kind else value
    if exact is None or isinstance(exact, str):
        return str(value)
    if kind == "percent":
        return figures.percent(exact, language)
    if kind == "duration":
        return duration(float(exact), language)
    if kind == "hours":
        return duration(float(exact) * 3600, language)
    if kind == "size":
        return size(float(exact), language)
    if kind == "money":
        return figures.money(exact, language)
    return figures.number(exact, language)
