"""What there is to compute on: profiles as a table, nodes one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from attune.scheduler.v1 import fleet_pb2
from attune.spec.v1 import compute_pb2, stage_pb2

from cli.views.figures import moment, number, size, words
from cli.views.screen import Screen

FORMATS = {
    compute_pb2.ParallelPlan.PRECISION_FLOAT32: "fp32",
    compute_pb2.ParallelPlan.PRECISION_BFLOAT16: "bf16",
    compute_pb2.ParallelPlan.PRECISION_FLOAT16: "fp16",
}
HEADERS = ("profile", "memory", "format", "TFLOP/s", "GB/s", "link", "joined", "$/hour", "live")


def show_profiles(screen: Screen, profiles: Sequence[fleet_pb2.ComputeProfile]) -> None:
    """Write profiles by their memory, and what the columns mean."""
    screen.table(HEADERS, [_row(one) for one in sorted(profiles, key=lambda one: one.memory_bytes)])
    screen.say()
    dates = sorted(one.price_date for one in profiles if one.price_date)
    priced = f"of {dates[0]} to {dates[-1]}" if dates else ""
    screen.facts(
        [
            ("TFLOP/s", "dense, in that format; training reaches a share of it"),
            ("GB/s", "of the memory; link: one way between devices of a node"),
            ("joined", "devices of the largest node x nodes that one run may span"),
            ("$/hour", f"of one device on demand, {priced}" if priced else ""),
        ],
        label_width=9,
    )


def _row(one: fleet_pb2.ComputeProfile) -> tuple[str, ...]:
    price = one.price_micro_usd_per_hour
    return (
        one.id,
        size(one.memory_bytes),
        FORMATS.get(one.precision, "other"),
        number(one.flops_per_s / 1e12),
        number(one.bandwidth_bytes_per_s / 1e9),
        number(one.link_bytes_per_s / 1e9) if one.link_bytes_per_s else "-",
        f"{one.device_count_per_node} x {one.node_count}",
        f"{price / 1e6:.2f}" if price else "own",
        "yes" if one.live else "-",
    )


def show_nodes(screen: Screen, nodes: Sequence[fleet_pb2.ComputeNode]) -> None:
    """Write what each node has and when it was last heard of."""
    if not nodes:
        screen.say("No node has asked for runs yet.")
    for node in nodes:
        screen.heading(node.id)
        live = "yes" if node.live else "no: it is silent and gets no runs"
        techniques = [words(stage_pb2.Technique.Name(one), "TECHNIQUE_") for one in node.techniques]
        methods = [words(stage_pb2.Method.Name(one), "METHOD_") for one in node.methods]
        screen.facts(
            [
                ("live", live),
                ("last heard", moment(node.heartbeat_time)),
                ("devices", _devices(node)),
                ("cores", number(node.core_count)),
                ("free slots", number(node.free_slot_count)),
                ("base models", ", ".join(node.base_models) or "none"),
                ("techniques", ", ".join(techniques)),
                ("methods", ", ".join(methods)),
            ]
        )


def _devices(node: fleet_pb2.ComputeNode) -> str:
    """Return devices that are alike as one: `8 x h100-80gb (79.1 GiB)`."""
    alike = Counter((one.profile, size(one.memory_bytes)) for one in node.devices)
    return ", ".join(f"{count} x {profile} ({each})" for (profile, each), count in alike.items())
