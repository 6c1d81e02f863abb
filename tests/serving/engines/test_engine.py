import asyncio
import json
import os
import signal
import subprocess
import sys

import pytest

from services.common.artefacts import Artefacts
from services.common.errors import Unavailable
from services.common.processes import ProcessFolder
from services.serving.engines import engine as engine_module
from services.serving.engines import engine_client, pool, process_host
from services.serving.engines.base_model import BaseModel, find_base_model
from services.serving.engines.engine import EngineState
from services.serving.engines.pool import EngineOptions, Engines
from services.serving.engines.process_host import engine_environment, vllm_command
from tests.servers import free_port
from tests.serving.parts import BASE, Parts, a_base_model, running


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Make the supervisor look often, so that no test waits for it."""
    monkeypatch.setattr(pool, "MODEL_POLL_S", 0.05)
    monkeypatch.setattr(engine_module, "HEALTH_S", 0.05)
    monkeypatch.setattr(engine_module, "START_POLL_S", 0.02)
    monkeypatch.setattr(engine_module, "PROBE_S", 0.2)
    monkeypatch.setattr(engine_module, "BACKOFF_S", (0.05,))
    monkeypatch.setattr(process_host, "END_GRACE_S", 1.0)
    monkeypatch.setattr(engine_client, "HEALTH_TIMEOUT_S", 2.0)
    monkeypatch.setattr(engine_client, "PROBE_TIMEOUT_S", 3.0)


async def until(parts, holds):
    async with asyncio.timeout(60):
        while not (parts.engine and holds(parts.engine)):
            await parts.engines.wait_for_change(0.05)


async def test_it_waits_for_its_model_and_then_starts_by_itself(tmp_path):
    parts = Parts(tmp_path)
    (tmp_path / "artefacts" / "models" / "attune--starter" / "r0").mkdir(parents=True)
    async with running(parts, loops=False):
        assert parts.engine is None
        with pytest.raises(Unavailable, match="not at hand yet"):
            await parts.engines.locate(BASE)
        a_base_model(parts.artefacts)
        await parts.at_generation(1)
        assert parts.engine.model.revision == "r1"
        assert await parts.engine.client().list_models() == {BASE}
        assert parts.processes.find("engine").is_alive()
        log = tmp_path / "logs" / "engine.log"
        assert log.exists()
    assert parts.processes.find("engine") is None


@pytest.mark.parametrize("mode", ["hang", "unhealthy", "no_tokens"])
async def test_an_engine_that_does_not_work_is_replaced(parts, mode):
    first = parts.processes.find("engine")
    await parts.test(mode=mode)
    await parts.at_generation(2)
    assert not first.is_alive()
    assert parts.processes.find("engine") != first


async def test_an_engine_that_dies_is_replaced_however_often(parts, monkeypatch):
    monkeypatch.setattr(engine_module, "STARTS_MAX", 2)
    for generation in range(1, 5):
        await parts.at_generation(generation)
        os.kill(parts.processes.find("engine").pid, signal.SIGKILL)
    await parts.at_generation(5)


@pytest.fixture
async def orphan(tmp_path):
    """Record of an engine whose serving was killed."""
    parts = Parts(tmp_path)
    a_base_model(parts.artefacts)
    supervising = asyncio.create_task(parts.engines.run())
    try:
        await parts.at_generation(1)
        supervising.cancel()
        parts.member().task.cancel()
        await parts.engines._session.close()
        yield parts.processes.find("engine")
    finally:
        supervising.cancel()
        parts.engine.host._child.kill()
        parts.engine.host._child.wait()


async def test_the_engine_outlives_a_killed_serving_and_is_adopted(orphan, tmp_path):
    heir = Parts(tmp_path)
    async with running(heir, loops=False):
        await heir.at_generation(1)
        assert heir.processes.find("engine") == orphan
        os.kill(orphan.pid, signal.SIGKILL)
        await heir.at_generation(2)
        assert heir.processes.find("engine") != orphan


@pytest.mark.parametrize("change", ["revision", "facts", "port", "hang"])
async def test_an_engine_that_is_of_no_use_is_ended_and_replaced(
    orphan, tmp_path, monkeypatch, change
):
    port = free_port() if change == "port" else 0
    heir = Parts(tmp_path, port=port)
    facts = tmp_path / "run" / "engine-facts.json"
    if change == "revision":
        a_base_model(heir.artefacts, "r2")
    elif change == "facts":
        facts.write_text("{")
    elif change == "hang":
        await heir.test(mode="hang")
        monkeypatch.setattr(process_host, "YOUNG_S", 0.0)
    async with running(heir, loops=False):
        async with asyncio.timeout(60):
            while heir.processes.find("engine") == orphan:
                await asyncio.to_thread(orphan.is_alive)
        await heir.at_generation(1)
        assert not orphan.is_alive()
        written = json.loads(facts.read_text())
        assert written["base_model_revision"] == heir.engine.model.revision
        assert port in (0, written["port"])


async def test_starts_that_fail_have_a_bound_and_a_reason(tmp_path):
    parts = Parts(tmp_path)
    a_base_model(parts.artefacts)
    starts = []

    def command(base, port):
        starts.append(port)
        code = "import sys; print('ValueError: no such head size'); sys.exit(1)"
        return [sys.executable, "-c", code]

    options = EngineOptions(warm_model=BASE, command=command)
    parts.engines = Engines(tmp_path, parts.artefacts, options)
    async with running(parts, loops=False):
        await until(parts, lambda engine: "Gave up" in engine.reason)
        assert len(starts) == engine_module.STARTS_MAX
        assert "no such head size" in parts.engine.reason
        assert str(tmp_path / "logs" / "engine.log") in parts.engine.reason
        with pytest.raises(Unavailable, match="Gave up"):
            parts.engine.client()


async def test_a_port_in_use_is_named(tmp_path):
    port = free_port()
    parts = Parts(tmp_path, port=port)
    a_base_model(parts.artefacts)
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", port)
    async with server, running(parts, loops=False):
        await until(parts, lambda engine: engine.state is EngineState.FAILED)
        assert f"Port {port}" in parts.engine.reason
        assert "ATTUNE_SERVING_ENGINE_PORT" in parts.engine.reason


def test_the_starter_records_the_process_before_it_becomes_the_engine(tmp_path):
    code = "import os; print(os.getpid(), os.getsid(0))"
    command = [
        sys.executable,
        "-m",
        "services.serving.engines.engine_start",
        str(tmp_path),
        "engine-3",
    ]
    out = subprocess.run(
        [*command, sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    pid, session = map(int, out.split())
    assert ProcessFolder(tmp_path).find("engine-3").pid == pid == session


def test_vllm_is_started_as_measured(tmp_path):
    line = " ".join(vllm_command(BaseModel(BASE, "r1", tmp_path), 7190))
    assert "-m vllm.entrypoints.openai.api_server" in line
    for part in (
        f"--model {tmp_path} --served-model-name {BASE}",
        "--host 127.0.0.1 --port 7190",
        "--dtype float32 --enforce-eager --enable-lora --max-lora-rank 16 --max-loras 16",
    ):
        assert part in line
    environment = engine_environment("1")
    assert environment["VLLM_CPU_OMP_THREADS_BIND"] == "1"
    assert environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
    assert environment["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert environment["VLLM_NO_USAGE_STATS"] == environment["DO_NOT_TRACK"] == "1"
    assert environment["HF_HUB_OFFLINE"] == "1"


def test_the_newest_complete_revision_is_the_base(tmp_path):
    artefacts = Artefacts(tmp_path)
    assert find_base_model(artefacts, BASE) is None
    old, new, broken = (a_base_model(artefacts, name) for name in ("old", "new", "broken"))
    (artefacts.model(BASE) / "unfinished").mkdir()
    (broken / "config.json").write_text("{ }")
    for age, folder in enumerate((broken, new, old)):
        os.utime(folder / "MANIFEST.json", (1000 - age, 1000 - age))
    assert find_base_model(artefacts, BASE) == BaseModel(BASE, "new", new)


async def test_only_routes_on_the_list_are_called(parts):
    client = parts.engine.client()
    with pytest.raises(AssertionError, match="not a route"):
        await client.ask("/tokenize", {})
