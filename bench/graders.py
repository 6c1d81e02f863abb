"""Gradings per second on one core, by kind of grader, each with an error rate of nothing.

The declarative kinds are pure functions in this process; mathematics that is not plainly equal goes
through a process that can be stopped, and Python code through the sandbox, a process per answer
that is forked from a warm interpreter. Half of the answers are right. Aim: at least 10,000 a second
for string, JSON Schema, tool call and numeric.

Usage: python -m bench.graders [--seconds N]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Sequence

from attune.spec.v1.grader_pb2 import (
    Grader,
    JsonSchemaGrader,
    MathGrader,
    MultiGrader,
    NumericGrader,
    PythonGrader,
    RegexGrader,
    StringCheckGrader,
    TextSimilarityGrader,
    ToolCallGrader,
)

from bench.report import show, write
from services.trainer.grading.build import build
from services.trainer.grading.sample import Grade, Sample
from services.trainer.sandbox.box import SandboxMissing
from services.trainer.sandbox.probe import require_sandbox

AIM_PER_S = 10_000
AIMED = ("string_check", "json_schema", "tool_call", "numeric")
BATCH = 64
"""Samples of one batch, as many as a training step with groups has."""
REPEATS = 5
"""Measurements, of which the median counts; the machine may be busy with something else."""
REFERENCE = "{{item.reference}}"
SCHEMA = {
    "type": "object",
    "properties": {
        "team": {"enum": ["billing", "technical", "sales"]},
        "urgency": {"type": "integer", "minimum": 1, "maximum": 5},
        "summary": {"type": "string", "maxLength": 200},
    },
    "required": ["team", "urgency"],
    "additionalProperties": False,
}
PYTHON = (
    "import re\n"
    "def grade(sample, item):\n"
    "    found = re.findall(r'-?[0-9]+', sample['output_text'])\n"
    "    return float(bool(found) and found[-1] == item['reference'])\n"
)


def cases() -> dict[str, tuple[Grader, list[Sample]]]:
    """Return graders with samples of which every second answer is right."""
    string = StringCheckGrader(input="{{sample.output_text}}", reference=REFERENCE, operation=1)
    number = Grader(name="numeric", numeric=NumericGrader(reference=REFERENCE))
    word = "I think that the result of this calculation must be {}, because it adds up."
    record = '{{"team": "{}", "urgency": 3, "summary": "The invoice was paid twice."}}'
    call = '[{{"name": "search", "arguments": {{"city": "{}", "days": 3}}}}]'
    similar = TextSimilarityGrader(
        input="{{sample.output_text}}", reference=REFERENCE, evaluation_metric="rouge_l"
    )
    both = MultiGrader(
        graders=[number, Grader(name="form", regex=RegexGrader(pattern=r"\d"))],
        calculate_output="0.9 * numeric + 0.1 * form",
    )
    words = ("billing", "nothing")
    return {
        "string_check": (_named("string_check", string), _samples("{}", "{}", words)),
        "json_schema": (
            _named("json_schema", JsonSchemaGrader(json_schema=json.dumps(SCHEMA))),
            _samples(record, record, words),
        ),
        "tool_call": (
            _named("tool_call", ToolCallGrader(reference=REFERENCE)),
            _samples(call, call, ("Oslo", "Rome")),
        ),
        "numeric": (number, _samples(word, "{}", ("1,042", "17"))),
        "regex": (
            _named("regex", RegexGrader(pattern=r"\b1,?042\b")),
            _samples(word, "{}", ("1,042", "17")),
        ),
        "rouge_l": (_named("text_similarity", similar), _samples(word, word, ("1", "2"))),
        "multi": (_named("multi", both), _samples(word, "{}", ("1042", "17"))),
        "math, plain": (
            _named("math", MathGrader(reference=REFERENCE)),
            _math("1042", "1042", "17"),
        ),
        "math, in a process": (
            _named("math", MathGrader(reference=REFERENCE)),
            _math(r"\frac{1042}{4}+\sqrt{2}", r"1042/4+\sqrt{2}", r"1042+\sqrt{2}"),
        ),
        "python, in the sandbox": (
            _named("python", PythonGrader(source=PYTHON)),
            _samples(word, "{}", ("1042", "17")),
        ),
    }


def rates(grade: Grade, samples: Sequence[Sample], seconds: float) -> list[float]:
    """Return gradings a second, measured several times; each sample must get its score."""
    graded = grade(samples)
    assert [each.error for each in graded if each.score is None] == []
    found = []
    for _ in range(REPEATS):
        count, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds / REPEATS:
            count += len(grade(samples))
        found.append(count / spent)
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each kind")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    figures, lines = {}, []
    for kind, (grader, samples) in cases().items():
        if grader.HasField("python") and (missing := _missing()):
            lines.append([kind, missing, "", "", ""])
            continue
        grade = build(grader)
        right = sum(each.score == 1.0 for each in grade(samples))
        found = rates(grade, samples, options.seconds)
        middle = statistics.median(found)
        aim = AIM_PER_S if kind in AIMED else None
        figures[kind] = {
            "gradings_per_s": middle,
            "lowest": min(found),
            "highest": max(found),
            "full_scores": right / len(samples),
            "aim": aim,
        }
        met = "" if aim is None else "yes" if middle >= aim else "no"
        lines.append([kind, round(middle), round(min(found)), round(max(found)), met])
    show(
        "Gradings a second on one core",
        ["kind", "median", "lowest", "highest", f"at least {AIM_PER_S:,}"],
        lines,
    )
    write("graders", {"batch": BATCH, "graders": figures})


def _named(kind: str, settings: object) -> Grader:
    return Grader(name=kind, **{kind: settings})


def _samples(answer: str, reference: str, words: tuple[str, str]) -> list[Sample]:
    """Return a batch: the first word is right, the second is not."""
    item = {"reference": reference.format(words[0])}
    return [Sample(answer.format(words[index % 2]), item) for index in range(BATCH)]


def _math(reference: str, right: str, wrong: str) -> list[Sample]:
    """Return a batch of boxed answers, no two alike: nothing that was read is read again."""
    return [
        Sample(
            f"So it is \\boxed{{{(right, wrong)[index % 2].replace('1042', str(1042 + index))}}}.",
            {"reference": reference.replace("1042", str(1042 + index))},
        )
        for index in range(BATCH)
    ]


def _missing() -> str:
    try:
        require_sandbox()
    except SandboxMissing as error:
        return str(error)
    return ""


if __name__ == "__main__":
    main()
