"""Graders that look at text: equal, alike, matching a pattern, long enough; pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import regex  # type: ignore[import-untyped]
from attune.spec.v1.grader_pb2 import (
    LengthGrader,
    RegexGrader,
    StringCheckGrader,
    TextSimilarityGrader,
)

from services.common.errors import InvalidArgument
from services.trainer.grading.likeness import LIKENESS
from services.trainer.grading.sample import Fault, Sample, Score, Ungradable
from services.trainer.grading.template import compile_template

PATTERN_TIMEOUT_S = 1.0
"""Longest search of a pattern in one answer; a pattern that backtracks without end is stopped."""
PATTERN_CHARACTERS_MAX = 1000
"""As attune.spec.v1.RegexGrader says."""
COMPARED_CHARACTERS_MAX = 200_000
"""Longest text whose likeness is measured; its time grows with the product of both lengths."""


def string_check(name: str, settings: StringCheckGrader) -> Score:
    """Return the function that compares two texts.

    Raises:
        InvalidArgument: If a template or the operation is wrong.
    """
    read = compile_template(name, settings.input)
    expect = compile_template(name, settings.reference)
    compare = _COMPARISONS.get(settings.operation)
    if compare is None:
        raise _refused(name, "names no operation. Use EQ, NE, LIKE or ILIKE.")
    return lambda sample: float(compare(read(sample), expect(sample)))


def text_similarity(name: str, settings: TextSimilarityGrader) -> Score:
    """Return the function that measures how alike two texts are.

    Raises:
        InvalidArgument: If a template or the metric is wrong.
    """
    read = compile_template(name, settings.input)
    expect = compile_template(name, settings.reference)
    metric = settings.evaluation_metric
    measure = LIKENESS.get(metric)
    if measure is None:
        raise _refused(name, f"names no metric: '{metric[:80]}'. Use one of: {', '.join(LIKENESS)}")

    def score(sample: Sample) -> float:
        found, expected = read(sample), expect(sample)
        longest = max(len(found), len(expected))
        if longest > COMPARED_CHARACTERS_MAX:
            raise Ungradable(
                Fault.TRUNCATED_OBSERVATION,
                f"A text of {longest:,} characters is compared with another; at most "
                f"{COMPARED_CHARACTERS_MAX:,} may be. Shorten the answers.",
            )
        return measure(found, expected)

    return score


def regex_match(name: str, settings: RegexGrader) -> Score:
    """Return the function that searches a pattern in the answer.

    Raises:
        InvalidArgument: If the pattern is none, or too long.
    """
    if len(settings.pattern) > PATTERN_CHARACTERS_MAX:
        raise _refused(name, f"has a pattern of over {PATTERN_CHARACTERS_MAX:,} characters.")
    try:
        re.compile(settings.pattern)  # The syntax is Python's; the search is one that can stop.
        pattern = regex.compile(settings.pattern)
    except (re.error, regex.error, RecursionError, OverflowError) as error:
        raise _refused(name, f"holds no pattern: {error}. Correct it.") from None

    def score(sample: Sample) -> float:
        try:
            return float(pattern.search(sample.output_text, timeout=PATTERN_TIMEOUT_S) is not None)
        except TimeoutError:
            raise Ungradable(
                Fault.UNRESPONSIVE_REWARD,
                f"Grader '{name}' searched its pattern for over {PATTERN_TIMEOUT_S:g} s in an "
                f"answer of {len(sample.output_text):,} characters. Write it without nested "
                "repeats.",
            ) from None

    return score


def length(name: str, settings: LengthGrader) -> Score:
    """Return the function that checks the answer's length in characters.

    Raises:
        InvalidArgument: If the limits exclude each other.
    """
    least = settings.min_characters
    most = settings.max_characters if settings.HasField("max_characters") else None
    if most is not None and most < least:
        raise _refused(name, f"wants at least {least:,} and at most {most:,} characters.")
    return lambda sample: float(
        least <= len(sample.output_text) and (most is None or len(sample.output_text) <= most)
    )


def _refused(name: str, text: str) -> InvalidArgument:
    return InvalidArgument(f"Grader '{name}' {text}", reason="UNSUPPORTED_GRADER", grader=name)


_COMPARISONS: Mapping[int, Callable[[str, str], bool]] = {
    StringCheckGrader.OPERATION_EQ: lambda found, expected: found == expected,
    StringCheckGrader.OPERATION_NE: lambda found, expected: found != expected,
    StringCheckGrader.OPERATION_LIKE: lambda found, expected: expected in found,
    StringCheckGrader.OPERATION_ILIKE: lambda found, expected: (
        expected.casefold() in found.casefold()
    ),
}
