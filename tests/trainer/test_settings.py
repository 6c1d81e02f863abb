import os
import re

import pytest

from services.trainer.settings import TrainerSettings


def read(**environ: str) -> TrainerSettings:
    return TrainerSettings.read("trainer", {f"ATTUNE_TRAINER_{k}": v for k, v in environ.items()})


def test_defaults_fit_this_machine():
    settings = read()
    assert (settings.port, settings.threads, settings.accelerator) == (7103, 1, "cpu")
    assert set(settings.cpu_numbers) == os.sched_getaffinity(0)
    assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", settings.node_id)


def test_values_are_read():
    settings = read(CPUS="0", NODE="left", THREADS="2", PORT="0", MLFLOW_URL="")
    assert settings.cpu_numbers == (0,)
    assert (settings.node_id, settings.threads, settings.mlflow_url) == ("left", 2, "")


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("CPUS", "99999"),
        ("CPUS", "a"),
        ("NODE", "Upper"),
        ("ACCELERATOR", "tpu"),
        ("THREADS", "0"),
        ("SPEED", "1"),
        ("ENGINE", "slurm"),
    ],
)
def test_what_is_wrong_stops_the_start_in_one_line(field, text):
    with pytest.raises(SystemExit, match=f"ATTUNE_TRAINER_{field}"):
        read(**{field: text})


def test_every_setting_is_described():
    *lines, last = TrainerSettings.describe("trainer").splitlines()
    assert "_FILE" in last
    assert len(lines) == len(TrainerSettings.model_fields)
    assert all(re.match(r"ATTUNE_\S+ +\S", line) for line in lines)


@pytest.mark.parametrize(
    "environ",
    [
        {"ENGINE": "ray"},
        {"RAY_ADDRESS": "head:6379"},
        {"ENGINE": "ray", "RAY_ADDRESS": "ray://head:10001"},
        {"ENGINE": "ray", "RAY_ADDRESS": "head"},
    ],
)
def test_the_engine_ray_needs_an_address_and_only_it_has_one(environ):
    with pytest.raises(SystemExit, match="ATTUNE_TRAINER_RAY_ADDRESS") as caught:
        read(**environ)
    assert len(str(caught.value).splitlines()) == 1


def test_a_cluster_is_named_by_its_head_or_found():
    assert read(ENGINE="ray", RAY_ADDRESS="head:6379").ray_address == "head:6379"
    assert read(ENGINE="ray", RAY_ADDRESS="auto").engine == "ray"
