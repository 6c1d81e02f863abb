"""The process that compares mathematics; it is asked through pipes and killed when it is late.

Started by `mathematics` as a program, for sympy can be kept busy for ever by a few letters.
math-verify reads and compares. Its reader of LaTeX builds expressions from a grammar; its reader of
plain text, which evaluates what it is given as code, is not used: `latex` rewrites plain text.
"""

from __future__ import annotations

import re
import resource
import signal
import sys
from dataclasses import replace
from typing import Any

import sympy  # type: ignore[import-untyped]
from math_verify import LatexExtractionConfig, parse, verify

from services.trainer.sandbox.frames import PipeClosed, read_frame, write_frame

MEMORY_BYTES_MAX = 2 * 1024**3
"""Address space of this process."""
DECIMALS = 9
"""Places after the point to which a number with a point must equal the other one."""
DEPTH_MAX = 12
"""Deepest nesting of brackets; reading takes exponentially longer with it, answers have none."""
EXPONENT_MAX = 1000
"""Largest power, and number whose factorial is taken, that is worked out."""
SIZE_MAX = sympy.Float("1e100000")
"""Largest power as a number; powers of powers outgrow any bound of the exponents alone."""
DIGITS = 5
"""Digits to which sizes are worked out."""

READING = LatexExtractionConfig(boxed_match_priority=-1)
"""Reads one formula; the answer was taken out of its box before."""
STRICT = replace(READING, normalization_config=replace(READING.normalization_config, units=False))
"""Reads `3t` as three times t and not as three tons."""

COMMANDS = "pi|sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|sinh|cosh|tanh|log|ln|exp"
IN_BRACKETS = r"\s*\(((?:[^()]|\([^()]*\))*)\)"
REWRITTEN = tuple(
    (re.compile(pattern), meant)
    for pattern, meant in (
        (r"\\?\$|(?<!\\)\\[()\[\]]|\u200b", ""),  # What opens and closes formulas.
        (r"\s+", " "),
        (r"\\imath(?![A-Za-z])|\\(?:text|textrm|mathrm)\s*\{i\}", "i "),
        (r"(?<=.)\\(?:text|textrm|textbf|mbox|mathrm)\s*\{[^{}]*\}(?:\^\{?\d\}?)?[\s.]*$", ""),
        (r"\^\s*\{?\s*\\circ\s*\}?|\u00b0", ""),
        (r"\*\*", "^"),
        (r"\u00b7", "*"),
        (r"\u2212", "-"),
        (r"\u221e|(?<![\\A-Za-z])oo(?![A-Za-z])", r"\\infty "),
        (r"\u221a(?=\s*\()", "sqrt"),
        (r"\u221a\s*(\w)", r"\\sqrt{\1}"),
        (r"\\?(?<![A-Za-z])sqrt" + IN_BRACKETS, r"\\sqrt{\1}"),
        (r"\\?(?<![A-Za-z])abs" + IN_BRACKETS, r"|\1|"),
        (rf"(?<![\\A-Za-z])({COMMANDS})(?![A-Za-z])", r"\\\1 "),
        (r"\^\s*-\s*(\d+|[A-Za-z])", r"^{-\1}"),
        (r"(?<![\d.,])(\d+) (\d+)/(\d+)(?![\d.,])", r"\1\\frac{\2}{\3}"),
    )
)
"""What answers are written in and math-verify does not read, and how it reads it."""


def main() -> None:
    """Answer requests until nobody asks any more."""
    sys.stdout = sys.stderr  # The pipe is for answers; a library that prints must not break them.
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
    """Return whether two texts mean the same, as `equal`; what cannot be read equals nothing.

    Units are left out of what was found where what is expected has no letters.
    """
    try:
        right = read(expected, STRICT)
        answer = read(found, STRICT if right and right[0].free_symbols else READING)
        # Their own timeouts are signals, and this process has one for all of it.
        equal = verify(right, answer, float_rounding=DECIMALS, timeout_seconds=None)
        return {"equal": bool(right and answer and equal)}
    except Exception:  # sympy has many for what it cannot do; none may end this process.
        return {"equal": False}


def read(text: str, reading: LatexExtractionConfig) -> list[Any]:
    """Return what a text means as one expression, or nothing where it cannot be read."""
    formula = latex(text)
    if _depth(formula) > DEPTH_MAX:
        return []
    # Without fallbacks: a number somewhere in what cannot be read is no answer.
    found: list[Any] = parse(
        f"${formula}$", [reading], "no_fallback", "first_match", parsing_timeout=None
    )
    if not all(_can_be_worked_out(each) for each in found):
        return []
    return [_with_the_imaginary_unit(each) for each in found]


def latex(text: str) -> str:
    """Return a text, plain or LaTeX, as the LaTeX that math-verify reads."""
    for pattern, meant in REWRITTEN:
        text = pattern.sub(meant, text)
    return text.strip().rstrip(".")


def _depth(text: str) -> int:
    deepest = depth = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _with_the_imaginary_unit(expression: Any) -> Any:
    """Return an expression whose letter i is what it mostly is, and whose other letters are real.

    math-verify takes `i` for a letter, and the letters beside an `i` that stands alone for others.
    """
    letters = [each for each in expression.free_symbols if isinstance(each, sympy.Symbol)]
    if all(each.name != "i" and each.is_real for each in letters):
        return expression
    meant = {
        each: sympy.I if each.name == "i" else sympy.Symbol(each.name, real=True)
        for each in letters
    }
    try:
        return expression.xreplace(meant)
    except ValueError:  # A pair in round brackets is read as an interval, whose ends are real.
        return expression


def _can_be_worked_out(expression: Any) -> bool:
    """Return whether no power or factorial is too large; parts come before what holds them."""
    for node in sympy.postorder_traversal(expression):
        if isinstance(node, sympy.Pow) and node.is_number:
            if abs(node.exp.evalf(DIGITS)) > EXPONENT_MAX or abs(node.evalf(DIGITS)) > SIZE_MAX:
                return False
        elif (
            isinstance(node, sympy.factorial)
            and node.is_number
            and abs(node.args[0].evalf(DIGITS)) > EXPONENT_MAX
        ):
            return False
    return True


if __name__ == "__main__":
    sys.setrecursionlimit(2000)
    main()
