"""The machine's cores are divided between runs and the engine."""

import pytest

from cli.launcher.cores import Cores, divide


@pytest.mark.parametrize(
    ("usable", "runs", "engine"),
    [
        ([0], (0,), (0,)),
        ([0, 1], (0,), (1,)),
        ([2, 5], (2,), (5,)),
        ([0, 1, 2, 3], (0, 1, 2), (3,)),
        (list(range(8)), (0, 1, 2, 3, 4, 5), (6, 7)),
    ],
)
def test_the_engine_gets_the_last_cores_and_runs_the_others(usable, runs, engine):
    assert divide(usable) == Cores(runs, engine)


def test_a_run_has_one_thread_for_each_of_its_cores():
    assert divide([0, 1, 2, 3]).environment() == {
        "ATTUNE_TRAINER_CPUS": "0,1,2",
        "ATTUNE_TRAINER_THREADS": "3",
        "ATTUNE_SERVING_ENGINE_CPUS": "3",
    }
