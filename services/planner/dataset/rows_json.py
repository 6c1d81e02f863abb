"""One row's JSON, read strictly: what Python's reader takes too lightly is a finding here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from services.planner.dataset.findings import Finding, found

DEPTH_MAX = 100
"""Levels of nesting; a row of any known shape has fewer than 20."""
SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
SURROGATE = re.compile("[\ud800-\udfff]")
STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)
BEGINNINGS = {"true"[:n] for n in (1, 2, 3)} | {"false"[:n] for n in (1, 2, 3, 4)}
BEGINNINGS |= {"null"[:n] for n in (1, 2, 3)} | {"-"}
"""Values that break off."""


class _DuplicateKey(ValueError):
    """An object names a key twice."""


class _Pairs(list[tuple[str, Any]]):
    """An object as it was written, its keys in order."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _DuplicateKey
    return made


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:40]} is beyond what a number holds")
    return number


DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_float
)
SCAN_ONCE = DECODER.scan_once  # type: ignore[attr-defined]  # Stubs lack it.


def parse(raw: bytes, line: int, *, breaks_off: bool = False) -> tuple[Any, list[Finding]]:
    """Return the value of a row, or one finding that says why it cannot be read.

    Args:
        raw: The row's bytes, not blank, at most 1,000,000 of them.
        line: For the finding.
        breaks_off: Whether it is the last line and has no end.

    Returns:
        The value and no finding, or None and one finding; a value with half a surrogate pair
        comes with no value either.
    """
    if b"\0" in raw:
        return None, [found("nul_byte", line, f"Byte {raw.index(0) + 1} of the line is NUL.")]
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        return None, [_not_utf8(error, line, breaks_off)]
    brackets = raw.count(b"{") + raw.count(b"[")
    if brackets > DEPTH_MAX and depth_of(raw) > DEPTH_MAX:
        return None, [found("nesting_too_deep", line, f"More than {DEPTH_MAX} levels.")]
    try:
        body = _decode(text)
    except _DuplicateKey:
        path = _duplicate_path(text)
        return None, [found("duplicate_key", line, f"The key {path} stands twice.", path)]
    except json.JSONDecodeError as error:
        return None, [_not_json(error, text, line, breaks_off)]
    except (ValueError, RecursionError) as error:
        text = str(error)[:100] if isinstance(error, ValueError) else "too deep"
        return None, [found("invalid_json", line, f"Not JSON that can be read: {text}.")]
    if SURROGATE_ESCAPE.search(raw):
        for path in _surrogates(body, ""):
            text = "An escape names half a surrogate pair."
            return None, [found("lone_surrogate", line, text, path)]
    return body, []


def _decode(text: str) -> Any:
    """Return the value of a text; as the decoder does, without its search for blanks."""
    try:
        body, end = SCAN_ONCE(text, 0)
    except StopIteration:
        return DECODER.decode(text)
    return body if end == len(text) else DECODER.decode(text)


def depth_of(raw: bytes) -> int:
    """Return how deep the brackets outside strings are nested."""
    deepest = depth = 0
    for token in STRING_OR_BRACKET.finditer(raw):
        sign = token.group()
        if sign in (b"{", b"["):
            depth += 1
            deepest = max(deepest, depth)
        elif sign in (b"}", b"]"):
            depth -= 1
    return deepest


def _not_utf8(error: UnicodeDecodeError, line: int, breaks_off: bool) -> Finding:
    if breaks_off and error.reason == "unexpected end of data":
        return found("truncated_last_line", line, "It breaks off inside a character.")
    text = f"Byte {error.start + 1} of the line (0x{error.object[error.start]:02x}) is not UTF-8."
    return found("encoding_not_utf8", line, text)


def _not_json(error: json.JSONDecodeError, text: str, line: int, breaks_off: bool) -> Finding:
    rest = text[error.pos :].strip()
    cut = (
        not rest
        or rest in BEGINNINGS
        or error.msg.startswith("Unterminated string")
        or ("escape" in error.msg and len(rest) < len("\\u0000"))
    )
    if breaks_off and cut:
        return found("truncated_last_line", line, f"It breaks off after {len(text):,} characters.")
    return found("invalid_json", line, f"{error.msg} at column {error.colno}.")


def _duplicate_path(text: str) -> str:
    """Return the path of the first key that stands twice; the text is known to hold one."""
    whole = json.JSONDecoder(object_pairs_hook=_Pairs).decode(text)
    return next(_duplicates(whole, ""), "")


def _duplicates(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Pairs):
        seen = set()
        for key, inner in value:
            if key in seen:
                yield _join(path, key)
            seen.add(key)
            yield from _duplicates(inner, _join(path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _duplicates(inner, f"{path}[{index}]")


def _surrogates(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, str):
        if SURROGATE.search(value):
            yield path
    elif isinstance(value, dict):
        for key, inner in value.items():
            if SURROGATE.search(key):
                yield path
            yield from _surrogates(inner, _join(path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _surrogates(inner, f"{path}[{index}]")


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
