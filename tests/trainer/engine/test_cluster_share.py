"""What a cluster counts, as devices of ours."""

import pytest

from services.trainer.devices import Device
from services.trainer.engine.cluster_share import (
    ClusterNode,
    devices_of,
    free_count,
    pack,
    resources_of,
)
from services.trainer.engine.local import in_sight

L4 = Device("l4-24gb", 22)
PROCESSOR = Device("cpu", 12)
GPU_UNIT = {"CPU": 1.0, "GPU": 1.0}


def test_a_device_is_a_gpu_where_the_cluster_counts_any_else_cores():
    assert resources_of([{"CPU": 8}, {"CPU": 4, "GPU": 2}], 2) == {"CPU": 2.0, "GPU": 1.0}
    assert resources_of([{"CPU": 8}], 2) == {"CPU": 2.0}


@pytest.mark.parametrize(
    ("found", "amounts", "unit", "expected"),
    [
        # The cards that Ray may give, not all that the driver knows.
        ([L4] * 4, {"CPU": 8, "GPU": 2}, GPU_UNIT, [L4] * 2),
        # A machine without GPUs in a cluster of GPUs runs nothing.
        ([PROCESSOR], {"CPU": 8}, GPU_UNIT, []),
        # Made-up GPUs share the memory of the processor that computes for them.
        ([PROCESSOR], {"CPU": 8, "GPU": 2}, GPU_UNIT, [Device("cpu", 6)] * 2),
        ([PROCESSOR], {"CPU": 8}, {"CPU": 2.0}, [PROCESSOR]),
        # Too few cores for the threads of one run.
        ([PROCESSOR], {"CPU": 1}, {"CPU": 2.0}, []),
    ],
)
def test_devices_of_a_machine(found, amounts, unit, expected):
    assert devices_of(found, amounts, unit) == expected


@pytest.mark.parametrize(
    ("held", "free", "expected"),
    [
        (0, {"CPU": 8, "GPU": 4}, 4),
        (3, {"CPU": 8, "GPU": 4}, 1),
        # A gang of four waits while one device is taken: nobody overtakes it.
        (5, {"CPU": 8, "GPU": 3}, 0),
        # Others use the cluster too.
        (0, {"CPU": 8, "GPU": 1}, 1),
        (0, {"CPU": 1, "GPU": 4}, 1),
        (0, {"CPU": 8}, 0),
    ],
)
def test_free_slots(held, free, expected):
    assert free_count(4, held, free, GPU_UNIT) == expected


def test_a_gang_stays_on_one_machine_where_one_is_large_enough():
    nodes = [ClusterNode([L4] * 2), ClusterNode([L4] * 4)]
    assert pack(4, nodes) == "STRICT_PACK"
    assert pack(5, nodes) == "PACK"
    assert pack(1, []) == "PACK"


@pytest.mark.parametrize(
    ("setting", "count", "expected"),
    [
        (None, 1, [0]),
        (None, 3, [0, 1, 2]),
        ("2,0", 3, [2, 0]),
        # The processor is a device though no card is in sight.
        ("", 1, [0]),
        ("7", 2, [0]),
        ("GPU-1f2e", 2, [0, 1]),
    ],
)
def test_local_runs_use_the_cards_in_sight(setting, count, expected):
    assert in_sight(setting, count) == expected
