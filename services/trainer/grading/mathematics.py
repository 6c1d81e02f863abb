"""The grader of mathematics: finds the answer in a text and has it compared in a process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import weakref
from functools import cache
from typing import Any

from attune.spec.v1.grader_pb2 import MathGrader

from services.trainer.grading.sample import (
    Fault,
    Grade,
    Sample,
    Ungradable,
    WrongAnswer,
    one_by_one,
)
from services.trainer.grading.structured import last_number
from services.trainer.grading.template import compile_template
from services.trainer.sandbox.box import end_group
from services.trainer.sandbox.frames import Late, PipeClosed, read_frame, write_frame

COMPARE_TIMEOUT_S = 5.0
"""Longest comparison of two answers."""
START_TIMEOUT_S = 60.0
ANSWER_CHARACTERS_MAX = 1000
"""Longest text that is taken for one mathematical answer."""
BOXED = ("\\boxed", "\\fbox")
MARKED = re.compile(r"####\s*([^\n]+)")
SAID = re.compile(r"(?:answer|result|solution)[ \t]*(?:is|:|=)+[ \t:]*([^\n]+)", re.IGNORECASE)
DOLLARS = re.compile(r"\$\$?([^$]+)\$\$?")
SENTENCE_END = re.compile(r"\.(?=\s|$)")
TEXT = re.compile(r"\\(?:text|mathrm|mbox|textbf)\s*\{([^{}]*)\}")
WORDS = re.compile(r"[^\W\d_]{2,}(?: [^\W\d_]+)*")
PLAIN = re.compile(r"[-+]?\d+(?:\.\d+)?")


def mathematics(name: str, settings: MathGrader) -> Grade:
    """Return the function that compares mathematical answers by what they mean.

    Raises:
        InvalidArgument: If the template is wrong.
    """
    expect = compile_template(name, settings.reference)

    def score(sample: Sample) -> float:
        expected = find_answer(expect(sample))
        if not expected:
            raise Ungradable(
                Fault.SAMPLE_PARSE, f"Grader '{name}' compares with an answer that is empty."
            )
        found = find_answer(sample.output_text)
        if not found or len(found) > ANSWER_CHARACTERS_MAX:
            raise WrongAnswer
        if _plain(found) == _plain(expected):
            return 1.0
        if PLAIN.fullmatch(found) and PLAIN.fullmatch(expected):
            return float(last_number(found) == last_number(expected))
        return float(_comparer().equal(name, found, expected))

    return one_by_one(score)


def find_answer(text: str) -> str:
    """Return the part of a text that is the answer: boxed, marked, said to be it, or the end."""
    for command in BOXED:
        start = text.rfind(command + "{")
        if start >= 0:
            return _braced(text, start + len(command))
    if marked := MARKED.findall(text):
        return str(marked[-1]).strip()
    if said := SAID.findall(text):
        return _bare(SENTENCE_END.split(str(said[-1]), maxsplit=1)[0])
    last = text.strip().rsplit("\n", 1)[-1]
    if formulas := DOLLARS.findall(last):
        return str(formulas[-1]).strip()
    words = re.findall(r"[A-Za-z]{4,}", re.sub(r"\\[A-Za-z]+(?:\{[a-z]*\})?", "", last))
    if len(words) > 1:  # A sentence: what counts in it is its last number.
        number = last_number(last)
        return "" if number is None else f"{number:f}"
    return _bare(last)


def _braced(text: str, start: int) -> str:
    """Return what stands between the brace at `start` and its partner."""
    depth = 0
    for index in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return text[start + 1 : index].strip()
    return ""


def _bare(text: str) -> str:
    return text.strip().strip("$").strip().rstrip(".,;").strip("*").strip()


class _Comparer:
    """The process that compares, started when it is needed; safe for threads."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def equal(self, name: str, found: str, expected: str) -> bool:
        """Return whether two answers mean the same.

        Raises:
            Ungradable: If the expected one cannot be read or the comparison ends in no time.
        """
        with self._lock:
            try:
                reply = self._ask([found, expected, COMPARE_TIMEOUT_S])
            except (Late, PipeClosed):
                self._end()
                raise Ungradable(
                    Fault.UNRESPONSIVE_REWARD,
                    f"Grader '{name}' could not compare {found[:80]!r} with {expected[:80]!r} in "
                    f"{COMPARE_TIMEOUT_S:g} s.",
                ) from None
        # What cannot be read as mathematics is right when it is the same text, told before.
        return bool(reply.get("equal"))

    def _ask(self, request: list[Any]) -> dict[str, Any]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = _start()
            weakref.finalize(self, end_group, self._process)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        write_frame(self._process.stdin.fileno(), request)
        reply: dict[str, Any] = read_frame(self._process.stdout.fileno(), COMPARE_TIMEOUT_S)
        return reply

    def _end(self) -> None:
        if self._process is not None:
            end_group(self._process)
            self._process = None


def _plain(text: str) -> str:
    """Return a text without the marks of text; words are equal whatever their case."""
    text = " ".join(TEXT.sub(r"\1", text).split())
    return text.casefold() if WORDS.fullmatch(text) else text


def _start() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "services.trainer.grading.mathematics_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        read_frame(process.stdout.fileno(), START_TIMEOUT_S)
    except (Late, PipeClosed):
        end_group(process)
        raise
    return process


@cache
def _comparer() -> _Comparer:
    """Return the one of this process."""
    return _Comparer()
