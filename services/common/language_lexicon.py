"""The words by language that telling languages apart needs, from YAML beside this."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml


@cache
def words_by_language() -> dict[str, frozenset[str]]:
    """Return the most frequent words of languages in Latin letters, by ISO 639-1."""
    content = _read()
    return {code: frozenset(words.split()) for code, words in content["words"].items()}


@cache
def pieces_by_language() -> dict[str, tuple[str, ...]]:
    """Return pieces of words that are telling, by ISO 639-1; `-` stands for a word's border."""
    content = _read()
    return {code: tuple(pieces.split()) for code, pieces in content["pieces"].items()}


@cache
def _read() -> Any:
    path = Path(__file__).with_name("language_lexicon.yaml")
    return yaml.safe_load(path.read_text(encoding="utf-8"))
