"""Canary, promotion and rollback under load: failed requests, third versions, seconds.

Streams ask one alias without a pause while it is given a canary, promoted and rolled back, again
and again, on vLLM. A request that is asked after a rollback was confirmed must be answered by the
version before. Aims: no request fails, none is answered by a third version, none by the taken-back
one once that is confirmed, and a rollback takes less than a second.

Usage: python -m bench.rollback [--quick] [--starter FOLDER]
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any
from uuid import uuid4

from attune.serving.v1 import deployment_pb2 as pb

from bench.load import Answer, burst, run
from bench.report import show, write
from bench.serving import CALL_TIMEOUT_S, PROJECT, Serving, Setting, a_parser, a_serving
from services.common.peers import call

STREAMS = 8
TOKENS = 16
CYCLES = 10
ALIAS = "rolled"
NAME = f"{PROJECT}/deployments/{ALIAS}"
CANARY_PERCENT = 20
PAUSE_S = 1.0
"""Between two decisions, in which answers of the new state come."""


@dataclass(frozen=True)
class Rollback:
    """One rollback."""

    asked_s: float
    confirmed_s: float
    next_change_s: float
    """When the next canary was asked for; infinite after the last rollback."""

    @property
    def seconds(self) -> float:
        """From the call until it was confirmed."""
        return self.confirmed_s - self.asked_s


def body(_number: int) -> dict[str, Any]:
    """Return the body of a request."""
    return {
        "model": ALIAS,
        "messages": [{"role": "user", "content": "My order did not arrive."}],
        "temperature": 0,
        "max_tokens": TOKENS,
        "stream": True,
    }


async def cycle(serving: Serving, canary: str) -> tuple[float, float, float]:
    """Try a version, promote it, take it back; return when each of the last two was asked."""
    update = pb.UpdateDeploymentRequest(request_id=str(uuid4()))
    update.deployment.name = NAME
    update.deployment.canary.model_version = canary
    update.deployment.canary.percent = CANARY_PERCENT
    update.update_mask.paths.append("canary")
    begin_s = time.perf_counter()
    await call(serving.deployments.UpdateDeployment, update, timeout_s=CALL_TIMEOUT_S)
    await asyncio.sleep(PAUSE_S)
    promote = pb.PromoteDeploymentRequest(name=NAME, request_id=str(uuid4()))
    await call(serving.deployments.PromoteDeployment, promote, timeout_s=CALL_TIMEOUT_S)
    await asyncio.sleep(PAUSE_S)
    back = pb.RollbackDeploymentRequest(name=NAME, request_id=str(uuid4()))
    asked_s = time.perf_counter()
    await call(serving.deployments.RollbackDeployment, back, timeout_s=CALL_TIMEOUT_S)
    confirmed_s = time.perf_counter()
    await asyncio.sleep(PAUSE_S)
    return begin_s, asked_s, confirmed_s


async def decide(serving: Serving, canary: str, count: int, stop: asyncio.Event) -> list[Rollback]:
    """Run the cycles, then stop the load."""
    try:
        times = [await cycle(serving, canary) for _ in range(count)]
    finally:
        stop.set()
    begins = [begin_s for begin_s, _, _ in times[1:]] + [float("inf")]
    return [
        Rollback(asked_s, confirmed_s, next_s)
        for (_, asked_s, confirmed_s), next_s in zip(times, begins, strict=True)
    ]


def judge(
    answers: Sequence[Answer], rollbacks: Sequence[Rollback], version: str, canary: str
) -> dict[str, int]:
    """Count what is wrong, and who answered.

    Args:
        answers: All of them.
        rollbacks: In order.
        version: What every rollback returns to.
        canary: What is tried and taken back.
    """
    whole = [answer for answer in answers if not answer.failed]
    return {
        "answers": len(answers),
        "failed": len(answers) - len(whole),
        "by_third_versions": sum(one.version not in (version, canary) for one in whole),
        "by_what_was_taken_back": sum(
            one.version != version and back.confirmed_s < one.begin_s < one.end_s
            and one.end_s < back.next_change_s
            for one in whole
            for back in rollbacks
        ),
        "by_the_version": sum(one.version == version for one in whole),
        "by_the_canary": sum(one.version == canary for one in whole),
    }  # fmt: skip


async def measure(options: Any) -> dict[str, Any]:
    """Run load and decisions and return the figures."""
    async with a_serving(Setting(True, 3, options.starter)) as serving:
        versions = [one.name for one in await serving.register(serving.adapters)]
        version, canary, third = versions
        await serving.deploy(ALIAS, version)
        await serving.deploy("another", third)
        stop = asyncio.Event()
        count = 2 if options.quick else CYCLES
        load, rollbacks = await asyncio.gather(
            burst(serving.url, body, streams=STREAMS, stop=stop),
            decide(serving, canary, count, stop),
        )
    seconds = [one.seconds for one in rollbacks]
    return {
        "cycles": count,
        "streams": STREAMS,
        **judge(load.answers, rollbacks, version, canary),
        "rollback_p50_s": median(seconds),
        "rollback_max_s": max(seconds),
        "load_average": os.getloadavg()[0],
    }


def main() -> None:
    """Measure and print."""
    options = a_parser(__doc__).parse_args()
    figures = run(measure(options))
    show(
        "Promotion and rollback under load", ["", "figure"], [list(row) for row in figures.items()]
    )
    if not options.quick:
        write("rollback", figures)


if __name__ == "__main__":
    main()
