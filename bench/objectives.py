"""Scores the planner on conversations: what it advises, asks, plans, changes and points out.

Usage: python bench/objectives.py --cases FILE [--json FILE] [--only c001,c002] [--failures]

Every case is talked through twice with the real planner (its servicer, store, reader, rules,
catalogue and recipes) beside the real scheduler; the second time must give the same hash. Cases
are one JSON object per line: `id`, `kind`, `dataset`, `turns`, `expect`. The exit code is 0 for a
go: at least 90 % of all expectations, and all of those about safety and of the invariants.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any
from uuid import uuid4

if not __package__:  # Run by its path; this folder would hide the standard library's `queue`.
    sys.path[0] = str(Path(__file__).parents[1])

from attune.planner.v1 import dataset_pb2, planner_pb2, planner_pb2_grpc

from bench import report
from bench.objectives_data import dataset_of
from bench.objectives_score import Check, Talk, checks
from bench.objectives_servers import planner, say
from services.common.clock import SystemClock
from services.planner.dataset_store import DatasetStore

GO_SHARE = 0.90
PROPOSE = "Please propose the plan with what you know."
SHOWN_FAILURES = 60


class Bench:
    """Talks cases through."""

    def __init__(self, client: planner_pb2_grpc.PlannerServiceStub, datasets: DatasetStore) -> None:
        """Keep the planner."""
        self._client = client
        self._datasets = datasets
        self.latencies_s: list[float] = []

    async def talk(self, case: dict[str, Any], project: str) -> Talk:
        """Return what comes of a case's turns."""
        made = await self._client.CreateConversation(
            planner_pb2.CreateConversationRequest(
                parent=f"projects/{project}", request_id=str(uuid4())
            )
        )
        name, talk = made.name, Talk()
        measured = case["expect"].get("changes", {}).get("compare_turns", [-1, 0])[0] + 1
        attached = (case["dataset"] or {}).get("attached_turn", 1) if case["dataset"] else 0
        for number, message in enumerate(case["turns"], start=1):
            if number == measured and await self._spec(name) is None:
                await self._say(name, talk, PROPOSE, [])
                self._keep(talk, number - 1, await self._spec(name))
            uploads = [await self._upload(case, project)] if number == attached else []
            await self._say(name, talk, message, uploads)
            self._keep(talk, number, await self._spec(name))
        talk.last = await self._spec(name)
        if talk.last is None and case["expect"]["verdict"]:
            await self._say(name, talk, PROPOSE, [])
            talk.last = await self._spec(name)
            self._keep(talk, len(case["turns"]), talk.last)
        return talk

    def _keep(self, talk: Talk, number: int, spec: Any) -> None:
        if spec is not None:
            talk.specs[number] = spec

    async def _say(self, name: str, talk: Talk, message: str, uploads: list[str]) -> None:
        request = planner_pb2.SendMessageRequest(
            conversation=name, message=message, datasets=uploads, request_id=str(uuid4())
        )
        begin = time.perf_counter()
        talk.turns.append(await say(self._client, request))
        self.latencies_s.append(time.perf_counter() - begin)

    async def _spec(self, conversation: str) -> Any:
        request = planner_pb2.GetConversationRequest(name=conversation)
        found = await self._client.GetConversation(request)
        if not found.spec:
            return None
        return await self._client.GetSpec(planner_pb2.GetSpecRequest(name=found.spec))

    async def _upload(self, case: dict[str, Any], project: str) -> str:
        name = f"projects/{project}/datasets/{case['id']}"
        header = dataset_pb2.UploadHeader(
            parent=f"projects/{project}", display_name="examples.jsonl", request_id=str(uuid4())
        )
        dataset = dataset_of(case, name)
        stored = await self._datasets.add(header, dataset, SystemClock().now())
        return stored.name


async def run(cases: list[dict[str, Any]]) -> tuple[dict[str, list[Check]], list[float]]:
    """Return the checks of every case by id, and the seconds that turns took."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        async with planner(Path(first)) as here, planner(Path(second)) as again:
            bench, twin = Bench(*here), Bench(*again)
            found = {}
            for case in cases:
                try:
                    talk = await bench.talk(case, "default")
                    repeated = (await twin.talk(case, "default")).last
                    talk.hash_again = repeated.hash if repeated is not None else ""
                    found[case["id"]] = checks(case, talk)
                except Exception as error:  # A case that breaks the planner fails, whatever it is.
                    logging.getLogger(__name__).debug("case %s", case["id"], exc_info=True)
                    broken = Check("talk", "no error", repr(error)[:400], False, safety=True)
                    found[case["id"]] = [broken]
    return found, bench.latencies_s


def figures(
    cases: list[dict[str, Any]], found: dict[str, list[Check]], latencies_s: list[float]
) -> dict[str, Any]:
    """Return what the bench says, as it is written to JSON."""
    kinds: dict[str, list[Check]] = defaultdict(list)
    for case in cases:
        kinds[case["kind"]] += [each for each in found[case["id"]] if each.counts]
    counted = [check for group in kinds.values() for check in group]
    failures = [
        {"case": case["id"], "expectation": each.name, "wanted": each.wanted, "got": each.got,
         "safety": each.safety}
        for case in cases
        for each in found[case["id"]]
        if not each.met
    ]  # fmt: skip
    met = sum(check.met for check in counted)
    share = met / len(counted) if counted else 0.0
    unsafe = [each for each in failures if each["safety"]]
    ordered = sorted(latencies_s)
    return {
        "cases": len(cases),
        "expectations": len(counted),
        "met": met,
        "share": share,
        "by_kind": {
            kind: {
                "cases": sum(case["kind"] == kind for case in cases),
                "expectations": len(group),
                "met": sum(check.met for check in group),
                "share": sum(check.met for check in group) / len(group),
            }
            for kind, group in sorted(kinds.items())
        },
        "by_expectation": _by_name(counted),
        "safety_failures": len(unsafe),
        "go": share >= GO_SHARE and not unsafe,
        "turns": len(ordered),
        "turn_p50_ms": 1000 * ordered[len(ordered) // 2] if ordered else 0.0,
        "turn_p99_ms": 1000 * ordered[int(0.99 * (len(ordered) - 1))] if ordered else 0.0,
        "failures": failures,
    }


def _by_name(counted: list[Check]) -> dict[str, dict[str, int]]:
    total, met = Counter[str](), Counter[str]()
    for check in counted:
        name = check.name.split(".")[0]
        total[name] += 1
        met[name] += check.met
    return {name: {"expectations": total[name], "met": met[name]} for name in sorted(total)}


def show(result: dict[str, Any], *, failures: bool) -> None:
    """Print the tables and the verdict."""
    rows = [
        [kind, group["cases"], group["expectations"], group["met"], group["share"]]
        for kind, group in result["by_kind"].items()
    ]
    rows.append(["all", result["cases"], result["expectations"], result["met"], result["share"]])
    report.show("objectives", ["kind", "cases", "expectations", "met", "share"], rows)
    names = [[name, *group.values()] for name, group in result["by_expectation"].items()]
    report.show("by expectation", ["expectation", "expectations", "met"], names)
    for each in result["failures"][: SHOWN_FAILURES if failures else 0]:
        wanted, got = str(each["wanted"])[:120], str(each["got"])[:240]
        print(f"{each['case']} {each['expectation']}: {wanted} / {got}")
    print(
        f"{result['turns']} turns, p50 {result['turn_p50_ms']:.0f} ms, "
        f"p99 {result['turn_p99_ms']:.0f} ms"
    )
    print(
        f"{'GO' if result['go'] else 'NO-GO'}: {result['share']:.1%} of expectations, "
        f"{result['safety_failures']} safety expectations or invariants broken"
    )


def main() -> int:
    """Run the cases, print the tables, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=Path, help="one case per line")
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--only", default="", help="ids of cases, separated by commas")
    parser.add_argument("--failures", action="store_true", help="print what was not met")
    options = parser.parse_args()
    if options.cases is None:
        print("skipped: --cases names no file of conversations")
        return 0
    lines = options.cases.read_text(encoding="utf-8").splitlines()
    cases = [json.loads(line) for line in lines if line.strip()]
    only = {each for each in options.only.split(",") if each}
    cases = [case for case in cases if not only or case["id"] in only]
    found, latencies_s = asyncio.run(run(cases))
    result = figures(cases, found, latencies_s)
    show(result, failures=options.failures)
    result = {"machine": report.machine(), **result}
    if options.json:
        text = json.dumps(result, indent=1, ensure_ascii=False, default=str)
        options.json.write_text(text + "\n")
    return 0 if result["go"] else 1


if __name__ == "__main__":
    sys.exit(main())
