"""Reads graders and rows from files: a grader alone, OpenAI's shape of one, or a plan with some."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from attune.spec.v1.grader_pb2 import Grader
from attune.spec.v1.spec_pb2 import Spec
from attune.trainer.v1.grader_pb2 import GraderSample
from google.protobuf.json_format import ParseDict, ParseError

from cli.text_file import read_text, refused

ROWS_MAX = 10_000
"""Rows of one file."""
ANSWER = "output_text"
"""Field of a row that holds the answer to grade, where there is one."""


def read_grader(path: Path, name: str) -> Grader:
    """Return one of the graders that a file holds.

    Args:
        path: As for `read_graders`.
        name: Of the grader; the first one when empty.

    Raises:
        InvalidArgument: As `read_graders`, or if there is none of that name.
    """
    found = read_graders(path)
    for grader in found:
        if name in ("", grader.name):
            return grader
    known = ", ".join(sorted(grader.name for grader in found)) or "none"
    raise refused(path, f"has no grader '{name}', but: {known}. Choose with --name", "NO_GRADER")


def read_graders(path: Path) -> list[Grader]:
    """Return the graders that a file holds, each name once.

    Args:
        path: JSON or YAML: a grader, or a plan as `attune spec show --json` writes it, whose
            evaluation comes before its rewards.

    Raises:
        InvalidArgument: If the file cannot be read, or is neither.
    """
    try:
        held = yaml.safe_load(read_text(path))  # Every JSON is YAML, too.
    except (yaml.YAMLError, RecursionError) as error:
        line = str(error).splitlines()[0]
        raise refused(path, f"is neither JSON nor YAML: {line}", "NOT_A_FILE") from None
    if not isinstance(held, Mapping):
        raise refused(path, "holds no grader. Write one as an object", "NO_GRADER")
    try:
        if "evaluation" in held or "stages" in held:
            spec = ParseDict(dict(held), Spec(), ignore_unknown_fields=True)
            by_name: dict[str, Grader] = {}
            for grader in (*spec.evaluation.graders, *_rewards(spec)):
                by_name.setdefault(grader.name, grader)
            return list(by_name.values())
        return [ParseDict(_ours(held) if "type" in held else dict(held), Grader())]
    except (ParseError, TypeError, KeyError, ValueError) as error:
        raise refused(path, f"holds no grader: {error}", "NO_GRADER") from None


def read_samples(path: Path) -> list[GraderSample]:
    """Return the rows of a file, one JSON object a line, with the answers that they hold.

    Raises:
        InvalidArgument: If a line is no object, or there are none or too many.
    """
    found = []
    for line, text in enumerate(read_text(path).split("\n"), 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise refused(path, f"has no JSON object in line {line}. Correct it", "NOT_A_ROW")
        answer = row.pop(ANSWER, None)
        sample = GraderSample(item=json.dumps(row))
        if answer is not None:
            sample.output_text = answer if isinstance(answer, str) else json.dumps(answer)
        found.append(sample)
        if len(found) > ROWS_MAX:
            raise refused(path, f"has over {ROWS_MAX:,} rows. Take some of them", "TOO_MANY")
    if not found:
        raise refused(path, "has no rows. Write one JSON object a line", "NO_ROWS")
    return found


def _rewards(spec: Spec) -> Iterator[Grader]:
    for stage in spec.stages:
        for weighted in stage.reward.graders:
            yield weighted.grader


def _ours(theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a grader of OpenAI's shape, which names its kind in `type`, in ours."""
    values = {key: each for key, each in theirs.items() if key not in ("type", "name", "image_tag")}
    kind = str(theirs["type"])
    if kind == "string_check":
        values["operation"] = f"OPERATION_{str(values['operation']).upper()}"
    if "range" in values:
        values["range_low"], values["range_high"] = values.pop("range")
    if "sampling_params" in values:
        given = dict(values.pop("sampling_params"))
        most = given.pop("max_completions_tokens", None) or given.pop("max_completion_tokens", None)
        kept = {key: given[key] for key in ("temperature", "top_p") if given.get(key) is not None}
        values["sampling"] = {**kept, **({"max_completion_tokens": most} if most else {})}
    if kind == "multi":
        parts = values["graders"]
        # One alone, or several by the names that the formula uses.
        named = {parts["name"]: parts} if "type" in parts else parts
        values["graders"] = [{**_ours(part), "name": key} for key, part in named.items()]
    return {"name": theirs["name"], kind: values}
