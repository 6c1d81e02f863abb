"""Seconds from `model.registered` to READY with the engine warm, against a start of vLLM.

What a version waits for is its parity proof: the adapter is loaded and answers the prompts of its
parity file. Both times are those of the registry, which commits each with its event. Aim: under 3 s
with the engine warm. The start is that of this very run, to the first token.

Usage: python -m bench.ready [--quick] [--starter FOLDER]
"""

from __future__ import annotations

import os
from statistics import median
from typing import Any

from bench.load import run
from bench.report import show, write
from bench.serving import Setting, a_parser, a_serving

VERSIONS = 10


async def measure(options: Any) -> dict[str, Any]:
    """Register one version after another and return the figures."""
    count = 2 if options.quick else VERSIONS
    async with a_serving(Setting(True, count, options.starter)) as serving:
        seconds = []
        for adapter in serving.adapters:
            (version,) = await serving.register([adapter])
            registered, ready = version.create_time.ToDatetime(), version.update_time.ToDatetime()
            seconds.append((ready - registered).total_seconds())
        return {
            "versions": count,
            "prompts": [len(serving.parity_of(adapter)) for adapter in serving.adapters],
            "ready_s": seconds,
            "ready_p50_s": median(seconds),
            "ready_max_s": max(seconds),
            "engine_start_s": serving.engine_start_s,
            "load_average": os.getloadavg()[0],
        }


def main() -> None:
    """Measure and print."""
    options = a_parser(__doc__).parse_args()
    figures = run(measure(options))
    rows = [
        ["registered to READY, engine warm, median", figures["ready_p50_s"]],
        ["the slowest", figures["ready_max_s"]],
        ["start of vLLM, to its first token", figures["engine_start_s"]],
    ]
    title = f"{figures['versions']} versions; load average {figures['load_average']:.1f}"
    show(title, ["", "seconds"], rows)
    if not options.quick:
        write("ready", figures)


if __name__ == "__main__":
    main()
