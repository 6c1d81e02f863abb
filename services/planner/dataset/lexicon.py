"""The expressions by language that the reading of rows needs, from YAML beside this."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

_FOLDER = Path(__file__).parent


def injection_patterns() -> list[tuple[tuple[str, ...], str]]:
    """Return expressions, each with small letters of which a text must hold one to match."""
    content = _read("lexicon_injection.yaml")
    names = {name: _joined(value) for name, value in content["names"].items()}

    def filled(value: Any) -> str:
        text = _joined(value)
        for name, expression in names.items():
            text = text.replace(f"{{{name}}}", expression)
        return text

    return [
        (tuple(_joined(entry["needs"]).split("|")), filled(entry["pattern"]))
        for entries in content["languages"].values()
        for entry in entries
    ]


def _joined(value: Any) -> str:
    return value if isinstance(value, str) else "".join(value)


def _read(name: str) -> Any:
    return yaml.safe_load((_FOLDER / name).read_text(encoding="utf-8"))
