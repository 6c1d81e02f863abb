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

from services.common.errors import InvalidArgument

FILE_BYTES_MAX = 64 * 1024 * 1024
ROWS_MAX = 10_000
"""Rows of one file."""
ANSWER = "output_text"
"""Field of a row that holds the answer to grade, where there is one."""


def read_grader(path: Path, name: str) -> Grader:
    """Return the grader that a file holds.

    Args:
        path: JSON or YAML: a grader, or a plan as `attune spec show --json` writes it.
        name: Of a plan's grader; its first one when empty.

    Raises:
        InvalidArgument: If the file cannot be read, or has none of that name.
    """
    try:
        held = yaml.safe_load(_text(path))  # Every JSON is YAML, too.
    except (yaml.YAMLError, RecursionError) as error:
        line = str(error).splitlines()[0]
        raise _refused(path, f"is neither JSON nor YAML: {line}", "NOT_A_FILE") from None
    if not isinstance(held, Mapping):
        raise _refused(path, "holds no grader. Write one as an object", "NO_GRADER")
    try:
        if "evaluation" in held or "stages" in held:
            spec = ParseDict(dict(held), Spec(), ignore_unknown_fields=True)
            return _of_spec(path, spec, name)
        return ParseDict(_ours(held) if "type" in held else dict(held), Grader())
    except (ParseError, TypeError, KeyError, ValueError) as error:
        raise _refused(path, f"holds no grader: {error}", "NO_GRADER") from None


def read_samples(path: Path) -> list[GraderSample]:
    """Return the rows of a file, one JSON object a line, with the answers that they hold.

    Raises:
        InvalidArgument: If a line is no object, or there are none or too many.
    """
    found = []
    for line, text in enumerate(_text(path).split("\n"), 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise _refused(path, f"has no JSON object in line {line}. Correct it", "NOT_A_ROW")
        answer = row.pop(ANSWER, None)
        sample = GraderSample(item=json.dumps(row))
        if answer is not None:
            sample.output_text = answer if isinstance(answer, str) else json.dumps(answer)
        found.append(sample)
        if len(found) > ROWS_MAX:
            raise _refused(path, f"has over {ROWS_MAX:,} rows. Take some of them", "TOO_MANY")
    if not found:
        raise _refused(path, "has no rows. Write one JSON object a line", "NO_ROWS")
    return found


def _of_spec(path: Path, spec: Spec, name: str) -> Grader:
    graders = [*spec.evaluation.graders, *_rewards(spec)]
    for grader in graders:
        if name in ("", grader.name):
            return grader
    known = ", ".join(sorted({grader.name for grader in graders})) or "none"
    raise _refused(path, f"has no grader '{name}', but: {known}. Choose with --name", "NO_GRADER")


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


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise _refused(path, f"has over {FILE_BYTES_MAX:,} bytes. Take a part of it", "TOO_BIG")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise _refused(path, f"cannot be read: {reason}", "NO_FILE") from None


def _refused(path: Path, what: str, reason: str) -> InvalidArgument:
    return InvalidArgument(f"{path} {what}.", reason=reason, path=str(path))
