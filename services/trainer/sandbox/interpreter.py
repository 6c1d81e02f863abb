"""The side behind the walls: an interpreter that stays, and a process of its own for each sample.

The interpreter that stays runs no code of a grader: it imports what the code imports, and forks. So
nothing that one sample does can be seen by the next, and a sample that ends badly ends alone.
Imports the standard library only; started by `box`.
"""

from __future__ import annotations

import ast
import importlib
import math
import os
import signal
import sys
from types import CodeType
from typing import Any, NamedTuple

from services.trainer.sandbox import walls
from services.trainer.sandbox.frames import Late, PipeClosed, read_frame, write_frame

ERROR_CHARACTERS_MAX = 500
REPLY_BYTES_MAX = 16 * 1024
"""Longest reply of one sample's process."""
RESULT = 3
"""Handle through which that process replies; it has no other but the null device."""
PRELOADED = ("collections", "decimal", "fractions", "functools", "itertools", "re", "statistics",
             "string", "unicodedata")  # fmt: skip
PRELOADED_MAX = 50
"""Modules that are imported ahead for a grader."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Libraries that start threads when they are imported would lose them in the fork."""
SAMPLE = "<grader>"


class Pipes(NamedTuple):
    """To and from the side that asks."""

    asked: int
    told: int


def main() -> None:
    """Build the walls, say so, and grade until nobody asks any more."""
    settings = read_frame(0)
    try:
        walls.enter_namespaces()
    except (walls.WallMissing, OSError) as error:
        write_frame(1, {"missing": str(error)})
        return
    # Only a child is in the new namespace of processes; its end ends all that are in it.
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    walls.die_with_parent()
    # Both are opened now: behind the walls they have no names.
    null, pages = os.open(os.devnull, os.O_RDWR), os.open("/proc/self/statm", os.O_RDONLY)
    # What a module prints when it is imported must not be taken for a message.
    pipes = Pipes(os.dup(0), os.dup(1))
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    try:
        scratch = walls.close_files(settings["readable"], settings["scratch_bytes"])
        walls.drop_capabilities()
        walls.restrict_files(settings["readable"], scratch)
    except (walls.WallMissing, OSError) as error:
        write_frame(pipes.told, {"missing": str(error)})
        return
    os.chdir(scratch)
    # The first process of a namespace gets no signal from within that it does not ask for.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _serve(settings, pipes, null, pages)


def _serve(settings: dict[str, Any], pipes: Pipes, null: int, pages: int) -> None:
    sys.path[:] = settings["path"]
    try:
        tree = ast.parse(settings["source"])
        code = compile(tree, SAMPLE, "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        write_frame(
            pipes.told, {"broken": f"{type(error).__name__}: {error}"[:ERROR_CHARACTERS_MAX]}
        )
        return
    os.environ.update(ONE_THREAD)
    for name in [*PRELOADED, *_imported(tree)]:
        try:
            importlib.import_module(name)
        except Exception:
            continue  # Where the sample imports it again, its error is told.
    os.environ.clear()
    held = int(os.pread(pages, 64, 0).split()[0]) * os.sysconf("SC_PAGE_SIZE")
    settings["address_bytes"] = held + settings["memory_bytes"]
    os.close(pages)
    folder = os.open(".", os.O_RDONLY)
    write_frame(pipes.told, {"ready": True})
    while True:
        try:
            message = read_frame(pipes.asked)
            write_frame(pipes.told, _graded(code, message, settings, null))
            _clean(folder)
        except (PipeClosed, OSError):
            return  # Nobody asks any more, or a sample left what cannot be removed.


def _imported(tree: ast.Module) -> list[str]:
    """Return the modules that a grader imports at its top."""
    found = []
    for node in tree.body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.append(node.module)
    return found[:PRELOADED_MAX]


def _graded(code: CodeType, message: Any, settings: dict[str, Any], null: int) -> dict[str, Any]:
    """Return the reply of a process that grades one sample, or why it has none."""
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        _grade_and_exit(code, message, settings, theirs, null)
    os.close(theirs)
    reply: dict[str, Any] = {}
    try:
        reply = _checked(read_frame(ours, settings["time_s"], REPLY_BYTES_MAX))
    except Late:
        reply = {"late": True}
    except PipeClosed:
        pass
    finally:
        os.close(ours)
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
    if not reply:
        cause = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "its own exit"
        reply = {"late": True} if _used_its_time(status) else {"error": f"it was ended by {cause}"}
    return reply


def _used_its_time(status: int) -> bool:
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU


def _checked(reply: Any) -> dict[str, Any]:
    """Return a reply if it is one: its bytes come from code that nobody has read."""
    if isinstance(reply, dict):
        score, error = reply.get("score"), reply.get("error")
        if isinstance(score, int | float) and not isinstance(score, bool) and 0.0 <= score <= 1.0:
            return {"score": float(score)}
        if isinstance(error, str):
            return {"error": error[:ERROR_CHARACTERS_MAX]}
    raise PipeClosed


def _grade_and_exit(
    code: CodeType, message: Any, settings: dict[str, Any], result: int, null: int
) -> None:
    """Grade in this process, which is one sample's own, and end it."""
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    if result != RESULT:
        os.dup2(result, RESULT)
    os.closerange(RESULT + 1, 1024)
    walls.limit(
        settings["address_bytes"], settings["file_bytes"], math.ceil(settings["time_s"]) + 1
    )
    walls.refuse_calls()
    try:
        reply: dict[str, Any] = {"score": _score(code, message)}
    except BaseException as error:
        reply = {"error": _said(error)}
    try:
        write_frame(RESULT, reply)
    finally:
        os._exit(0)


def _score(code: CodeType, message: Any) -> float:
    names: dict[str, Any] = {"__name__": "grader"}
    exec(code, names)
    grade = names.get("grade")
    if not callable(grade):
        raise TypeError("the source defines no function grade(sample, item)")
    value = grade(message["sample"], message["item"])
    # Numbers of libraries have types of their own; they know how to be floats.
    score = float(value)
    if isinstance(value, str) or not 0.0 <= score <= 1.0:
        raise ValueError(f"grade returned {str(value)[:80]!r}, which is no number in [0, 1]")
    return score


def _said(error: BaseException) -> str:
    """Return what went wrong, and in which line of the grader."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == SAMPLE:
            line = trace.tb_lineno
        trace = trace.tb_next
    where = f" (line {line})" if line else ""
    try:
        text = f"{type(error).__name__}: {error}"
    except BaseException:
        text = type(error).__name__
    return text[:ERROR_CHARACTERS_MAX] + where


def _clean(scratch: int) -> None:
    """Remove what a sample has left in the folder, so that the next one finds it empty.

    Args:
        scratch: Handle of the folder, which is the working one.
    """
    os.fchmod(scratch, 0o700)  # By its name a folder that cannot be entered cannot be opened again.
    for folder, folders, _ in os.walk("."):
        for name in folders:
            if not os.path.islink(os.path.join(folder, name)):
                os.chmod(os.path.join(folder, name), 0o700)
    for folder, folders, files in os.walk(".", topdown=False):
        for name in files:
            os.unlink(os.path.join(folder, name))
        for name in folders:
            path = os.path.join(folder, name)
            os.unlink(path) if os.path.islink(path) else os.rmdir(path)
