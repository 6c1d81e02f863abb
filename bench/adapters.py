"""Many adapters on one engine against one: answers a second, by turns in one run.

As many as an engine has places for. The same load, first all for one adapter, then each request for
the next one; through the endpoint, on vLLM. Every answer must be a whole one, by a version that was
asked for.

Usage: python -m bench.adapters [--quick] [--starter FOLDER]
"""

from __future__ import annotations

import os
from typing import Any

from bench.load import Load, burst, run
from bench.report import show, write
from bench.serving import Serving, Setting, a_parser, a_serving
from services.serving.engines.residency import LORAS_MAX

STREAMS = 16
TOKENS = 32
ORDER = ("one", "all", "all", "one")


def model_of(version: str) -> str:
    """Return the name by which applications call a version."""
    _, _, _, model, _, number = version.split("/")
    return f"{model}/{number}"


async def measure_one(serving: Serving, versions: list[str], name: str, count: int) -> Load:
    """Make one burst.

    Raises:
        SystemExit: If an answer is not whole, or is another version's.
    """
    used = len(versions) if name == "all" else 1

    def body(number: int) -> dict[str, Any]:
        question = serving.parity_of(serving.adapters[0])[0]["messages"]
        return {
            "model": model_of(versions[number % used]),
            "messages": question,
            "temperature": 0,
            "max_tokens": TOKENS,
            "ignore_eos": True,  # Or random adapters would answer at different lengths.
            "stream": True,
        }

    load = await burst(serving.url, body, streams=STREAMS, count=count)
    wrong = [answer for answer in load.answers if answer.version not in versions[:used]]
    if load.failed_count or wrong:
        raise SystemExit(f"{load.failed_count} failed, {len(wrong)} by other versions: {wrong[:1]}")
    return load


async def measure(options: Any) -> dict[str, Any]:
    """Measure by turns and return the figures."""
    count, rounds = (STREAMS, 1) if options.quick else (4 * STREAMS, 3)
    adapter_count = 4 if options.quick else LORAS_MAX
    async with a_serving(Setting(True, adapter_count, options.starter)) as serving:
        found = await serving.register(serving.adapters)
        versions = [version.name for version in found]
        await measure_one(serving, versions, "all", 2 * STREAMS)
        loads: dict[str, list[Load]] = {"one": [], "all": []}
        for _ in range(rounds):
            for name in ORDER:
                loads[name].append(await measure_one(serving, versions, name, count))
    rates = {
        name: sum(len(load.answers) for load in some) / sum(load.seconds for load in some)
        for name, some in loads.items()
    }
    return {
        "adapters": adapter_count,
        "answers_per_s": rates,
        "tokens_per_s": {name: rate * TOKENS for name, rate in rates.items()},
        "ratio": rates["all"] / rates["one"],
        "load_average": os.getloadavg()[0],
    }


def main() -> None:
    """Measure and print."""
    options = a_parser(__doc__).parse_args()
    figures = run(measure(options))
    count = figures["adapters"]
    rows = [
        [label, figures["answers_per_s"][name], figures["tokens_per_s"][name]]
        for label, name in (("one adapter", "one"), (f"{count} adapters", "all"))
    ]
    title = f"{STREAMS} streams; ratio {figures['ratio']:.3f}; load {figures['load_average']:.1f}"
    show(title, ["", "answers/s", "tokens/s"], rows)
    if not options.quick:
        write("adapters", figures)


if __name__ == "__main__":
    main()
