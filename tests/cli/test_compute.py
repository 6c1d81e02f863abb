"""What `attune compute` shows: a plan's memory against its device, profiles and nodes."""

import io
import json

import pytest
from attune.spec.v1 import compute_pb2, spec_pb2
from rich.console import Console

from cli.views.fleet import show_nodes, show_profiles
from cli.views.placement import CELLS, memory_bar, show_placement
from cli.views.screen import FACTS_WIDTH, Screen
from services.scheduler.catalogue import read_catalogue
from services.scheduler.wire_fleet import profile_to_proto
from tests.cli.canned import SPEC, a_spec
from tests.cli.canned_compute import (
    GIB,
    REASON,
    REJECTED,
    a_compute_node,
    a_compute_plan,
    a_compute_profile,
)

PROFILES = [profile_to_proto(profile, live=True) for profile in read_catalogue().profiles.values()]


@pytest.fixture
def placed(services):
    services.compute = a_compute_plan()
    return services


def shown(show, thing, live: bool) -> str:
    screen, output = Screen(), io.StringIO()
    screen.live = live
    screen.console = Console(file=output, width=80 if live else 400, highlight=False)
    show(screen, thing)
    return output.getvalue()


def joined(text: str) -> str:
    """Return a text without its line breaks."""
    return " ".join(text.split())


def test_a_plan_shows_its_layout_its_time_and_its_cost(attune, placed):
    result = attune("compute", "show", "s1")
    assert result.code == 0
    for words in (
        "Stage 1 of 1",
        "l4-24gb",
        "4 rows at once x 16 accumulated x 1 device",
        "yes, activations are computed again",
        "float16",
        "6.2 s, 374 times",
        "41 min",
        "$0.55",
        "can run now",
        REASON,
    ):
        assert words in joined(result.out), words
    assert result.out.rstrip().endswith("attune spec show specs/s1")
    assert "Next:  attune spec approve specs/s1" in result.out


def test_every_alternative_has_its_cost_and_its_reason(attune, placed):
    out = attune("compute", "show", "s1").out
    part = joined(out.split("Not chosen")[1])
    for (profile, _, reason), cost in zip(REJECTED, ("-", "$0.81", "less than $0.01"), strict=True):
        assert f"{profile} {cost} {reason}" in part


def test_memory_is_drawn_by_component_against_what_the_device_offers(attune, placed):
    lines = attune("compute", "show", "s1").out.splitlines()
    weights, activations, adapter, logits, whole = (
        next(line for line in lines if line.startswith(f"  {title}"))
        for title in ("weights", "activations", "adapter and", "logits", "expected in all")
    )
    assert weights.count("█") == round(CELLS * 8 / 22)
    # Each begins where the one before it ends, and something is never nothing.
    assert activations.index("█") == weights.rindex("█") + 1
    assert adapter.index("█") >= activations.rindex("█")
    assert "adapter and optimizer…" in adapter
    assert logits.count("█") == 1
    low, expected, high = (round(CELLS * gib / 22) for gib in (14, 16, 18))
    drawn = "█" * low + "▓" * (expected - low) + "░" * (high - expected)
    assert drawn + "·" * (CELLS - high) + "|" in whole
    key = "█ low 14.0 GiB  ▓ expected 16.0 GiB  ░ high 18.0 GiB  | offered 22.0 GiB"
    assert key in "\n".join(lines)


@pytest.mark.parametrize(
    ("low", "expected", "high", "capacity"),
    [(1, 2, 3, 4), (10, 10, 10, 10), (1, 2, 3, 1000), (40, 80, 120, 60), (998, 999, 1000, 1000),
     (0, 0, 0, 0), (0, 1, 2, 0), (1, 1, 2, 2)],
)  # fmt: skip
def test_a_memory_bar_keeps_its_width_and_its_order_and_marks_the_end(
    low, expected, high, capacity
):
    drawn = memory_bar(
        compute_pb2.MemoryEstimate(
            low_bytes=low, expected_bytes=expected, high_bytes=high, capacity_bytes=capacity
        )
    )
    assert len(drawn) == CELLS + 1
    assert drawn.count("|") == 1
    assert drawn.replace("|", "") == "".join(
        sorted(drawn.replace("|", ""), key=lambda cell: "█▓░·".index(cell))
    )
    assert drawn.endswith("|") == (high <= capacity)


def test_memory_that_does_not_fit_says_by_how_much():
    plan = a_compute_plan()
    plan.available = False
    plan.missing.append("It needs more memory; choose a smaller base model.")
    plan.stages[0].memory.capacity_bytes = 12 * GIB
    text = shown(show_placement, plan, live=False)
    assert "It may need 6.0 GiB more than there is." in text
    assert "cannot run now" in text
    assert "Missing" in text
    assert "choose a smaller base model" in text


def test_a_precision_of_a_newer_service_is_shown_by_its_number():
    plan = a_compute_plan()
    plan.stages[0].parallel_plan.precision = 77
    assert "77" in shown(show_placement, plan, live=False)


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(
    ("show", "thing"),
    [
        (show_placement, a_compute_plan()),
        (show_profiles, [a_compute_profile(0), a_compute_profile(1)]),
        (show_profiles, PROFILES),
        (show_nodes, [a_compute_node("n" * 63, live=False), a_compute_node("a", live=True)]),
        (show_nodes, []),
    ],
    ids=["placement", "profiles", "catalogue", "nodes", "none"],
)
def test_everything_fits_in_eighty_columns(show, thing, live):
    text = shown(show, thing, live)
    assert text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= FACTS_WIDTH == 80
    for profile in thing if show is show_profiles else ():
        assert any(line.startswith(f"{profile.id} ") for line in text.splitlines())


def test_json_is_the_compute_plan_alone(attune, placed):
    found = json.loads(attune("compute", "show", "s1", "--json").out)
    assert found["stages"][0]["profile"] == "l4-24gb"
    assert found["stages"][0]["parallel_plan"]["precision"] == "PRECISION_FLOAT16"


def test_what_cannot_run_leads_to_the_nodes_and_what_is_approved_to_the_jobs(
    attune, placed, monkeypatch
):
    placed.compute.available = False
    assert "Next:  attune compute nodes" in attune("compute", "show", "s1").out
    approved = a_spec()
    approved.state = spec_pb2.Spec.STATE_APPROVED
    monkeypatch.setattr("tests.cli.canned.a_spec", lambda: approved)
    assert "Next:  attune job list" in attune("compute", "show", "s1").out


@pytest.mark.parametrize("stages", [0, 1])
@pytest.mark.parametrize("missing", ["", "Only one stage runs yet."])
def test_a_plan_without_hardware_says_so_on_one_line(attune, placed, monkeypatch, stages, missing):
    spec = a_spec()
    del spec.stages[stages:]
    monkeypatch.setattr("tests.cli.canned.a_spec", lambda: spec)
    placed.compute = compute_pb2.ComputePlan(missing=filter(None, [missing]))
    refused = attune("compute", "show", "s1")
    assert (refused.code, refused.out, refused.err.count("\n")) == (1, "", 1)
    wanted = "trains nothing" if not stages else missing or "is inferred for specs/s1 yet"
    assert wanted in refused.err


def test_a_bad_name_and_a_silent_service_are_said_on_one_line(attune, placed, home):
    bad = attune("compute", "show", "jobs/j1")
    assert (bad.code, bad.err.count("\n")) == (1, 1)
    assert "specs/ID or ID" in bad.err
    home.endpoints.unlink()
    nobody = attune("compute", "nodes")
    assert (nobody.code, nobody.err.count("\n")) == (1, 1)


def test_profiles_of_all_pages_are_listed_with_their_figures(attune, services):
    out = attune("compute", "profiles").out
    row = next(line for line in out.splitlines() if line.startswith("txpro6000-96gb1"))
    wanted = ["190.0", "GiB", "fp16", "503.8", "1,792", "900", "8", "x", "4", "12.35", "yes"]
    assert row.split()[1:] == wanted
    assert "of 2026-01-20 to 2026-02-20" in out
    assert "Next:  attune compute nodes" in out
    found = json.loads(attune("compute", "profiles", "--json").out)["profiles"]
    assert [one["price_source"] for one in found] == ["A cloud"] * 2


def test_nodes_are_listed_live_or_not(attune, services):
    out = joined(attune("compute", "nodes").out)
    assert "node-a live yes" in out
    assert "devices 8 x h100-80gb (79.0 GiB)" in out
    assert "free slots 2" in out
    assert "techniques sft, dpo" in out
    assert "last heard 2030-03-17 17:46:40 UTC" in out
    assert f"{'n' * 63} live no: it is silent" in out
    assert "Next: attune job list" in out
    assert len(json.loads(attune("compute", "nodes", "--json").out)["nodes"]) == 2


def test_without_a_node_it_says_what_to_start(attune, services):
    services.fleet = ()
    out = attune("compute", "nodes").out
    assert "No node has asked for runs yet." in out
    assert "Next:  attune up" in out


def test_the_plan_of_a_spec_is_what_is_asked_for(attune, placed):
    attune("compute", "show", SPEC)
    assert placed.asked[-1].name == SPEC
