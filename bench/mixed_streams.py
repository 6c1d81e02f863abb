"""A thousand streams over eight aliases whose adapters come and go: answers by the wrong adapter.

While the streams run, the aliases are pointed at other versions all the time, more of them than the
engine holds: adapters are loaded and unloaded by our controller under load. The adapters are random
and answer differently, so the text of an answer tells whose it is. An answer is wrong if the
version that it names was not behind its alias while it was made, or if its text is not what
transformers says of that version's adapter. Aim: none.

Usage: python -m bench.mixed_streams [--quick] [--starter FOLDER]
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from attune.serving.v1 import deployment_pb2

from bench.load import Answer, burst, run
from bench.random_adapters_text import ANSWER_TOKENS, PROMPTS
from bench.report import show, write
from bench.serving import CALL_TIMEOUT_S, PROJECT, Serving, Setting, a_parser, a_serving
from services.common.errors import ResourceExhausted
from services.common.peers import call
from services.serving.registry.parity import INCOMPLETE

STREAMS = 32
COUNT = 1000
ALIASES = 8
ADAPTERS = 20
"""More than the engine's places."""
SEED = 5


@dataclass
class History:
    """Which version was behind an alias when."""

    spans: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    """By alias: when the first request may have been answered by a version, in order."""
    ends: dict[str, list[float]] = field(default_factory=dict)
    """By alias: when the last request may have been given to each of them, but for the newest."""
    refused_count: int = 0

    def begin(self, alias: str, version: str, time_s: float) -> None:
        """Take note that a version may answer from now on."""
        self.spans.setdefault(alias, []).append((time_s, version))

    def end(self, alias: str, time_s: float) -> None:
        """Take note that the version before the newest one is given nothing any more."""
        self.ends.setdefault(alias, []).append(time_s)

    def allows(self, alias: str, version: str, begin_s: float, end_s: float) -> bool:
        """Return whether a version was behind an alias at some moment of a request."""
        spans, ends = self.spans[alias], self.ends.get(alias, [])
        return any(
            name == version and start_s <= end_s and (index >= len(ends) or ends[index] >= begin_s)
            for index, (start_s, name) in enumerate(spans)
        )


@dataclass(frozen=True)
class Verdict:
    """What a run of answers amounts to."""

    answers: int
    failed: int
    wrong_version: int
    wrong_text: int


def judge(
    answers: Sequence[Answer], history: History, expected: Mapping[tuple[str, str], str]
) -> Verdict:
    """Count what is wrong.

    Args:
        answers: Of requests whose number says alias and prompt.
        history: Of the aliases.
        expected: The text by version and prompt.
    """
    failed = [answer for answer in answers if answer.failed]
    whole = [answer for answer in answers if not answer.failed]
    wrong_version = [
        answer
        for answer in whole
        if not history.allows(alias_of(answer.number), answer.version, answer.begin_s, answer.end_s)
    ]
    wrong_text = [
        answer
        for answer in whole
        if answer.text.rstrip(INCOMPLETE)
        != expected.get((answer.version, prompt_of(answer.number)))
    ]
    for answer in [*failed, *wrong_version, *wrong_text][:5]:
        print(alias_of(answer.number), prompt_of(answer.number), answer)
    return Verdict(len(answers), len(failed), len(wrong_version), len(wrong_text))


def alias_of(number: int) -> str:
    """Return the alias that a request asks."""
    return f"mixed-{number % ALIASES}"


def prompt_of(number: int) -> str:
    """Return what a request asks."""
    return PROMPTS[number // ALIASES % len(PROMPTS)]


def body(number: int) -> dict[str, Any]:
    """Return the body of a request."""
    return {
        "model": alias_of(number),
        "messages": [{"role": "user", "content": prompt_of(number)}],
        "temperature": 0,
        "max_tokens": ANSWER_TOKENS,
        "stream": True,
    }


async def churn(serving: Serving, versions: Sequence[str], history: History) -> None:
    """Point one alias after another at a version drawn at random, until cancelled."""
    draw = random.Random(SEED)
    while True:
        alias, version = f"mixed-{draw.randrange(ALIASES)}", draw.choice(versions)
        request = deployment_pb2.UpdateDeploymentRequest(request_id=str(uuid4()))
        request.deployment.name = f"{PROJECT}/deployments/{alias}"
        request.deployment.model_version = version
        request.update_mask.paths.append("model_version")
        history.begin(alias, version, time.perf_counter())
        try:
            await call(serving.deployments.UpdateDeployment, request, timeout_s=CALL_TIMEOUT_S)
        except ResourceExhausted:  # Every place was in use or deployed for too long.
            history.spans[alias].pop()
            history.refused_count += 1
            continue
        history.end(alias, time.perf_counter())


async def measure(options: Any) -> dict[str, Any]:
    """Run the streams and the changes and return the figures."""
    count = 100 if options.quick else COUNT
    async with a_serving(Setting(True, ADAPTERS, options.starter)) as serving:
        found = await serving.register(serving.adapters)
        versions = [version.name for version in found]
        expected = {
            (version, line["messages"][0]["content"]): line["answer"].rstrip(INCOMPLETE)
            for version, adapter in zip(versions, serving.adapters, strict=True)
            for line in serving.parity_of(adapter)
        }
        history = History()
        for number in range(ALIASES):
            history.begin(alias_of(number), versions[number], time.perf_counter())
            await serving.deploy(alias_of(number), versions[number])
        changing = asyncio.create_task(churn(serving, versions, history))
        load = await burst(serving.url, body, streams=STREAMS, count=count)
        changing.cancel()
        await asyncio.gather(changing, return_exceptions=True)
        log = (serving.home / "serving.log").read_text()
    verdict = judge(load.answers, history, expected)
    return {
        "streams_at_once": STREAMS,
        "adapters": ADAPTERS,
        "different_texts": len(set(expected.values())),
        "expected_texts": len(expected),
        **vars(verdict),
        "versions_that_answered": len({answer.version for answer in load.answers}),
        "switches": sum(len(ends) for ends in history.ends.values()),
        "switches_refused": history.refused_count,
        "adapters_loaded": log.count("loaded adapter ") - log.count("unloaded adapter "),
        "adapters_unloaded": log.count("unloaded adapter "),
        "seconds": load.seconds,
        "load_average": os.getloadavg()[0],
    }


def main() -> None:
    """Measure and print."""
    options = a_parser(__doc__).parse_args()
    figures = run(measure(options))
    show(f"Streams over {ALIASES} aliases", ["", "figure"], [list(row) for row in figures.items()])
    if not options.quick:
        write("mixed_streams", figures)


if __name__ == "__main__":
    main()
