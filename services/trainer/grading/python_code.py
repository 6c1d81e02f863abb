"""Graders written in Python, run in the sandbox and nowhere else.

The interpreter stays warm for the batches of one grader, and every sample is graded in a process of
its own that is forked from it: module state, files and memory of one sample never meet another.
"""

from __future__ import annotations

import ast
from typing import Any

from attune.spec.v1.grader_pb2 import PythonGrader

from services.common.errors import FailedPrecondition, InvalidArgument
from services.trainer.grading.sample import Fault, Grade, Graded, Sample
from services.trainer.grading.template import NOT_JSON, parse_json
from services.trainer.sandbox.box import Box, BoxEnded, Limits, SandboxMissing, SourceBroken
from services.trainer.sandbox.probe import require_sandbox

SOURCE_BYTES_MAX = 256 * 1024
"""As attune.spec.v1.PythonGrader says."""


def python_code(name: str, settings: PythonGrader, limits: Limits | None = None) -> Grade:
    """Return the function that grades by the source's `grade(sample, item)`.

    Args:
        name: Of the grader.
        settings: Its source.
        limits: Of one sample.

    Raises:
        InvalidArgument: If the source is no Python or too long.
        FailedPrecondition: If there is no sandbox here that holds.
    """
    source, limits = settings.source, limits or Limits()
    if len(source.encode()) > SOURCE_BYTES_MAX:
        raise _refused(name, f"is longer than {SOURCE_BYTES_MAX:,} bytes")
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _refused(name, f"is no Python: {error}") from None
    try:
        require_sandbox()
    except SandboxMissing as error:
        raise FailedPrecondition(
            f"Grader '{name}' is code, which runs in a sandbox only, and there is none: {error} "
            "Use another kind of grader, or a machine with Landlock and user namespaces.",
            reason="NO_SANDBOX",
            grader=name,
        ) from None
    box = Box(source, limits)
    return lambda samples: [_graded(name, box, limits, sample) for sample in samples]


def _graded(name: str, box: Box, limits: Limits, sample: Sample) -> Graded:
    try:
        reply = box.grade(_as_data(sample), sample.item)
    except ValueError as error:
        return Graded(
            None, f"Grader '{name}' is sent too much: {error}.", Fault.TRUNCATED_OBSERVATION
        )
    except (BoxEnded, SandboxMissing, SourceBroken) as error:
        return Graded(None, f"Grader '{name}': {error}", Fault.PYTHON_SERVER)
    if "score" in reply:
        return Graded(reply["score"])
    if "late" in reply:
        text = f"Grader '{name}' took over {limits.time_s:g} s. Make its code faster."
        return Graded(None, text, Fault.UNRESPONSIVE_REWARD)
    text = f"The code of grader '{name}' failed: {reply.get('error', 'it does not say why')}"
    return Graded(None, text, Fault.PYTHON_RUNTIME)


def _as_data(sample: Sample) -> dict[str, Any]:
    """Return a sample as the code gets it, with OpenAI's keys."""
    parsed = parse_json(sample.output_text)
    return {
        "output_text": sample.output_text,
        "output_tools": list(sample.output_tools),
        "output_json": None if parsed is NOT_JSON else parsed,
    }


def _refused(name: str, what: str) -> InvalidArgument:
    return InvalidArgument(
        f"The source of grader '{name}' {what}. Correct it.",
        reason="UNSUPPORTED_GRADER",
        grader=name,
    )
