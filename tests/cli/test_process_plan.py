"""What is started, with which command and which environment."""

from dataclasses import replace
from pathlib import Path

import pytest

from cli.home import Home
from cli.launcher.cores import divide
from cli.launcher.launch import Launch, RunEngine, base_model_of
from cli.launcher.process_plan import NAMES, QUIET, process_plan
from cli.ports import Ports

HOME = Home(Path("/state"))
PREFIX = Path("/environment")
LAUNCH = Launch("127.0.0.1", Ports.read({}, None), "attune/starter", at_hand=True)


def planned(launch=LAUNCH, environ=None):
    processes = process_plan(launch, HOME, divide([0, 1]), PREFIX, environ or {})
    return {process.name: process for process in processes}


def test_everything_is_planned_in_the_order_of_dependence():
    assert (
        tuple(planned())
        == NAMES
        == (
            "nats",
            "mlflow",
            "planner",
            "scheduler",
            "trainer",
            "serving",
        )
    )


def test_trainer_and_serving_wait_for_the_base_model():
    assert tuple(planned(replace(LAUNCH, at_hand=False))) == NAMES[:4]


def test_every_command_starts_by_its_path_inside_the_environment():
    for process in planned().values():
        assert process.command[0].startswith("/environment/bin/")


def test_every_process_is_offline_and_tells_nobody():
    for process in planned(environ={"HF_HUB_OFFLINE": "0"}).values():
        assert QUIET.items() <= process.environment.items()


def test_services_get_their_ports_and_each_others_addresses():
    found = planned(replace(LAUNCH, ports=Ports.read({}, 9000)))
    assert found["planner"].environment["ATTUNE_PLANNER_PORT"] == "9001"
    assert found["planner"].environment["ATTUNE_PLANNER_SCHEDULER_ADDRESS"] == "127.0.0.1:9002"
    assert found["planner"].environment["ATTUNE_PLANNER_TRAINER_ADDRESS"] == "127.0.0.1:9003"
    assert found["scheduler"].environment["ATTUNE_SCHEDULER_PLANNER_ADDRESS"] == "127.0.0.1:9001"
    assert found["trainer"].environment["ATTUNE_TRAINER_SCHEDULER_ADDRESS"] == "127.0.0.1:9002"
    assert found["trainer"].environment["ATTUNE_TRAINER_MLFLOW_URL"] == "http://127.0.0.1:9050"
    serving = found["serving"].environment
    assert serving["ATTUNE_SERVING_PLANNER_ADDRESS"] == "127.0.0.1:9001"
    assert serving["ATTUNE_SERVING_HTTP_PORT"] == "9080"
    assert serving["ATTUNE_SERVING_METRICS_PORT"] == "9081"
    assert serving["ATTUNE_SERVING_ENGINE_PORT"] == "9090"
    for process in found.values():
        assert process.environment["ATTUNE_NATS_URL"] == "nats://127.0.0.1:9022"
        assert process.environment["ATTUNE_HOME"] == "/state"
        assert process.environment["ATTUNE_ARTEFACTS"] == "/state/artefacts"


def test_no_service_gets_a_setting_that_it_refuses():
    from services.planner.settings import Settings as PlannerSettings
    from services.scheduler.settings import SchedulerSettings
    from services.serving.settings import ServingSettings
    from services.trainer.settings import TrainerSettings

    found = planned()
    for name, kind in {
        "planner": PlannerSettings,
        "scheduler": SchedulerSettings,
        "trainer": TrainerSettings,
        "serving": ServingSettings,
    }.items():
        settings = kind.read(name, found[name].environment)
        assert settings.port == getattr(LAUNCH.ports, name)


def test_the_division_of_cores_is_handed_on_unless_the_caller_chose():
    found = planned()
    assert found["trainer"].environment["ATTUNE_TRAINER_CPUS"] == "0"
    assert found["trainer"].environment["ATTUNE_TRAINER_THREADS"] == "1"
    assert found["serving"].environment["ATTUNE_SERVING_ENGINE_CPUS"] == "1"
    chosen = planned(environ={"ATTUNE_TRAINER_CPUS": "0,1"})
    assert chosen["trainer"].environment["ATTUNE_TRAINER_CPUS"] == "0,1"


def test_the_base_model_narrows_the_catalogue_and_is_kept_warm():
    found = planned(replace(LAUNCH, base_model="org/name"))
    assert found["planner"].environment["ATTUNE_PLANNER_BASE_MODELS"] == "org/name"
    assert found["serving"].environment["ATTUNE_SERVING_BASE_MODEL"] == "org/name"
    wide = planned(environ={"ATTUNE_PLANNER_BASE_MODELS": ""})
    assert wide["planner"].environment["ATTUNE_PLANNER_BASE_MODELS"] == ""


def test_servers_without_authentication_listen_on_loopback_only():
    command = planned(replace(LAUNCH, host="0.0.0.0"))["mlflow"].command
    assert command[command.index("--host") + 1] == "127.0.0.1"


def test_local_addresses_are_reached_beside_a_proxy():
    environment = planned(environ={"NO_PROXY": "intranet"})["planner"].environment
    assert environment["NO_PROXY"] == "intranet,127.0.0.1,localhost"


@pytest.mark.parametrize(
    ("given", "model", "source"),
    [
        ("attune/starter", "attune/starter", ""),
        ("org/Name-1B", "org/Name-1B", ""),
        ("/data/My Model (v2)", "local/my-model-v2", "/data/My Model (v2)"),
    ],
)
def test_a_base_model_is_an_id_or_a_folder(given, model, source):
    assert base_model_of(given) == (model, source)


def test_the_trainer_is_told_where_runs_execute():
    assert planned()["trainer"].environment["ATTUNE_TRAINER_ENGINE"] == "local"
    wanted = RunEngine.read({"ATTUNE_ENGINE": "ray", "ATTUNE_RAY_ADDRESS": "head:6379"})
    found = planned(replace(LAUNCH, engine=wanted))["trainer"].environment
    assert found["ATTUNE_TRAINER_ENGINE"] == "ray"
    assert found["ATTUNE_TRAINER_RAY_ADDRESS"] == "head:6379"


def test_what_is_given_wins_over_the_environment():
    environ = {"ATTUNE_ENGINE": "ray", "ATTUNE_RAY_ADDRESS": "head:6379"}
    assert RunEngine.read(environ, "local") == RunEngine()
    assert RunEngine.read(environ, None, "other:1") == RunEngine("ray", "other:1")
    assert RunEngine.read({}) == RunEngine()


def test_a_launch_is_found_as_it_was_kept(tmp_path):
    home = Home(tmp_path)
    kept = replace(LAUNCH, engine=RunEngine("ray", "auto"))
    kept.write(home)
    assert Launch.find(home) == kept
