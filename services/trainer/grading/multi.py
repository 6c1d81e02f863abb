"""A grader that combines others by a formula: parsed, never evaluated as code; pure."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping, Sequence

from services.common.errors import InvalidArgument
from services.trainer.grading.sample import Fault, Grade, Graded, Sample

FORMULA_CHARACTERS_MAX = 1000
FUNCTIONS: Mapping[str, Callable[..., float]] = {"min": min, "max": max}
OPERATORS: Mapping[type, Callable[[float, float], float]] = {
    ast.Add: lambda left, right: left + right,
    ast.Sub: lambda left, right: left - right,
    ast.Mult: lambda left, right: left * right,
    ast.Div: lambda left, right: left / right,
}
ROUNDING = 1e-6
"""How far outside [0, 1] rounding may lead, as with weights that add up to 1."""

Formula = Callable[[Mapping[str, float]], float]
"""Takes the scores by name, returns the score."""


def multi(name: str, parts: Mapping[str, Grade], formula: str) -> Grade:
    """Return the function that grades with each part and combines the scores.

    A sample that one part cannot grade cannot be graded.

    Args:
        name: Of the grader.
        parts: What the formula combines, by name.
        formula: Of names and numbers, with + - * /, min and max.

    Raises:
        InvalidArgument: If the formula is anything else, or names what is not among the parts.
    """
    compute = parse_formula(name, formula, set(parts))

    def grade(samples: Sequence[Sample]) -> list[Graded]:
        by_part = {part: grade_part(samples) for part, grade_part in parts.items()}
        rows = zip(*by_part.values(), strict=True)
        return [_combined(name, dict(zip(by_part, row, strict=True)), compute) for row in rows]

    return grade


def weighted(parts: Sequence[tuple[str, float, Grade]]) -> Grade:
    """Return the function that gives the weighted sum of several graders, as a reward is made.

    Args:
        parts: Name, weight in (0, 1] and grade of each; the weights add up to 1.
    """
    weights = {name: weight for name, weight, _ in parts}

    def compute(scores: Mapping[str, float]) -> float:
        return math.fsum(weights[name] * score for name, score in scores.items())

    def grade(samples: Sequence[Sample]) -> list[Graded]:
        by_part = {name: grade_part(samples) for name, _, grade_part in parts}
        rows = zip(*by_part.values(), strict=True)
        return [_combined("reward", dict(zip(by_part, row, strict=True)), compute) for row in rows]

    return grade


def parse_formula(name: str, text: str, known: set[str]) -> Formula:
    """Return the function that a formula means.

    Raises:
        InvalidArgument: As `multi` does.
    """
    if len(text) > FORMULA_CHARACTERS_MAX:
        raise _refused(name, f"is longer than {FORMULA_CHARACTERS_MAX:,} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
        return _compile(name, tree.body, known)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _refused(name, f"cannot be read: '{text[:80]}'") from None


def _compile(name: str, node: ast.expr, known: set[str]) -> Formula:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        value = float(node.value)  # type: ignore[arg-type]
        return lambda scores: value
    if isinstance(node, ast.Name):
        if node.id not in known:
            raise _refused(name, f"names '{node.id[:80]}', which is none of its graders")
        key = node.id
        return lambda scores: scores[key]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _compile(name, node.operand, known)
        return lambda scores: -inner(scores)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        apply = OPERATORS[type(node.op)]
        left, right = _compile(name, node.left, known), _compile(name, node.right, known)
        return lambda scores: apply(left(scores), right(scores))
    if _is_function(node):
        assert isinstance(node, ast.Call)
        choose = FUNCTIONS[node.func.id]  # type: ignore[attr-defined]
        values = [_compile(name, each, known) for each in node.args]
        return lambda scores: choose([value(scores) for value in values])
    raise _refused(name, f"holds '{ast.unparse(node)[:80]}'")


def _is_function(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in FUNCTIONS
        and len(node.args) > 0
        and not node.keywords
    )


def _combined(name: str, graded: Mapping[str, Graded], compute: Formula) -> Graded:
    tokens = sum(each.token_count for each in graded.values())
    scores = {part: each.score for part, each in graded.items() if each.score is not None}
    for part, each in graded.items():
        if each.score is None:
            return Graded(None, f"{part}: {each.error}", each.fault, scores, tokens)
    try:
        value = compute(scores)
    except ArithmeticError:
        value = math.nan
    if not -ROUNDING <= value <= 1 + ROUNDING:
        given = ", ".join(f"{part} {score:g}" for part, score in scores.items())
        return Graded(
            None,
            f"The formula of grader '{name}' gives {value:g} for {given}, which is not in [0, 1]. "
            "Bound it, as in max(0, min(1, ...)).",
            Fault.FORMULA_PARSE,
            scores,
            tokens,
        )
    return Graded(min(1.0, max(0.0, value)), scores=scores, token_count=tokens)


def _refused(name: str, what: str) -> InvalidArgument:
    return InvalidArgument(
        f"The formula of grader '{name}' {what}. Use names of its graders, numbers, + - * /, min "
        "and max.",
        reason="UNSUPPORTED_GRADER",
        grader=name,
    )
