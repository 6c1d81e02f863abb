"""Makes one report in a process of its own: minutes of computing that would hold up every talk.

Started as `python -m services.planner.dataset.report_process` by `report_child`, with which it
speaks through standard input and output. It ends when its input closes, thus with the planner,
however that ends; it stays in the planner's process group, so that who ends the group ends it too.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import traceback


def main() -> None:
    """Make the report that standard input asks for."""
    # Sent to the whole group; the planner decides when this process ends. First of all, and the
    # imports after it: a report whose process is ended from outside counts as failed.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    from services.planner.dataset.report_job import Job, Letter, frame
    from services.planner.dataset.reporter import Reporter

    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # Whatever else is printed belongs to no frame.
    job = Job.from_bytes(_read_frame())
    answers: queue.Queue[bytes] = queue.Queue(maxsize=1)
    threading.Thread(target=_listen, args=(answers,), daemon=True).start()
    try:
        last = frame(Letter.REPORT, Reporter(job, output, answers).make().SerializeToString())
    except Exception:  # Whatever it is, the planner's log has it, and its report says so.
        last = frame(Letter.FAULT, traceback.format_exc().encode())
    output.write(last)
    output.flush()


def _listen(answers: queue.Queue[bytes]) -> None:
    while True:
        answers.put(_read_frame())


def _read_frame() -> bytes:
    """Return the bytes of the next frame; end the process when there will be none."""
    from services.planner.dataset.report_job import HEAD

    _, size = HEAD.unpack(_read(HEAD.size))
    return _read(size)


def _read(size: int) -> bytes:
    parts, missing = [], size
    while missing:
        part = os.read(0, missing)
        if not part:
            os._exit(1)  # Nobody is left to read the report, and the other thread computes on.
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


if __name__ == "__main__":
    main()
