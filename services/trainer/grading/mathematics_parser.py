"""Mathematical text, plain or LaTeX, to sympy's objects; parsed, never evaluated as code.

Knows what answers are written in: numbers, fractions, roots, powers, products without a sign, the
common functions, percentages, equations, sets, tuples, intervals. Imported by the process of
`mathematics_process` alone, for sympy takes long to import.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import sympy  # type: ignore[import-untyped]

TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+\.\d+|\d+|\.\d+)"
    r"|(?P<command>\\[a-zA-Z]+)|(?P<word>[a-zA-Z]+)|(?P<sign>\*\*|<=|>=|\S))"
)
DEPTH_MAX = 60
"""Deepest nesting; mathematics has none so deep."""
TOKENS_MAX = 400
EXPONENT_MAX = 1000
"""Largest power that is worked out."""
IGNORED = re.compile(
    r"\\(?:left|right|big|Big|bigl|bigr|displaystyle|mathrm|mathbf|operatorname|quad|qquad)"
    r"(?![a-zA-Z])|\\[,;:!> ]|\\?\$|\u200b"
)
TEXTS = re.compile(r"\\(?:text|mbox|textbf|textrm)\s*\{[^{}]*\}")
DEGREES = re.compile(r"\^\s*\{?\s*\\circ\s*\}?|\u00b0")
REPLACED = (
    ("\\dfrac", "\\frac"), ("\\tfrac", "\\frac"), ("\\cdot", "*"), ("\\times", "*"),
    ("\u00d7", "*"),
    ("\u00b7", "*"), ("\\div", "/"), ("\u00f7", "/"), ("\u2212", "-"), ("\\{", "\u27e6"),
    ("\\}", "\u27e7"), ("\\pi", "pi"), ("\u03c0", "pi"), ("\\infty", "oo"), ("\u221e", "oo"),
    ("\\%", "%"), ("\\leq", "<="), ("\\geq", ">="), ("\\le", "<="), ("\\ge", ">="),
    ("\u221a", "sqrt"), ("\\sqrt", "sqrt"), ("\\cup", "\u222a"), ("\\ln", "log"),
)  # fmt: skip
FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {
    "sin": sympy.sin, "cos": sympy.cos, "tan": sympy.tan, "cot": sympy.cot, "sec": sympy.sec,
    "csc": sympy.csc, "arcsin": sympy.asin, "arccos": sympy.acos, "arctan": sympy.atan,
    "log": sympy.log, "ln": sympy.log, "exp": sympy.exp, "abs": sympy.Abs, "sqrt": sympy.sqrt,
    "sinh": sympy.sinh, "cosh": sympy.cosh, "tanh": sympy.tanh,
}  # fmt: skip
CONSTANTS = {"pi": sympy.pi, "oo": sympy.oo, "e": sympy.E, "i": sympy.I}
OPEN_TO_CLOSE = {"(": ")]", "[": ")]", "{": "}", "\u27e6": "\u27e7"}


class NotMathematics(ValueError):
    """The text is nothing that is known."""


def parse(text: str) -> Any:
    """Return what a text means: an expression, or a tuple of a kind and its parts.

    The kinds are `equation` (left less right), `named` (a letter and what it is), `less` and
    `at most` (left less right), `set`, `list` with its brackets, and `union`. `x = 5` is 5.

    Raises:
        NotMathematics: If it is no mathematics that is known here.
    """
    return _Parser(_tokens(text)).whole()


def _tokens(text: str) -> list[str]:
    text = DEGREES.sub("", TEXTS.sub(" ", text))
    for written, meant in REPLACED:
        whole = "(?![a-zA-Z])" if written[-1].isalpha() and written[-1].isascii() else ""
        text = re.sub(re.escape(written) + whole, meant.replace("\\", r"\\"), text)
    text = IGNORED.sub(" ", text).strip().rstrip(".")
    found, position = [], 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            break
        position = match.end()
        found.append(match[match.lastgroup or "sign"])
        if len(found) > TOKENS_MAX:
            raise NotMathematics("too long")
    return found


class _Parser:
    """Recursive descent: relation, sum, product, power, atom."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = [part for token in tokens for part in _split(token)]
        self._at = 0
        self._depth = 0
        self._bars = 0

    def whole(self) -> Any:
        value = self._relation()
        while self._take("\u222a"):
            value = ("union", value, self._relation())
        if self._peek() == ",":
            parts = [value]
            while self._take(","):
                parts.append(self._relation())
            value = ("set", *parts)
        if self._peek():
            raise NotMathematics(f"'{self._peek()}' is not expected")
        return value

    def _relation(self) -> Any:
        left = self._sum()
        for sign, kind in (("=", "equation"), ("<", "less"), ("<=", "at most")):
            if self._take(sign):
                right = self._sum()
                if isinstance(left, tuple) or isinstance(right, tuple):
                    return right  # `A = {1, 2}` names a set.
                if kind == "equation" and isinstance(left, sympy.Symbol):
                    return ("named", left, right) if right.free_symbols else right
                return (kind, left - right)
        for sign, kind in ((">", "less"), (">=", "at most")):
            if self._take(sign):
                right = self._expression(self._sum())
                return (kind, right - self._expression(left))
        return left

    def _sum(self) -> Any:
        negative = False
        while self._peek() in ("+", "-"):
            negative ^= self._next() == "-"
        value = self._product()
        if negative:
            value = -self._expression(value)
        while self._peek() in ("+", "-"):
            sign = self._next()
            right = self._expression(self._product())
            value = self._expression(value) + (right if sign == "+" else -right)
        return value

    def _product(self) -> Any:
        value = self._power()
        while True:
            if self._take("*"):
                value = self._expression(value) * self._expression(self._signed())
            elif self._take("/"):
                value = self._expression(value) / self._expression(self._signed())
            elif self._starts_factor():
                value = self._beside(value)
            else:
                return value

    def _beside(self, value: Any) -> Any:
        """Return a value times the next, or a whole number plus a fraction: 1 and 1/2."""
        is_mixed = self._peek() == "\\frac" and isinstance(value, sympy.Integer)
        right = self._expression(self._power())
        return self._expression(value) + right if is_mixed else self._expression(value) * right

    def _signed(self) -> Any:
        negative = False
        while self._peek() in ("+", "-"):
            negative ^= self._next() == "-"
        value = self._expression(self._power())
        return -value if negative else value

    def _power(self) -> Any:
        value = self._atom()
        while self._peek() in ("!", "%"):
            sign = self._next()
            value = self._expression(value)
            if sign == "%":
                value = value / 100
            elif value.is_Integer and abs(value) <= EXPONENT_MAX:
                value = sympy.factorial(value)
            else:
                raise NotMathematics("a factorial too large")
        if self._take("^") or self._take("**"):
            exponent = self._expression(self._signed())
            if exponent.is_number and abs(exponent) > EXPONENT_MAX:
                raise NotMathematics("a power too large")
            return self._expression(value) ** exponent
        return value

    def _atom(self) -> Any:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise NotMathematics("nested too deeply")
        try:
            return self._read_atom(self._next())
        finally:
            self._depth -= 1

    def _read_atom(self, token: str) -> Any:
        if token[0].isdigit() or token[0] == ".":
            return sympy.Rational(token.replace(",", ""))
        if token == "\\frac":
            return self._expression(self._argument()) / self._expression(self._argument())
        if token == "sqrt":
            return self._root()
        if token.removeprefix("\\") in FUNCTIONS:
            return self._function(FUNCTIONS[token.removeprefix("\\")])
        if token in CONSTANTS:
            return CONSTANTS[token]
        if token in OPEN_TO_CLOSE:
            return self._bracket(token)
        if token == "|":
            self._bars += 1
            value = sympy.Abs(self._expression(self._sum()))
            self._bars -= 1
            self._expect("|")
            return value
        name = token.removeprefix("\\")
        if name.isalpha():
            if self._take("_"):
                name += f"_{self._argument()}"
            return sympy.Symbol(name)
        raise NotMathematics(f"'{token}' is not expected")

    def _root(self) -> Any:
        degree = sympy.Integer(2)
        if self._take("["):
            degree = self._expression(self._sum())
            self._expect("]")
        return sympy.root(self._expression(self._argument()), degree)

    def _function(self, function: Callable[[Any], Any]) -> Any:
        bottom = None
        if self._take("_"):
            bottom = self._expression(self._argument())
        exponent = self._expression(self._argument()) if self._take("^") else None
        value = function(self._expression(self._power()))
        if bottom is not None:
            value = value / sympy.log(bottom)
        return value if exponent is None else value**exponent

    def _argument(self) -> Any:
        """Return what stands in braces, or one digit or letter without."""
        if self._take("{"):
            value = self._sum()
            self._expect("}")
            return value
        token = self._peek()
        if token.isdigit() and len(token) > 1:
            self._tokens[self._at : self._at + 1] = list(token)
        return self._atom()

    def _bracket(self, opening: str) -> Any:
        parts = [self._relation()]
        while self._take(",") or self._take(";"):
            parts.append(self._relation())
        closing = self._next()
        if closing not in OPEN_TO_CLOSE[opening]:
            raise NotMathematics(f"'{opening}' is closed by '{closing}'")
        if opening == "\u27e6" or (opening == "{" and len(parts) > 1):
            return ("set", *parts)
        if len(parts) > 1:
            return ("list", opening, *parts, closing)
        return parts[0]

    def _starts_factor(self) -> bool:
        token = self._peek()
        if not token or token in ")]}+-*/=<>,;^_!%:'\"\u222a\u27e7" or token in ("**", "<=", ">="):
            return False
        return token != "|" or self._bars == 0

    def _expression(self, value: Any) -> Any:
        if isinstance(value, tuple):
            raise NotMathematics(f"a {value[0]} is no number")
        return value

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise NotMathematics("it ends too early")
        self._at += 1
        return token

    def _take(self, token: str) -> bool:
        if self._peek() != token:
            return False
        self._at += 1
        return True

    def _expect(self, token: str) -> None:
        if not self._take(token):
            raise NotMathematics(f"'{token}' is missing")


def _split(token: str) -> list[str]:
    """Return a word as it is known, or letter by letter: `xy` is x times y."""
    if not token.isalpha() or token in FUNCTIONS or token in CONSTANTS:
        return [token]
    for name in ("sqrt", "pi", "sin", "cos", "tan", "log"):
        if name in token:
            before, after = token.split(name, 1)
            return [*_split(before), name, *_split(after)] if token != name else [name]
    return list(token) if len(token) <= 3 else [token]
