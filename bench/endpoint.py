"""Through the endpoint against the engine directly: throughput, time to the first piece, streams.

Both ways are measured by turns in one run, with the same load, on the same cores, which the load
itself shares. Against vLLM for what matters; against an engine that answers at once for the hop
itself, which vLLM's own noise hides. The service's processor time a request does not depend on who
else uses the machine. Aims: throughput at least 0.95 of direct, at most 1 ms more to the first
piece with one stream.

Usage: python -m bench.endpoint [--quick] [--far-end instant|vllm] [--starter FOLDER]
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil

from bench.load import Answer, Load, Stream, burst, percentile, run
from bench.report import show, write
from bench.serving import Serving, Setting, a_parser, a_serving

ALIAS = "tickets"
ORDER = ("direct", "through", "through", "direct")
HELD_STREAMS = 256
"""As many as the endpoint answers at once unless told otherwise."""
HELD_PIECES, HELD_PAUSE_S = 20, 0.5
COLUMNS = ["first p50, ms", "first p99, ms", "answers/s", "pieces/s"]


@dataclass(frozen=True)
class Case:
    """One load."""

    streams: int
    count: int
    """Requests of one burst."""
    tokens: int

    def shorter(self) -> Case:
        """Return a tenth of it, at least one request a stream."""
        return Case(self.streams, max(self.streams, self.count // 10), self.tokens)


CASES = {
    "instant": (Case(1, 300, 1), Case(20, 1000, 1), Case(20, 200, 64)),
    "vllm": (Case(1, 15, 16), Case(20, 60, 48)),
}


@dataclass
class Way:
    """What was seen on one way."""

    bursts: list[Load] = field(default_factory=list)

    @property
    def answers(self) -> list[Answer]:
        """Of all bursts."""
        return [answer for load in self.bursts for answer in load.answers]

    @property
    def seconds(self) -> float:
        """Of all bursts."""
        return sum(load.seconds for load in self.bursts)

    def row(self) -> list[float]:
        """Return what COLUMNS names."""
        first = [answer.first_s * 1000 for answer in self.answers]
        pieces = sum(answer.content.count(b"data: {") for answer in self.answers)
        return [
            percentile(first, 50),
            percentile(first, 99),
            len(self.answers) / self.seconds,
            pieces / self.seconds,
        ]


def body(model: str, tokens: int, **more: Any) -> Callable[[int], dict[str, Any]]:
    """Return what makes the body of a request."""
    asked = {
        "model": model,
        "messages": [{"role": "user", "content": "My order did not arrive."}],
        "temperature": 0,
        "max_tokens": tokens,
        "ignore_eos": True,  # Or a random adapter might say next to nothing.
        "stream": True,
        **more,
    }
    return lambda _: asked


async def compare(serving: Serving, case: Case, rounds: int) -> dict[str, Any]:
    """Measure both ways by turns, print and return the figures.

    Raises:
        SystemExit: If a request failed: a failure is quick, and would look like speed.
    """
    ways = {"direct": Way(), "through": Way()}
    service = psutil.Process(serving.service_pid)
    spent_s = 0.0
    for _ in range(rounds):
        for name in ORDER:
            is_direct = name == "direct"
            model = serving.adapters[0] if is_direct else ALIAS
            address = serving.engine_url if is_direct else serving.url
            before_s = sum(service.cpu_times()[:2])
            load = await burst(
                address, body(model, case.tokens), streams=case.streams, count=case.count
            )
            if load.failed_count:
                failed = next(answer for answer in load.answers if answer.failed)
                raise SystemExit(f"{name}: {load.failed_count} failed, such as {failed}")
            ways[name].bursts.append(load)
            if not is_direct:
                spent_s += sum(service.cpu_times()[:2]) - before_s
    direct, through = (ways[name].row() for name in ("direct", "through"))
    figures = {
        "streams": case.streams,
        "tokens": case.tokens,
        "direct": direct,
        "through": through,
        "throughput_ratio": through[2] / direct[2],
        "added_first_p50_ms": through[0] - direct[0],
        "added_first_p99_ms": through[1] - direct[1],
        "service_cpu_ms_per_request": spent_s * 1000 / len(ways["through"].answers),
        "load_average": os.getloadavg()[0],
    }
    show(
        f"{case.streams} streams, answers of {case.tokens} tokens; load average "
        f"{figures['load_average']:.1f}",
        ["way", *COLUMNS],
        [
            ["direct", *direct],
            ["through the endpoint", *through],
            ["added, or ratio", figures["added_first_p50_ms"], figures["added_first_p99_ms"],
             figures["throughput_ratio"], through[3] / direct[3]],
        ],
    )  # fmt: skip
    print(
        f"processor time of the service: {figures['service_cpu_ms_per_request']:.2f} ms a request"
    )
    return figures


async def hold_streams(serving: Serving, count: int) -> dict[str, Any]:
    """Open that many streams at once, each slow, and return how many were answered to the end."""
    asked = body(ALIAS, HELD_PIECES, pause_s=HELD_PAUSE_S)
    opened = [Stream(serving.url) for _ in range(count)]
    answers = await asyncio.gather(*(stream.ask(asked(0)) for stream in opened))
    for stream in opened:
        stream.close()
    # All were open together if the last one began before the first one ended.
    last_first_s = max(answer.first_s for answer in answers)
    figures = {
        "streams": count,
        "failed": sum(answer.failed for answer in answers),
        "all_at_once": last_first_s < min(answer.total_s for answer in answers),
        "last_first_piece_s": last_first_s,
    }
    show("Streams held open at once", ["", "figure"], [[key, figures[key]] for key in figures])
    return figures


async def measure(is_real: bool, options: Any) -> dict[str, Any]:
    """Measure against one far end."""
    name = "vllm" if is_real else "instant"
    print(f"far end: {'vLLM' if is_real else 'an engine that answers at once'}", flush=True)
    async with a_serving(Setting(is_real, 1, options.starter)) as serving:
        (version,) = await serving.register(serving.adapters)
        await serving.deploy(ALIAS, version.name)
        for address, model in ((serving.url, ALIAS), (serving.engine_url, serving.adapters[0])):
            await burst(address, body(model, 4), streams=4, count=20)
        cases = [case.shorter() if options.quick else case for case in CASES[name]]
        found: dict[str, Any] = {
            "cases": [await compare(serving, case, 1 if options.quick else 3) for case in cases]
        }
        if not is_real:
            found["held"] = await hold_streams(serving, 20 if options.quick else HELD_STREAMS)
    return found


def main() -> None:
    """Measure against both far ends, or the one that is asked for."""
    parser = a_parser(__doc__)
    parser.add_argument("--far-end", choices=("instant", "vllm"), help="only this one")
    options = parser.parse_args()
    found = {
        name: run(measure(name == "vllm", options))
        for name in ("instant", "vllm")
        if options.far_end in (None, name)
    }
    if not options.quick:
        write("endpoint", {"columns": COLUMNS, **found})


if __name__ == "__main__":
    main()
