"""The process that compares mathematics; it is asked through pipes and killed when it is late.

Started by `mathematics` as a program, for sympy can be kept busy for ever by a few letters.
"""

from __future__ import annotations

import resource
import signal
import sys
from typing import Any

import sympy  # type: ignore[import-untyped]

from services.trainer.grading.mathematics_parser import parse
from services.trainer.sandbox.frames import PipeClosed, read_frame, write_frame

MEMORY_BYTES_MAX = 2 * 1024**3
"""Address space of this process."""
DIGITS = 30
NEAR = 1e-9
"""Relative difference of numbers that are written with a decimal point and count as equal."""


def main() -> None:
    """Answer requests until nobody asks any more."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    write_frame(1, "ready")
    while True:
        try:
            found, expected, timeout_s = read_frame(0)
        except PipeClosed:
            return
        signal.alarm(int(timeout_s) + 2)  # Ends this process even where nobody is left to.
        write_frame(1, compare(found, expected))
        signal.alarm(0)


def compare(found: str, expected: str) -> dict[str, Any]:
    """Return whether two texts mean the same, as `equal`; what cannot be read equals nothing."""
    try:
        return {"equal": equal(parse(found), parse(expected))}
    except (ValueError, ArithmeticError, TypeError, AttributeError, RecursionError, MemoryError):
        return {"equal": False}


def equal(left: Any, right: Any) -> bool:
    """Return whether two results of `parse` mean the same."""
    if not isinstance(left, tuple) and not isinstance(right, tuple):
        return _same(left, right)
    if not isinstance(left, tuple) or not isinstance(right, tuple):
        many, one = (left, right) if isinstance(left, tuple) else (right, left)
        return _says(many, one)
    if left[0] == "named" and right[0] == "named" and left[1] == right[1]:
        return _same(left[2], right[2])
    left, right = _as_equation(left), _as_equation(right)
    if left[0] != right[0] or len(left) != len(right):
        return False
    if left[0] in ("set", "union"):
        return _same_members(list(left[1:]), list(right[1:]))
    if left[0] == "equation":
        return _proportional(left[1], right[1], {1, -1})
    if left[0] in ("less", "at most"):
        return _proportional(left[1], right[1], {1})
    return all(
        a == b if isinstance(a, str) or isinstance(b, str) else equal(a, b)
        for a, b in zip(left[1:], right[1:], strict=True)
    )


def _says(many: tuple[Any, ...], one: Any) -> bool:
    """Return whether a set of one, or what a letter is, is the expression."""
    if many[0] == "named":
        return _same(many[2], one)
    return many[0] == "set" and len(many) == 2 and equal(many[1], one)


def _as_equation(value: tuple[Any, ...]) -> tuple[Any, ...]:
    return ("equation", value[1] - value[2]) if value[0] == "named" else value


def _same_members(left: list[Any], right: list[Any]) -> bool:
    for each in left:
        index = next((index for index, other in enumerate(right) if equal(each, other)), None)
        if index is None:
            return False
        del right[index]
    return not right


def _proportional(left: Any, right: Any, signs: set[int]) -> bool:
    ratio = sympy.simplify(left / right)
    return bool(ratio.is_number and ratio != 0 and int(sympy.sign(ratio)) in signs)


def _same(left: Any, right: Any) -> bool:
    if left == right:
        return True
    difference = left - right
    if difference.is_number:
        if difference.is_Rational:
            return bool(abs(difference) <= NEAR * abs(right))
        size = max(1.0, abs(complex(right.evalf(DIGITS))))
        return bool(abs(complex(difference.evalf(DIGITS))) <= NEAR * size)
    return bool(sympy.expand(difference) == 0 or sympy.simplify(difference) == 0)


if __name__ == "__main__":
    sys.setrecursionlimit(2000)
    main()
