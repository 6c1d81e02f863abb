"""docker-compose.yml in production form: the same processes, without containers."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import openai
import psutil
import pytest

from tests.deploy.compose import ROOT
from tests.system.topology import Topology

pytestmark = pytest.mark.system
BASE = "attune/starter"
JOB_WAIT_S = 60.0


@pytest.fixture(scope="module")
def topology():
    # Not pytest's folder: PostgreSQL is another user there where tests are run by root.
    with tempfile.TemporaryDirectory(prefix="attune-compose-") as name:
        Path(name).chmod(0o755)
        topology = Topology(Path(name))
        maker = [sys.executable, "-m", "tests.serving.tiny_model", topology.artefacts, BASE]
        try:
            # A random model in the starter's place, which would take a minute to make.
            subprocess.run(maker, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            topology.start()
            yield topology
        finally:
            topology.stop()


@pytest.fixture(scope="module")
def attune(topology):
    """The command line with the addresses that the documentation gives it."""
    home = topology.folder / "client"
    home.mkdir()
    endpoints = (ROOT / "deploy" / "endpoints.json").read_text()
    (home / "endpoints.json").write_text(topology.here(endpoints))

    def run(*arguments: str):
        done = subprocess.run(
            [sys.executable, "-m", "cli", *arguments, "--json"],
            env={**os.environ, "ATTUNE_HOME": str(home)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    return run


def test_a_completion_by_a_key_comes_from_the_engine_that_compose_starts(topology, attune):
    address = f"http://127.0.0.1:{topology.ports['7180']}/v1"
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=address, api_key="none").models.list()
    secret = attune("key", "create", "Support desk")["secret"]
    client = openai.OpenAI(base_url=address, api_key=secret, max_retries=10)
    answer = client.chat.completions.create(
        model=f"base:{BASE}", messages=[{"role": "user", "content": "hello"}], max_tokens=8
    )
    assert answer.usage.completion_tokens > 0
    engines = f"http://127.0.0.1:{topology.ports['8000']}"
    assert f"is READY: Serves {BASE}." in topology.log("serving")
    assert urllib.request.urlopen(f"{engines}/health", timeout=10).status == 200


def test_an_approved_plan_becomes_a_job_by_postgresql_and_nats(topology, attune, tmp_path):
    rows = (ROOT / "examples" / "support-tickets" / "train.jsonl").read_text().splitlines()
    data = tmp_path / "train.jsonl"
    data.write_text("\n".join(rows[:200]) + "\n")
    dataset = attune("dataset", "upload", str(data))["name"]
    spec = attune("spec", "propose", "--dataset", dataset)
    assert spec["base_model"]["id"] == BASE
    attune("spec", "approve", spec["name"], "--yes")
    deadline = time.monotonic() + JOB_WAIT_S
    # By the outbox, the bus and the inbox, then by the trainer's lease: other processes.
    while not (jobs := attune("job", "list").get("jobs")) or "start_time" not in jobs[0]:
        assert time.monotonic() < deadline, (jobs, topology.log("scheduler")[-2000:])
        time.sleep(0.5)
    assert jobs[0]["spec"].startswith(spec["name"])
    assert list((topology.artefacts / "runs").iterdir())


def test_a_run_in_mlflow_is_in_postgresql_and_its_artefacts_in_the_bucket(topology):
    code = (
        "import sys, mlflow; client = mlflow.MlflowClient(tracking_uri=sys.argv[1]); "
        "run = client.create_run('0'); client.log_text(run.info.run_id, 'page', 'page.txt'); "
        "print(run.info.run_id)"
    )
    url = f"http://127.0.0.1:{topology.ports['7150']}"
    done = subprocess.run(
        [sys.executable, "-c", code, url], capture_output=True, text=True, timeout=120, check=True
    )
    run_id = done.stdout.split()[-1]
    listing = (
        "import sys, boto3; s3 = boto3.client('s3', endpoint_url=sys.argv[1]); "
        "print([item['Key'] for item in s3.list_objects_v2(Bucket='mlflow')['Contents']])"
    )
    s3 = f"http://127.0.0.1:{topology.ports['8333']}"
    environ = topology.environment("bucket")
    done = subprocess.run(
        [sys.executable, "-c", listing, s3], env=environ, capture_output=True, text=True, check=True
    )
    assert f"{run_id}/artifacts/page.txt" in done.stdout


@pytest.mark.parametrize(("host", "status"), [("mlflow:7150", 200), ("attacker.example", 403)])
def test_mlflow_answers_to_its_name_in_the_network_and_to_no_other(topology, host, status):
    url = (
        f"http://127.0.0.1:{topology.ports['7150']}/api/2.0/mlflow/experiments/get?experiment_id=0"
    )
    host = host.replace("7150", str(topology.ports["7150"]))
    request = urllib.request.Request(url, headers={"Host": host})
    try:
        answered = urllib.request.urlopen(request, timeout=20).status
    except urllib.error.HTTPError as error:
        answered = error.code
    assert answered == status


def test_no_secret_is_in_a_log_or_a_command_line(topology):
    secrets = {
        word
        for path in (topology.folder / "secrets").iterdir()
        for word in re.findall(r"[0-9a-f]{48}", path.read_text())
    }
    assert len(secrets) == 8
    said = "".join(topology.log(name) for name in topology.services)
    processes = psutil.process_iter(["cmdline"])
    lines = "".join(" ".join(process.info["cmdline"] or []) for process in processes)
    assert [secret for secret in secrets if secret in said or secret in lines] == []
