"""Which layouts are tried after some ran out of memory."""

from dataclasses import replace

import pytest
from attune.scheduler.v1.scheduler_pb2 import DataShape

from services.scheduler.failed_layout import FailedLayout
from services.scheduler.layout import avoids, place
from services.scheduler.placement import find_obstacle
from services.scheduler.shortage import layout_of
from services.scheduler.waiting import demands_of
from tests.scheduler.factories import CATALOGUE, GIB, a_spec

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
CAPACITY = 6 * GIB


def a_demand(**spec):
    return demands_of(a_spec(**spec), DataShape(), [], CATALOGUE)[0]


def placed(demand, capacity=CAPACITY, profile="cpu"):
    return place(demand, CATALOGUE.profiles[profile], capacity)


def laid_out(size, checkpointing, capacity=CAPACITY):
    """Return a placement with a layout, as a trial of it would have been."""
    first = placed(a_demand(batch=size), capacity)
    batching = replace(
        first.batching,
        micro_batch_size=size,
        gradient_accumulation_steps=16 // size,
        gradient_checkpointing=checkpointing,
    )
    return replace(first, batching=batching)


def a_failed(size, checkpointing, capacity=CAPACITY):
    return FailedLayout("cpu", capacity, size, checkpointing, expected_bytes=100 * GIB)


@pytest.mark.parametrize(
    ("tried", "failed", "expected"),
    [
        ((8, False), (8, False), False),
        ((16, False), (8, False), False),
        ((16, True), (8, False), False),
        ((8, True), (8, False), True),
        ((4, False), (8, False), True),
        ((4, True), (8, False), True),
        ((8, True), (8, True), False),
        ((8, False), (8, True), False),
        ((4, False), (8, True), True),
        ((1, True), (1, True), False),
    ],
)
def test_only_what_holds_less_is_tried_on_the_same_device(tried, failed, expected):
    assert avoids(laid_out(*tried), (a_failed(*failed),)) is expected
    assert avoids(laid_out(*tried), (a_failed(1, True, CAPACITY - 1), a_failed(*failed))) is (
        expected
    )


def test_a_larger_device_may_do_the_same_and_a_smaller_one_not():
    same = laid_out(8, False)
    assert avoids(same, (a_failed(8, False, CAPACITY - 1),))
    assert not avoids(same, (a_failed(8, False, CAPACITY + 1),))


def test_fewer_rows_that_are_expected_to_need_no_less_are_not_tried():
    smaller = laid_out(4, False)
    failed = replace(a_failed(8, True), expected_bytes=smaller.memory.formula_bytes)
    assert not avoids(smaller, (failed,))


def test_micro_batches_shrink_before_checkpointing_and_the_batch_is_kept():
    """Each layout in turn runs out, until none is left; then the device is out of question."""
    demand, seen = a_demand(batch=8), []
    while find_obstacle(found := placed(demand), demand) is None:
        batching = found.batching
        assert batching.micro_batch_size * batching.gradient_accumulation_steps == 8
        seen.append((batching.micro_batch_size, batching.gradient_checkpointing))
        demand = replace(demand, failed=(*demand.failed, layout_of(found)))
        assert len(seen) < 20
    plain = [size for size, checkpointing in seen if not checkpointing]
    assert plain == sorted(plain, reverse=True)
    assert plain[-1] == 1
    assert [checkpointing for _, checkpointing in seen] == sorted(
        checkpointing for _, checkpointing in seen
    )
    assert "ran out of memory" in str(find_obstacle(found, demand))
    larger = placed(demand, 2 * CAPACITY)
    assert find_obstacle(larger, demand) is None
    assert larger.batching == placed(replace(demand, failed=()), 2 * CAPACITY).batching


def test_without_failures_nothing_changes():
    demand = a_demand(base_model=LLAMA)
    assert placed(demand, 80 * GIB, "a100-80gb").fits
    assert avoids(placed(demand, 80 * GIB, "a100-80gb"), ())
