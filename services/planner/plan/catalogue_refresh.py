"""Compares the catalogue with the hub: `python -m services.planner.plan.catalogue_refresh`.

Prints what would change; `--write` changes the file. The hub is HF_ENDPOINT, as for the Hugging
Face libraries, and HF_TOKEN is sent along where it is set, for models whose owner grants access.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from services.planner.plan.catalogue import CATALOGUE

HUB = "https://huggingface.co"
TIMEOUT_S = 20.0
ANSWER_BYTES_MAX = 8 * 1024 * 1024
"""Of one answer; a model's description stays far below."""
LOCAL = "attune/"
"""Models with this prefix are made here and are on no hub."""
NAMED_LICENCES = {"apache-2.0": "Apache-2.0", "mit": "MIT"}
"""The hub's names of licences that have an SPDX identifier."""
WHOLE_NUMBERS = frozenset({"F64", "F32", "F16", "BF16"})
"""Number formats that hold one parameter in each element; packed ones hold several."""
COUNT_TOLERANCE = 0.01
"""Relative difference of parameter counts below which the computed one stays."""
ENTRY_ORDER = (
    "id",
    "licence",
    "context_length",
    "parameter_count",
    "active_parameter_count",
    "languages",
    "strengths",
    "released",
    "instruction_tuned",
    "gated",
    "source",
)


class Hub:
    """Reads what a hub says about models."""

    def __init__(self, endpoint: str, token: str = "", timeout_s: float = TIMEOUT_S) -> None:
        """Keep where it is.

        Args:
            endpoint: URL without the path.
            token: Sent as bearer token; empty for none.
            timeout_s: Longest wait for one answer, in seconds.
        """
        self._endpoint = endpoint.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout_s = timeout_s

    def facts(self, model: str) -> dict[str, Any]:
        """Return the facts of a model that the hub states, by the catalogue's names.

        Raises:
            OSError: If the hub cannot be reached or does not have it.
            ValueError: If the answer is no JSON object, or longer than 8 MiB.
        """
        info = self._get(f"/api/models/{quote(model)}")
        found: dict[str, Any] = {"gated": bool(info.get("gated"))}
        card = info.get("cardData") or {}
        if licence := _licence(card):
            found["licence"] = licence
        try:
            config = self._get(f"/{quote(model)}/resolve/main/config.json")
        except urllib.error.HTTPError as error:
            if error.code not in (401, 403):
                raise
            config = {}  # Its owner must grant access first; the card is public all the same.
        text = config.get("text_config") or config
        if context := text.get("max_position_embeddings"):
            found["context_length"] = int(context)
        counts = (info.get("safetensors") or {}).get("parameters") or {}
        if counts and set(counts) <= WHOLE_NUMBERS and "vision_config" not in config:
            found["parameter_count"] = sum(counts.values())
        return found | {"commit": str(info.get("sha", ""))[:12]}

    def _get(self, path: str) -> dict[str, Any]:
        request = urllib.request.Request(self._endpoint + path, headers=self._headers)
        with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:
            body = answer.read(ANSWER_BYTES_MAX + 1)
        if len(body) > ANSWER_BYTES_MAX:
            raise ValueError(f"{path}: the answer is longer than {ANSWER_BYTES_MAX:,} bytes")
        value = json.loads(body)
        if not isinstance(value, dict):
            raise ValueError(f"{path}: expected a JSON object")
        return value


def _licence(card: dict[str, Any]) -> str:
    """Return the licence that a model card names; `other` carries its name beside it."""
    named = card.get("license")
    if named == "other":
        named = card.get("license_name")
    return NAMED_LICENCES.get(str(named), str(named)) if named else ""


def changes(entry: dict[str, Any], facts: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what a hub's facts would change in an entry: before and after, by field."""
    found = {}
    for name in ("licence", "context_length", "parameter_count", "gated"):
        before, after = entry.get(name, False), facts.get(name)
        if after is None or after == before:
            continue
        if name == "parameter_count" and abs(after - before) <= COUNT_TOLERANCE * before:
            continue
        found[name] = (before, after)
    return found


def entry_text(entry: dict[str, Any]) -> str:
    """Return an entry as it stands in the file."""
    lines = []
    for name in ENTRY_ORDER:
        if name not in entry:
            continue
        value = entry[name]
        if name == "source":
            lines.append("source: >-")
            lines += [f"  {line}" for line in textwrap.wrap(value, 90)]
        elif isinstance(value, bool):
            lines.append(f"{name}: {str(value).lower()}")
        elif isinstance(value, list):
            lines.append(f"{name}: [{', '.join(value)}]")
        elif name == "released":
            lines.append(f'{name}: "{value}"')
        elif isinstance(value, int) and name != "context_length":
            lines.append(f"{name}: {value:_}")
        else:
            lines.append(f"{name}: {value}")
    return "  - " + "\n    ".join(lines) + "\n"


def refresh(path: Path, hub: Hub, write: bool) -> int:
    """Compare a catalogue with a hub and print the differences.

    Args:
        path: Of the catalogue.
        hub: Where to ask.
        write: Whether to change the file, too.

    Returns:
        How many models could not be compared.
    """
    text = path.read_text()
    body = yaml.safe_load(text)
    failed = 0
    for entry in body["models"]:
        if entry["id"].startswith(LOCAL):
            continue
        try:
            facts = hub.facts(entry["id"])
        except (OSError, ValueError) as error:
            sys.stderr.write(f"{entry['id']}: not compared: {error}\n")
            failed += 1
            continue
        found = changes(entry, facts)
        for name, (before, after) in found.items():
            sys.stdout.write(f"{entry['id']}: {name}: {before} -> {after}\n")
        licence = found.get("licence", ("", ""))[1]
        if licence and licence not in body["licences"]:
            sys.stderr.write(
                f"{entry['id']}: licence '{licence}' is not among those that the file explains; "
                "add it there, then run this again.\n"
            )
            failed += 1
            continue
        if found:
            text = text.replace(entry_text(entry), entry_text(_changed(entry, found, facts)))
    if write:
        path.write_text(text)
    return failed


def _changed(
    entry: dict[str, Any], found: dict[str, tuple[Any, Any]], facts: dict[str, Any]
) -> dict[str, Any]:
    values = {name: after for name, (_, after) in found.items()}
    where = f"{', '.join(found)} read from the hub at commit {facts['commit']}"
    return entry | values | {"source": f"{entry['source']}; {where}"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 1 when a model could not be compared."""
    parser = argparse.ArgumentParser(prog="python -m services.planner.plan.catalogue_refresh")
    parser.add_argument("--write", action="store_true", help="change the file")
    parser.add_argument("--file", type=Path, default=CATALOGUE, help="catalogue to compare")
    options = parser.parse_args(arguments)
    hub = Hub(os.environ.get("HF_ENDPOINT") or HUB, os.environ.get("HF_TOKEN", ""))
    return 1 if refresh(options.file, hub, options.write) else 0


if __name__ == "__main__":
    raise SystemExit(main())
